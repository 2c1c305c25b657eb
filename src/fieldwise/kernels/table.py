"""Forward and backward of the first layer: rows of a table gathered by the features of a batch.

A table has one row per feature. A row holds n = K + W weights, then n gradient slots, then the optimizer's state, so
that all that a step needs of a feature lies side by side (one cache line for small n)::

    row r:   | weight 0 .. n-1 | gradient 0 .. n-1 | state ... |

Of the n weights the first K are *locally connected* and the last W *fully connected*. With x the encoded example
(one-hot, or the values of numbers and bags)::

    local[b, f K + k] =           sum over features d of field f of   x[b, d] weight[d, k]          (B, F K)
    full[b, w]        = sum over fields f, features d of field f of   x[b, d] weight[d, K + w]      (B, W)

Logistic regression is K = 0, W = 1; the paper's M1 is K = 1, W = 0; a fully connected first layer of 2048 units is K
= 0, W = 2048; LC-W&D is K = 1, W = 1. One pass over the ids serves the wide and the deep part.

Backward is two passes over the ids: `scatter` adds every occurrence's gradient to the gradient slots of its row, then
the optimizer (`kernels.optimizers`) visits the rows again, acts once on the sum and clears the slots. There is no
sort and no ``unique``. Both split the work by field: a row belongs to one field and so to one thread, which meets its
occurrences in the order of the examples, so results do not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from fieldwise.kernels.layout import BAG, VALUE, Batch, Layout
from fieldwise.kernels.prefetch import prefetch_line
from fieldwise.kernels.threads import num_threads, run_each

__all__ = ["gather", "initialise", "initialise_numbered", "scatter", "split_fields"]

Floats = npt.NDArray[np.floating]
Ids = npt.NDArray[np.uint32]
Index = int | np.uint64
Bag = tuple[npt.NDArray[np.int64], Ids, npt.NDArray[np.float32]]

_TILE = 64
"""Examples per tile of the forward pass: their outputs stay in the nearest cache while the fields pass over them."""


_U = np.uint64
_AHEAD = _U(8)
# Two habits of these loops, each measured (docs/experiments.md). Indices are unsigned: numba lets negative ones count
# from the end, and the check for that costs a factor of two to four. And a helper takes a run of examples, never one:
# handing arrays to a function counts their references, which costs more than the row. Width 1, the paper's, has a
# branch of its own.


@njit(cache=True, nogil=True)
def _take(
    out: Floats, column: Index, rows: Floats, base: Index, unit: Index, width: Index, ids: Ids, begin: Index, end: Index
) -> None:
    """Add ``rows[base + ids[b], unit : unit + width]`` to ``out[b, column : column + width]``, b from begin to end."""
    if width == 1:
        for b in range(begin, end):
            out[b, column] += rows[base + _U(ids[b]), unit]
    else:
        for b in range(begin, end):
            # A wide row hides the next ones from the processor: asking for them early gains half as much again.
            if b + _AHEAD < end:
                prefetch_line(rows, np.int64(base + _U(ids[b + _AHEAD])))
            r = base + _U(ids[b])
            for k in range(width):
                out[b, column + k] += rows[r, unit + k]


@njit(cache=True, nogil=True)
def _take_values(
    out: Floats,
    column: Index,
    rows: Floats,
    base: Index,
    unit: Index,
    width: Index,
    ids: Ids,
    values: Floats,
    begin: Index,
    end: Index,
) -> None:
    """As `_take`, each row times its example's value."""
    for b in range(begin, end):
        r, x = base + _U(ids[b]), values[b]
        for k in range(width):
            out[b, column + k] += x * rows[r, unit + k]


@njit(cache=True, nogil=True)
def _take_bag(
    out: Floats, column: Index, rows: Floats, base: Index, unit: Index, width: Index, bag: Bag, begin: Index, end: Index
) -> None:
    """As `_take`, the weighted sum of the rows of each example's bag."""
    offsets, ids, weights = bag
    for b in range(begin, end):
        for i in range(_U(offsets[b]), _U(offsets[b + _U(1)])):
            r, x = base + _U(ids[i]), weights[i]
            for k in range(width):
                out[b, column + k] += x * rows[r, unit + k]


