"""Kernels that draw a factorisation machine from its posterior, one field after the other (`training.posterior`).

Letters: n examples, F fields, D features, K factors, d = K + 1 numbers of a feature: its weight, then its factors.

With x the input of feature r in example e (1, a number's value or the weight in a bag), q_e = (1, the factors of the
fields that r's field meets, summed) and t_e what the latent number of e leaves for r, the numbers v_r of one feature
are drawn from ::

    N(A^-1 b, A^-1),     A = diag(precision) + sum over e of x^2 q_e q_e^T,     b = sum over e of x q_e t_e

given all other fields. An example has one feature of a field, so the features of a field are independent of one another
and may be drawn at the same time; only those of a bag come one after the other. Draws come from a counter, not from a
stream: they depend on the key, the feature or the example alone, whichever thread makes them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from fieldwise.kernels.jit import kernel
from fieldwise.kernels.prefetch import prefetch_line

__all__ = ["add_pairs", "draw_latents", "draw_rows", "rotate", "row_products", "row_squares"]

Floats = npt.NDArray[np.floating[Any]]
Uint32s = npt.NDArray[np.uint32]
Int64s = npt.NDArray[np.int64]

_U = np.uint64
_STEP = np.uint64(0x9E3779B97F4A7C15)
_ONE, _TWO = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_AHEAD, _TILE = 16, 8


@njit(inline="always")
def _mixed(state: np.uint64) -> np.uint64:
    """Return splitmix64's output for a state (Steele, Lea and Flood 2014)."""
    z = (state ^ (state >> _U(30))) * _ONE
    z = (z ^ (z >> _U(27))) * _TWO
    return z ^ (z >> _U(31))


@njit(inline="always")
def _unit(bits: np.uint64) -> float:
    """Return a number strictly between 0 and 1."""
    return (float(bits >> _U(11)) + 0.5) * 1.1102230246251565e-16  # 2^-53


@njit(inline="always")
def _normal(state: np.uint64) -> float:
    """Return a number from N(0, 1) for a state, of which the next one is used, too (Box and Muller 1958)."""
    radius = math.sqrt(-2.0 * math.log(_unit(_mixed(state))))
    return radius * math.cos(2.0 * math.pi * _unit(_mixed(state + _STEP)))


@kernel
def draw_latents(
    predicted: Floats, labels: npt.NDArray[np.integer[Any]], key: np.uint64, latent: Floats, begin: int, end: int
) -> None:
    """Draw the latent number of each example: from N(predicted, 1), above zero where its label is 1, below where 0.

    By rejection: from the whole normal where the half line holds much of it, from an exponential in its tail (Robert
    1995).

    Parameters
    ----------
    predicted
        (n,) means.
    labels
        (n,) 0 or 1.
    key
        Of these draws.
    latent
        (n,), written from `begin` to `end`.
    """
    for e in range(begin, end):
        sign = 1.0 if labels[e] else -1.0
        least = -sign * predicted[e]  # what a draw from N(0, 1) has to exceed
        state = _mixed(key + _U(e) * _STEP)
        x = 0.0
        while True:
            if least < 0.5:
                x = _normal(state)
                state += _STEP + _STEP
                if x > least:
                    break
            else:
                x = least - math.log(_unit(_mixed(state))) / least
                accepted = _unit(_mixed(state + _STEP)) < math.exp(-0.5 * (x - least) ** 2)
                state += _STEP + _STEP
                if accepted:
                    break
        latent[e] = predicted[e] + sign * x


