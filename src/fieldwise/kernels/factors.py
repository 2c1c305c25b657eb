"""Sums and turns of the factors of a factorisation machine, which Gibbs sampling draws (`kernels.gibbs`).

Letters: n examples, F fields, D features, K factors, d = K + 1 numbers of a feature: its weight, then its factors.

All that a draw needs of an example is one row, a cache line for K <= 14::

    state[e]:   | s_e | the factors of all fields, summed: K | 0 ... |

with s_e what is left of its latent number, and rows of weights are as wide: a weight, K factors, zeros up to a multiple
of `lanes.LANES` above d (`row_width`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.gram import add_scaled, dot
from fieldwise.kernels.instructions import prefetch_item
from fieldwise.kernels.jit import kernel, part
from fieldwise.kernels.lanes import LANES
from fieldwise.kernels.layout import BAG, VALUE, Batch, Layout

__all__ = ["add_fields", "predict", "rotate", "row_products", "row_squares", "row_width", "shift"]

Floats = npt.NDArray[np.floating[Any]]
Uint32s = npt.NDArray[np.uint32]
Int64s = npt.NDArray[np.int64]

_AHEAD = 16
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
def add_fields(
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
            add_fields(own, 1.0, weights, batch, fields, g, g + 1, here, 0, count)
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
        add_fields(state[at : at + count], factor, weights, batch, fields, 0, len(fields.form), here, 0, count)
        for u in range(count):
            state[at + u, 0] = kept[u]
        at += count


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