@njit(cache=True, nogil=True)
def _give(rows: Floats, base: Index, unit: Index, width: Index, ids: Ids, gradient: Floats, column: Index) -> None:
    """Add ``gradient[b, column : column + width]`` to ``rows[base + ids[b], unit : unit + width]`` for every b."""
    if width == 1:
        for b in range(_U(len(ids))):
            rows[base + _U(ids[b]), unit] += gradient[b, column]
    else:
        for b in range(_U(len(ids))):
            r = base + _U(ids[b])
            for k in range(width):
                rows[r, unit + k] += gradient[b, column + k]


@njit(cache=True, nogil=True)
def _give_values(
    rows: Floats, base: Index, unit: Index, width: Index, ids: Ids, values: Floats, gradient: Floats, column: Index
) -> None:
    """As `_give`, each gradient times its example's value."""
    for b in range(_U(len(ids))):
        r, x = base + _U(ids[b]), values[b]
        for k in range(width):
            rows[r, unit + k] += x * gradient[b, column + k]


@njit(cache=True, nogil=True)
def _give_bag(rows: Floats, base: Index, unit: Index, width: Index, bag: Bag, gradient: Floats, column: Index) -> None:
    """As `_give`, to every row of each example's bag, times its weight."""
    offsets, ids, weights = bag
    for b in range(_U(len(offsets) - 1)):
        for i in range(_U(offsets[b]), _U(offsets[b + _U(1)])):
            r, x = base + _U(ids[i]), weights[i]
            for k in range(width):
                rows[r, unit + k] += x * gradient[b, column + k]


@njit(cache=True, nogil=True)
def _gather(
    rows: Floats, batch: Batch, layout: Layout, num_local: int, local: Floats, full: Floats, begin: int, end: int
) -> None:
    units, width, zero = _U(num_local), _U(full.shape[1]), _U(0)
    for first in range(begin, end, _TILE):
        start, stop = _U(first), _U(min(first + _TILE, end))
        local[start:stop] = 0
        full[start:stop] = 0
        for f in range(len(layout.form)):
            base, column = _U(layout.base[f]), _U(f) * units
            if layout.form[f] == BAG:
                bag = (batch.offsets[layout.bag[f]], batch.bag_ids, batch.bag_weights)
                _take_bag(local, column, rows, base, zero, units, bag, start, stop)
                _take_bag(full, zero, rows, base, units, width, bag, start, stop)
                continue
            ids = batch.ids[layout.single[f]]
            if layout.form[f] == VALUE:
                values = batch.values[layout.value[f]]
                _take_values(local, column, rows, base, zero, units, ids, values, start, stop)
                _take_values(full, zero, rows, base, units, width, ids, values, start, stop)
            else:
                _take(local, column, rows, base, zero, units, ids, start, stop)
                _take(full, zero, rows, base, units, width, ids, start, stop)


@njit(cache=True, nogil=True)
def _scatter(
    rows: Floats,
    batch: Batch,
    layout: Layout,
    num_local: int,
    local: Floats,
    full: Floats,
    fields: npt.NDArray[np.int64],
) -> None:
    units, width, zero = _U(num_local), _U(full.shape[1]), _U(0)
    slot = units + width
    for f in fields:
        base, column = _U(layout.base[f]), _U(f) * units
        if layout.form[f] == BAG:
            bag = (batch.offsets[layout.bag[f]], batch.bag_ids, batch.bag_weights)
            _give_bag(rows, base, slot, units, bag, local, column)
            _give_bag(rows, base, slot + units, width, bag, full, zero)
            continue
        ids = batch.ids[layout.single[f]]
        if layout.form[f] == VALUE:
            values = batch.values[layout.value[f]]
            _give_values(rows, base, slot, units, ids, values, local, column)
            _give_values(rows, base, slot + units, width, ids, values, full, zero)
        else:
            _give(rows, base, slot, units, ids, local, column)
            _give(rows, base, slot + units, width, ids, full, zero)


