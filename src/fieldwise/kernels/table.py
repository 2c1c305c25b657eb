"""Forward of the first layer: rows of a table gathered by the features of a batch.

A table has one row per feature. A row holds n = K + W weights, then the optimizer's state, so that what a step needs of
a feature lies side by side, in one cache line for small n (`kernels.storage` has the types)::

    row r:   | weight 0 .. n-1 | state ... |

Of the n weights the first K are *locally connected* and the last W *fully connected*. With x the encoded example
(one-hot, or the values of numbers and bags)::

    local[b, f K + k] =           sum over features d of field f of   x[b, d] weight[d, k]          (B, F K)
    full[b, w]        = sum over fields f, features d of field f of   x[b, d] weight[d, K + w]      (B, W)

Logistic regression is K = 0, W = 1; the paper's M1 is K = 1, W = 0; a fully connected first layer of 2048 units is K
= 0, W = 2048; LC-W&D is K = 1, W = 1. One pass over the ids serves the wide and the deep part. Backward is
`kernels.gradients`, and what moves the rows `kernels.optimizers`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from fieldwise.kernels.instructions import prefetch_item
from fieldwise.kernels.jit import kernel, part
from fieldwise.kernels.lanes import LANES, add_lanes, copy_lanes, lanes_of
from fieldwise.kernels.layout import BAG, VALUE, Batch, Layout
from fieldwise.kernels.storage import NEAREST, load_weight, store_weight
from fieldwise.kernels.threads import IDS_PER_THREAD, num_threads, run_each

__all__ = ["gather", "gather_part", "initialise", "initialise_numbered"]

Rows = npt.NDArray[Any]
Floats = npt.NDArray[np.floating]
Ids = npt.NDArray[np.uint32]
Index = int | np.uint64

_TILE, _TILE_NUMBERS = 64, 4096
"""Examples per tile of the forward pass, at least, and numbers of their outputs, which stay in the nearest cache while
the fields pass over them. A tile costs some 50 ns a field, which tells where a field is one number per example."""

_U = np.uint64
_LANES = _U(LANES)
_AHEAD = _U(8)
# Two habits of these loops, each measured
# (docs/log/2026-11/table.md#which-habits-do-the-kernels-need). Indices are unsigned: numba lets negative ones count
# from the end, and the check for that costs a factor of two to four. And a helper takes a run of examples, never one:
# handing arrays to a function counts their references, which costs more than the row. Width 1, the paper's, has a
# branch of its own.


@part
def _copy(
    out: Floats, column: Index, rows: Rows, base: Index, unit: Index, width: Index, ids: Ids, begin: Index, end: Index
) -> None:
    """Set ``out[b, column : column + width]`` to ``rows[base + ids[b], unit : unit + width]``, b from begin to end."""
    if width == 1:
        for b in range(begin, end):
            out[b, column] = load_weight(rows, base + _U(ids[b]), unit)
    else:
        for b in range(begin, end):
            # A wide row hides the next ones from the processor: asking for them early gains half as much again.
            if b + _AHEAD < end:
                ahead = np.int64(base + _U(ids[b + _AHEAD]))
                prefetch_item(rows, ahead, np.int64(unit))
                prefetch_item(rows, ahead, np.int64(unit + width - _U(1)))
            r, k = base + _U(ids[b]), _U(0)
            while k + lanes_of(rows) <= width:
                copy_lanes(out, b, column + k, rows, r, unit + k)
                k += _LANES
            while k < width:
                out[b, column + k] = load_weight(rows, r, unit + k)
                k += _U(1)


@part
def _add(
    out: Floats, column: Index, rows: Rows, base: Index, unit: Index, width: Index, ids: Ids, begin: Index, end: Index
) -> None:
    """As `_copy`, adding to ``out``."""
    if width == 1:
        for b in range(begin, end):
            out[b, column] += load_weight(rows, base + _U(ids[b]), unit)
    else:
        for b in range(begin, end):
            if b + _AHEAD < end:
                ahead = np.int64(base + _U(ids[b + _AHEAD]))
                prefetch_item(rows, ahead, np.int64(unit))
                prefetch_item(rows, ahead, np.int64(unit + width - _U(1)))
            r, k = base + _U(ids[b]), _U(0)
            while k + lanes_of(rows) <= width:
                add_lanes(out, b, column + k, rows, r, unit + k)
                k += _LANES
            while k < width:
                out[b, column + k] += load_weight(rows, r, unit + k)
                k += _U(1)


@part
def _add_values(
    out: Floats,
    column: Index,
    rows: Rows,
    base: Index,
    unit: Index,
    width: Index,
    ids: Ids,
    values: Floats,
    begin: Index,
    end: Index,
) -> None:
    """As `_add`, each row times its example's value."""
    for b in range(begin, end):
        r, x = base + _U(ids[b]), values[b]
        for k in range(width):
            out[b, column + k] += x * load_weight(rows, r, unit + k)


