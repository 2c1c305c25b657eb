"""Kernels that draw a factorisation machine from its posterior, one field after the other (`training.gibbs`).

Letters: n examples, F fields, D features, K factors, d = K + 1 numbers of a feature: its weight, then its factors.

With x the input of feature r in example e (1, a number's value or the weight in a bag), q_e = (1, the factors of the
fields that r's field meets, summed), t_e what the latent number of e leaves for r and v_r the d numbers of r, these are
drawn from ::

    N(A^-1 b, A^-1),     A = diag(precision) + sum over e of x^2 q_e q_e^T,     b = sum over e of x q_e t_e

given all other fields. With s_e what the latent number leaves after all fields, t_e = s_e + x q_e . v_r, so what v_r
moves by has the same A, and a b without large terms that cancel: sum over e of x q_e s_e - precision v_r.

An example has one feature of a field, so the features of a field are independent of one another and may be drawn at the
same time; only those of a bag come one after the other. Draws come from a counter, not from a stream: they depend on
the key, the feature or the example alone, whichever thread makes them.

All that a draw needs of an example is one row, a cache line for K <= 14::

    state[e]:   | s_e | the factors of all fields, summed: K | 0 ... |

and rows of weights are as wide: a weight, K factors, zeros up to a multiple of `lanes.LANES` above d (`row_width`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.draws import STEP, mixed, normal
from fieldwise.kernels.gram import add_scaled, add_square, dot
from fieldwise.kernels.jit import kernel, part
from fieldwise.kernels.lanes import LANES, copy_lanes
from fieldwise.kernels.layout import BAG, VALUE, Batch, Layout
from fieldwise.kernels.prefetch import prefetch_item, prefetch_line

__all__ = [
    "draw_rows",
    "predict",
    "rotate",
    "row_products",
    "row_squares",
    "row_width",
    "shift",
]

Floats = npt.NDArray[np.floating[Any]]
Uint32s = npt.NDArray[np.uint32]
Int64s = npt.NDArray[np.int64]

_U = np.uint64
_AHEAD = 16
_TILE_BYTES, _SUMMED = 1 << 17, 64
"""Of examples at a time, which stay in the second cache, so that most features' are read once; and the examples whose
products are summed in float32."""
_FEW = 32
"""Examples at a time where every field has a row of its own."""


def row_width(num_numbers: int) -> int:
    """Return the numbers of a row with d that count; one more holds what is left of an example, beside them.

    Examples
    --------
    >>> [row_width(d) for d in (2, 7, 8, 13, 16)]
    [8, 8, 16, 16, 24]
    """
    return -(-(num_numbers + 1) // LANES) * LANES


@part
def _add_fields(
    out: Floats,
    factor: float,
    weights: Floats,
    batch: Batch,
    fields: Layout,
    first_field: int,
    last_field: int,
    examples: Uint32s,
    begin: int,
    count: int,
) -> None:
    """Add `factor` times the rows of some fields to line u of `out` for example ``examples[begin + u]``, u < count."""
    width = out.shape[1]
    for f in range(first_field, last_field):
        first, single = fields.base[f], fields.single[f]
        if fields.form[f] == BAG:
            offsets = batch.offsets[fields.bag[f]]
            for u in range(count):
                if begin + u + _AHEAD < len(examples):
                    prefetch_item(batch.offsets, fields.bag[f], np.int64(examples[begin + u + _AHEAD]))
                e = examples[begin + u]
                for i in range(offsets[e], offsets[e + 1]):
                    x = np.float32(factor * batch.bag_weights[i])
                    add_scaled(out, u, weights, first + batch.bag_ids[i], x, width)
        elif fields.form[f] == VALUE:
            for u in range(count):
                e = examples[begin + u]
                x = np.float32(factor * batch.values[fields.value[f], e])
                add_scaled(out, u, weights, first + batch.ids[single, e], x, width)
        else:
            ids = batch.ids[single]
            for u in range(count):
                add_scaled(out, u, weights, first + ids[examples[begin + u]], np.float32(factor), width)


@kernel(allocates=True)
def predict(
    state: Floats,
    predicted: Floats,
    bias: float,
    weights: Floats,
    batch: Batch,
    fields: Layout,
    left_out: Int64s,
    begin: int,
    end: int,
) -> None:
    """Predict the latent numbers of the examples `begin` to `end`, and sum up the factors of their fields.

    Parameters
    ----------
    state
        (n, row_width(d)), written.
    predicted
        (n,) float64, written.
    bias, weights
        mu, and (D, row_width(d)).
    batch, fields
        The examples, and their fields.
    left_out
        (L, 2) pairs f < g that have no term.
    """
    num_fields, width = len(fields.form), state.shape[1]
    rows = np.empty((num_fields, _FEW, width), np.float32)
    here = np.empty(_FEW, np.uint32)
    at = begin
    while at < end:
        count = min(_FEW, end - at)
        for u in range(count):
            here[u] = at + u
            predicted[at + u] = bias
            for k in range(width):
                state[at + u, k] = 0.0
        for g in range(num_fields):
            own = rows[g]
            own[:] = 0.0
            _add_fields(own, 1.0, weights, batch, fields, g, g + 1, here, 0, count)
            for u in range(count):
                predicted[at + u] += own[u, 0]
                own[u, 0] = 0.0
            for u in range(count):
                # Fields before g alone: every pair once, and nothing large that cancels.
                predicted[at + u] += dot(state, at + u, own, u, width)
                add_scaled(state, at + u, own, u, np.float32(1.0), width)
        for pair in range(len(left_out)):
            one_field, other_field = rows[left_out[pair, 0]], rows[left_out[pair, 1]]
            for u in range(count):
                predicted[at + u] -= dot(one_field, u, other_field, u, width)
        at += count


@kernel(allocates=True)
def shift(
    state: Floats,
    factor: float,
    weights: Floats,
    batch: Batch,
    fields: Layout,
    begin: int,
    end: int,
) -> None:
    """Add `factor` times the factors of some fields to those of the examples `begin` to `end`."""
    here = np.empty(_FEW, np.uint32)
    kept = np.empty(_FEW, np.float32)
    at = begin
    while at < end:
        count = min(_FEW, end - at)
        for u in range(count):
            here[u], kept[u] = at + u, state[at + u, 0]
        _add_fields(state[at : at + count], factor, weights, batch, fields, 0, len(fields.form), here, 0, count)
        for u in range(count):
            state[at + u, 0] = kept[u]
        at += count


@part
def _fill(
    q: Floats,
    old: Floats,
    own: bool,
    state: Floats,
    weights: Floats,
    batch: Batch,
    fields: Layout,
    examples: Uint32s,
    inputs: Floats,
    begin: int,
    count: int,
    d: int,
) -> None:
    """Set line u of `q` to ``(x, x times the factors that are met, s, 0 ...)`` for example ``examples[begin + u]``."""
    width = q.shape[1]
    for u in range(count):
        if begin + u + _AHEAD < len(examples):
            prefetch_line(state, np.int64(examples[begin + u + _AHEAD]))
        for k in range(0, width, LANES):
            copy_lanes(q, u, k, state, examples[begin + u], k)
    _add_fields(q, -1.0, weights, batch, fields, 0, len(fields.form), examples, begin, count)
    if len(inputs):
        for u in range(count):
            x = inputs[begin + u]
            if own:
                add_scaled(q, u, old, 0, -x, width)
            q[u, 0] = x
            for k in range(1, d):
                q[u, k] *= x
            q[u, d] = state[examples[begin + u], 0]
    else:
        for u in range(count):
            if own:
                add_scaled(q, u, old, 0, np.float32(-1.0), width)
            q[u, 0] = 1.0
            q[u, d] = state[examples[begin + u], 0]


@kernel(fastmath={"contract", "reassoc", "nsz"})
def _solve(a: Floats, b: Floats, d: int, state: np.uint64) -> None:
    """Draw b from ``N(A^-1 b, A^-1)``; of A the lower triangle is read, and replaced by Cholesky's L."""
    # L y = b, and v = L^-T (y + noise).
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
    for k in range(d):
        b[k] += normal(state)
        state += STEP + STEP
    for k in range(d - 1, -1, -1):
        total = b[k]
        for m in range(k + 1, d):
            total -= a[m, k] * b[m]
        b[k] = total / a[k, k]