@kernel(fastmath={"contract", "reassoc", "nsz"})
def draw_rows(
    weights: Floats,
    base: int,
    starts: Int64s,
    examples: Uint32s,
    inputs: Floats,
    others: Floats,
    latent: Floats,
    predicted: Floats,
    precision: Floats,
    key: np.uint64,
    first: int,
    last: int,
) -> None:
    """Draw the features `first` to `last` of a field, and bring the predictions of their examples up to date.

    Parameters
    ----------
    weights
        (D, d) float32: a weight and K factors of every feature. Features without examples are set to zero, the mean of
        what is believed of them.
    base
        The row of the field's first feature.
    starts, examples, inputs
        The examples of each feature, ``examples[starts[r] : starts[r + 1]]``, and its inputs there; no inputs at all
        where each is 1.
    others
        (n, d): the factors that the field meets in each example; column 0 is not read.
    latent, predicted
        (n,) float64.
    precision
        (d,) of the normal prior around zero.
    key
        Of these draws.
    """
    d = weights.shape[1]
    a, b = np.empty((d, d)), np.empty(d)
    q, left, old = np.empty((_TILE, d), np.float32), np.empty(_TILE), np.empty(d)
    for r in range(first, last):
        begin, end = starts[r], starts[r + 1]
        row = base + r
        if begin == end:
            weights[row] = 0
            continue
        for k in range(d):
            old[k] = weights[row, k]
            b[k] = 0.0
            for j in range(d):
                a[k, j] = 0.0
            a[k, k] = precision[k]
        i = begin
        while i < end:
            # Eight examples at a time: each number of A is then read and written once for all of them.
            for u in range(_TILE):
                if i + u >= end:
                    left[u] = 0.0
                    for k in range(d):
                        q[u, k] = 0.0
                    continue
                if i + u + _AHEAD < end:
                    prefetch_line(others, np.int64(examples[i + u + _AHEAD]))
                e = examples[i + u]
                x = inputs[i + u] if len(inputs) else np.float32(1.0)
                q[u, 0] = x
                for k in range(1, d):
                    q[u, k] = x * others[e, k]
                own = 0.0
                for k in range(d):
                    own += q[u, k] * old[k]
                left[u] = latent[e] - predicted[e] + own
            for k in range(d):
                x0, x1, x2, x3 = q[0, k], q[1, k], q[2, k], q[3, k]
                x4, x5, x6, x7 = q[4, k], q[5, k], q[6, k], q[7, k]
                b[k] += x0 * left[0] + x1 * left[1] + x2 * left[2] + x3 * left[3]
                b[k] += x4 * left[4] + x5 * left[5] + x6 * left[6] + x7 * left[7]
                for j in range(d):
                    one = x0 * q[0, j] + x1 * q[1, j] + x2 * q[2, j] + x3 * q[3, j]
                    two = x4 * q[4, j] + x5 * q[5, j] + x6 * q[6, j] + x7 * q[7, j]
                    a[k, j] += one + two
            i += _TILE
        # Cholesky's L, in place; then L y = b, and v = L^-T (y + noise), which is N(A^-1 b, A^-1).
        for k in range(d):
            for j in range(k):
                total = a[k, j]
                for m in range(j):
                    total -= a[k, m] * a[j, m]
                a[k, j] = total / a[j, j]
            total = a[k, k]
            for m in range(k):
                total -= a[k, m] * a[k, m]
            a[k, k] = math.sqrt(total)
            total = b[k]
            for m in range(k):
                total -= a[k, m] * b[m]
            b[k] = total / a[k, k]
        state = _mixed(key + _U(r) * _STEP)
        for k in range(d):
            b[k] += _normal(state)
            state += _STEP + _STEP
        for k in range(d - 1, -1, -1):
            total = b[k]
            for m in range(k + 1, d):
                total -= a[m, k] * b[m]
            b[k] = total / a[k, k]
        for k in range(d):
            weights[row, k] = b[k]
            old[k] = weights[row, k] - old[k]  # as stored, or predictions drift away from the weights
        for i in range(begin, end):
            e = examples[i]
            x = inputs[i] if len(inputs) else 1.0
            moved = old[0]
            for k in range(1, d):
                moved += others[e, k] * old[k]
            predicted[e] += x * moved


# Plain loops: the last bits of numpy.s sums depend on where an array lies, those of its products on the threads.


@kernel
def add_pairs(predicted: Floats, own: Floats, others: Floats, share: float, begin: int, end: int) -> None:
    """Add `share` times the dot product of the factors in `own` (n, d) and `others` (n, d) to each prediction."""
    for e in range(begin, end):
        total = 0.0
        for k in range(1, own.shape[1]):
            total += float(own[e, k]) * others[e, k]
        predicted[e] += share * total


@kernel
def row_squares(weights: Floats, base: int, starts: Int64s) -> tuple[int, Floats]:
    """Return how many features of a field have examples, and the sums of the squares of their numbers (d,)."""
    squares, count = np.zeros(weights.shape[1]), 0
    for r in range(len(starts) - 1):
        if starts[r] < starts[r + 1]:
            count += 1
            for k in range(weights.shape[1]):
                squares[k] += float(weights[base + r, k]) ** 2
    return count, squares


@kernel
def row_products(one: Floats, other: Floats) -> Floats:
    """Return ``one^T other`` of the factors: (K, K) from (D, 1 + K) and (D, 1 + K)."""
    products = np.zeros((one.shape[1] - 1, one.shape[1] - 1))
    for r in range(len(one)):
        for k in range(products.shape[0]):
            x = float(one[r, 1 + k])
            for m in range(products.shape[1]):
                products[k, m] += x * other[r, 1 + m]
    return products


@kernel
def rotate(weights: Floats, turn: Floats) -> Floats:
    """Return (D, 1 + K) float64 with the factors times `turn` (K, K)."""
    turned = np.zeros(weights.shape)
    for r in range(len(weights)):
        turned[r, 0] = weights[r, 0]
        for k in range(turn.shape[0]):
            x = float(weights[r, 1 + k])
            for m in range(turn.shape[1]):
                turned[r, 1 + m] += x * turn[k, m]
    return turned