def gather(rows: Floats, batch: Batch, layout: Layout, num_local: int, num_full: int) -> tuple[Floats, Floats]:
    """Return ``local`` (B, F K) and ``full`` (B, W) of a batch, as the module's equations say.

    Split over the threads by example: it only reads the table.
    """
    num_examples = batch.num_examples
    local = np.empty((num_examples, layout.num_fields * num_local), dtype=rows.dtype)
    full = np.empty((num_examples, num_full), dtype=rows.dtype)
    # Whole tiles for each thread; batches below two tiles are not worth a second one.
    parts = max(min(num_threads(), num_examples // (2 * _TILE)), 1)
    cuts = [num_examples * part // parts for part in range(parts + 1)]
    run_each(
        _gather,
        [(rows, batch, layout, num_local, local, full, begin, end) for begin, end in zip(cuts, cuts[1:], strict=False)],
    )
    return local, full


def scatter(
    rows: Floats,
    batch: Batch,
    layout: Layout,
    num_local: int,
    local: Floats,
    full: Floats,
    shares: list[npt.NDArray[np.int64]],
) -> None:
    """Add the gradients of a batch's outputs, ``local`` (B, F K) and ``full`` (B, W), to the gradient slots of its
    rows.

    ``shares`` says which thread owns which fields (`split_fields`).
    """
    run_each(_scatter, [(rows, batch, layout, num_local, local, full, fields) for fields in shares])


def split_fields(layout: Layout, parts: int) -> list[npt.NDArray[np.int64]]:
    """Deal the fields to `parts` threads so that their expected work is alike.

    Fields go, the costly first, to the thread with the least work so far. A bag counts as four features, its length
    being unknown before the batch.
    """
    shares: list[list[int]] = [[] for _ in range(max(min(parts, layout.num_fields), 1))]
    load = [0] * len(shares)
    cost = [4 if form == BAG else 1 for form in layout.form.tolist()]
    for f in sorted(range(len(cost)), key=lambda f: -cost[f]):
        lightest = load.index(min(load))
        shares[lightest].append(f)
        load[lightest] += cost[f]
    return [np.array(sorted(share), dtype=np.int64) for share in shares]


@njit(cache=True, nogil=True, inline="always")
def _uniform(seed: int, row: int, unit: int) -> float:
    """Return a number in [-1, 1) that depends on (seed, row, unit) alone: a splitmix64 hash of the three."""
    z = np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(row)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9) + np.uint64(unit) * np.uint64(0xD6E8FEB86659FD93)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = z ^ (z >> np.uint64(31))
    return np.float64(z >> np.uint64(11)) * 2.0**-52 - 1.0


@njit(cache=True, nogil=True)
def initialise(rows: Floats, first_unit: int, last_unit: int, scale: float, seed: int, first_row: int) -> None:
    """Draw the weights ``first_unit .. last_unit - 1`` of every row uniformly from [-scale, scale].

    A weight depends on (seed, row, unit) alone, so it is the same however the table is cut into shards, and when rows
    join it later; `first_row` is the number of the first row in the whole table.
    """
    for r in range(rows.shape[0]):
        for unit in range(first_unit, last_unit):
            rows[r, unit] = _uniform(seed, first_row + r, unit) * scale


@njit(cache=True, nogil=True)
def initialise_numbered(
    rows: Floats, first_unit: int, last_unit: int, scale: float, seed: int, numbers: npt.NDArray[np.int64]
) -> None:
    """As `initialise`, for rows that are no neighbours in the whole table; ``numbers`` (R,) says which they are."""
    for r in range(rows.shape[0]):
        for unit in range(first_unit, last_unit):
            rows[r, unit] = _uniform(seed, numbers[r], unit) * scale