@part
def _add_bag(
    out: Floats,
    column: Index,
    rows: Rows,
    base: Index,
    unit: Index,
    width: Index,
    offsets: npt.NDArray[np.int64],
    ids: Ids,
    weights: npt.NDArray[np.float32],
    begin: Index,
    end: Index,
) -> None:
    """As `_add`, the weighted sum of the rows of each example's bag."""
    for b in range(begin, end):
        for i in range(_U(offsets[b]), _U(offsets[b + _U(1)])):
            r, x, k = base + _U(ids[i]), weights[i], _U(0)
            if x == 1:
                while k + lanes_of(rows) <= width:
                    add_lanes(out, b, column + k, rows, r, unit + k)
                    k += _LANES
            while k < width:
                out[b, column + k] += x * load_weight(rows, r, unit + k)
                k += _U(1)


@kernel
def gather_part(
    rows: Rows, batch: Batch, layout: Layout, num_local: int, local: Floats, full: Floats, begin: int, end: int
) -> None:
    """As `gather`, of K = ``num_local``, for the examples from begin to end, on this thread."""
    units, width, zero = _U(num_local), _U(full.shape[1]), _U(0)
    tile = max(_TILE_NUMBERS // max(local.shape[1] + full.shape[1], 1), _TILE)
    for first in range(begin, end, tile):
        start, stop = _U(first), _U(min(first + tile, end))
        full[start:stop] = 0
        for f in range(len(layout.form)):
            base, column = _U(layout.base[f]), _U(f) * units
            if layout.form[f] == BAG:
                offsets, ids, weights = batch.offsets[layout.bag[f]], batch.bag_ids, batch.bag_weights
                if units > 0:
                    local[start:stop, column : column + units] = 0
                    _add_bag(local, column, rows, base, zero, units, offsets, ids, weights, start, stop)
                if width > 0:
                    _add_bag(full, zero, rows, base, units, width, offsets, ids, weights, start, stop)
                continue
            ids = batch.ids[layout.single[f]]
            if layout.form[f] == VALUE:
                values = batch.values[layout.value[f]]
                if units > 0:
                    local[start:stop, column : column + units] = 0
                    _add_values(local, column, rows, base, zero, units, ids, values, start, stop)
                if width > 0:
                    _add_values(full, zero, rows, base, units, width, ids, values, start, stop)
            else:
                if units > 0:
                    _copy(local, column, rows, base, zero, units, ids, start, stop)
                if width > 0:
                    _add(full, zero, rows, base, units, width, ids, start, stop)


def gather(rows: Rows, batch: Batch, layout: Layout, local: Floats, full: Floats) -> None:
    """Write ``local`` (B, F K) and ``full`` (B, W) of a batch, as the module's equations say.

    Split over the threads by example: it only reads the table.
    """
    num_examples = batch.num_examples
    num_local = local.shape[1] // max(layout.num_fields, 1)
    threads = num_examples * layout.num_fields * (1 + (num_local + full.shape[1]) // 16) // IDS_PER_THREAD
    # Whole tiles for each thread; batches below two tiles are not worth a second one.
    parts = max(min(num_threads(), threads, num_examples // (2 * _TILE)), 1)
    cuts = [num_examples * part // parts for part in range(parts + 1)]
    run_each(
        gather_part,
        [(rows, batch, layout, num_local, local, full, cuts[i], cuts[i + 1]) for i in range(parts)],
    )


@njit(inline="always")
def _uniform(seed: int, row: int, unit: int) -> float:
    """Return a number in [-1, 1) that depends on (seed, row, unit) alone: a splitmix64 hash of the three."""
    z = np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(row)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9) + np.uint64(unit) * np.uint64(0xD6E8FEB86659FD93)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = z ^ (z >> np.uint64(31))
    return np.float64(z >> np.uint64(11)) * 2.0**-52 - 1.0


@kernel
def initialise(rows: Rows, first_unit: int, last_unit: int, scale: float, seed: int, first_row: int) -> None:
    """Draw the weights ``first_unit .. last_unit - 1`` of every row uniformly from [-scale, scale].

    A weight depends on (seed, row, unit) alone, so it is the same however the table is cut into shards, and when rows
    join it later; `first_row` is the number of the first row in the whole table.
    """
    for r in range(rows.shape[0]):
        for unit in range(first_unit, last_unit):
            store_weight(rows, r, unit, _uniform(seed, first_row + r, unit) * scale, NEAREST)


@kernel
def initialise_numbered(
    rows: Rows, first_unit: int, last_unit: int, scale: float, seed: int, numbers: npt.NDArray[np.int64]
) -> None:
    """As `initialise`, for rows that are no neighbours in the whole table; ``numbers`` (R,) says which they are."""
    for r in range(rows.shape[0]):
        for unit in range(first_unit, last_unit):
            store_weight(rows, r, unit, _uniform(seed, numbers[r], unit) * scale, NEAREST)