@kernel(allocates=True)
def draw_rows(
    state: Floats,
    own: bool,
    weights: Floats,
    batch: Batch,
    fields: Layout,
    first_row: int,
    starts: Int64s,
    examples: Uint32s,
    inputs: Floats,
    precision: Floats,
    key: np.uint64,
    first: int,
    last: int,
) -> None:
    """Draw the features `first` to `last` of a field, and bring what is known of their examples up to date.

    Parameters
    ----------
    state
        (n, row_width(d)).
    own
        Whether the factors of the field are in the sums of `state`, of one feature each: they are left out here, and
        are the new ones afterwards. If not, nothing but s changes.
    weights
        (D, row_width(d)) float32. Features without examples are set to zero, the mean of what is believed of them.
    batch, fields
        All examples, and the other fields whose factors are in the sums of `state`, and that this field does not meet.
    first_row
        The row of the field's first feature.
    starts, examples, inputs
        The examples of each feature, ``examples[starts[r] : starts[r + 1]]``, and its inputs there; no inputs at all
        where each is 1.
    precision
        (d,) of the normal prior around zero.
    key
        Of these draws.
    """
    d, width = len(precision), state.shape[1]
    a, b = np.empty((width, width)), np.empty(d)
    tile = _TILE_BYTES // (4 * width)
    q = np.empty((tile, width), np.float32)
    old, moved = np.zeros((1, width), np.float32), np.zeros((1, width), np.float32)
    for r in range(first, last):
        begin, end = starts[r], starts[r + 1]
        row = first_row + r
        if begin == end:
            weights[row] = 0.0
            continue
        old[0] = weights[row]
        a[:] = 0.0
        for at in range(begin, end, tile):
            count = min(tile, end - at)
            _fill(q, old, own, state, weights, batch, fields, examples, inputs, at, count, d)
            for some in range(0, count, _SUMMED):
                until = min(some + _SUMMED, count)
                for k in range(0, width, LANES):
                    for j in range(0, k + 1, LANES):
                        add_square(a, q, some, until, k, j)
        for k in range(d):
            b[k] = a[d, k] - precision[k] * old[0, k]
            a[k, k] += precision[k]
        _solve(a, b, d, mixed(key + _U(r) * STEP))
        for k in range(d):
            weights[row, k] = old[0, k] + b[k]
            moved[0, k] = weights[row, k] - old[0, k]  # as stored, or what is left drifts away from the weights
        for at in range(begin, end, tile):
            count = min(tile, end - at)
            if end - begin > tile:
                _fill(q, old, own, state, weights, batch, fields, examples, inputs, at, count, d)
            for u in range(count):
                e = examples[at + u]
                left = state[e, 0] - dot(q, u, moved, 0, width)
                if own:
                    x = inputs[at + u] if len(inputs) else np.float32(1.0)
                    add_scaled(state, e, moved, 0, x, width)
                state[e, 0] = left


# Plain loops: the last bits of numpy's sums depend on where an array lies, those of its products on the threads.


@kernel(allocates=True)
def row_squares(weights: Floats, base: int, starts: Int64s) -> tuple[int, Floats]:
    """Return how many features of a field have examples, and the sums of the squares of their numbers (d,)."""
    squares, count = np.zeros(weights.shape[1]), 0
    for r in range(len(starts) - 1):
        if starts[r] < starts[r + 1]:
            count += 1
            for k in range(weights.shape[1]):
                squares[k] += float(weights[base + r, k]) ** 2
    return count, squares


@kernel(allocates=True)
def row_products(one: Floats, other: Floats) -> Floats:
    """Return ``one^T other`` of the factors: (K, K) from (D, 1 + K) and (D, 1 + K)."""
    products = np.zeros((one.shape[1] - 1, one.shape[1] - 1))
    for r in range(len(one)):
        for k in range(products.shape[0]):
            x = float(one[r, 1 + k])
            for m in range(products.shape[1]):
                products[k, m] += x * other[r, 1 + m]
    return products


@kernel(allocates=True)
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
