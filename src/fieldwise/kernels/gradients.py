"""Backward of the first layer: the gradients of a batch, summed for every row that it touches.

With the notation of `kernels.table`, the gradient of the weights of feature d of field f is ::

    of its local weights   sum over b of  x[b, d] local[b, f K : f K + K]
    of its full weights    sum over b of  x[b, d] full[b, :]

`merge` takes one *work item* (`kernels.work`), a field of the batch or a part of its rows, in two passes over the ids:
the different ones are numbered in the order in which they first occur (`kernels.renumber`), then every occurrence's
gradient is added to line ``number`` of a small array that stays in the processor's cache. The optimizer
(`kernels.optimizers`) then visits every row once. There is no sort, no ``unique``, no slot for a gradient in the table,
and nothing is allocated.

A row belongs to one work item, which adds up its occurrences in the order of the examples. So every sum is the same,
bit for bit, whichever thread takes the item and however fields are cut into items.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.instructions import prefetch_item, prefetch_line
from fieldwise.kernels.jit import kernel, part
from fieldwise.kernels.lanes import LANES, add_lanes
from fieldwise.kernels.layout import BAG, SINGLE, VALUE, Batch, Layout
from fieldwise.kernels.renumber import find_slot, number_by_hash, number_by_row
from fieldwise.kernels.threads import run_each
from fieldwise.kernels.work import FEW_ROWS, Work

__all__ = ["merge", "scatter"]

Floats = npt.NDArray[np.floating]
Ids = npt.NDArray[np.uint32]
Index = int | np.uint64
_U = np.uint64
_LANES = _U(LANES)
_AHEAD, _STAMPS_AHEAD = _U(16), _U(24)
_LAST_STAMP = np.uint32(0xFFFFFFFF)


@kernel
def _give(rows: Floats, base: Index, unit: Index, width: Index, ids: Ids, gradient: Floats, column: Index) -> None:
    """Add ``gradient[b, column : column + width]`` to ``rows[base + ids[b], unit : unit + width]`` for every b."""
    if width == 1:
        for b in range(_U(len(ids))):
            rows[base + _U(ids[b]), unit] += gradient[b, column]
    else:
        for b in range(_U(len(ids))):
            if b + _AHEAD < len(ids):
                prefetch_item(gradient, np.int64(b + _AHEAD), np.int64(column))
            r, k = base + _U(ids[b]), _U(0)
            while k + _LANES <= width:
                add_lanes(rows, r, unit + k, gradient, b, column + k)
                k += _LANES
            while k < width:
                rows[r, unit + k] += gradient[b, column + k]
                k += _U(1)


@kernel
def _give_values(
    rows: Floats, base: Index, unit: Index, width: Index, ids: Ids, values: Floats, gradient: Floats, column: Index
) -> None:
    """As `_give`, each gradient times its example's value."""
    for b in range(_U(len(ids))):
        r, x = base + _U(ids[b]), values[b]
        for k in range(width):
            rows[r, unit + k] += x * gradient[b, column + k]


@kernel
def _give_bag(
    rows: Floats,
    base: Index,
    unit: Index,
    width: Index,
    offsets: npt.NDArray[np.int64],
    ids: Ids,
    weights: npt.NDArray[np.float32],
    gradient: Floats,
    column: Index,
) -> None:
    """As `_give`, to every row of each example's bag, times its weight; `ids` begin with the bag's first."""
    first = _U(offsets[0])
    for b in range(_U(len(offsets) - 1)):
        for i in range(_U(offsets[b]), _U(offsets[b + _U(1)])):
            r, x, k = base + _U(ids[i - first]), weights[i], _U(0)
            if x == 1:
                while k + _LANES <= width:
                    add_lanes(rows, r, unit + k, gradient, b, column + k)
                    k += _LANES
            while k < width:
                rows[r, unit + k] += x * gradient[b, column + k]
                k += _U(1)


@kernel
def _give_field(
    rows: Floats, base: Index, ids: Ids, batch: Batch, layout: Layout, f: Index, local: Floats, full: Floats
) -> None:
    """Add the gradients of a field of the batch to ``rows[base + ids]``, whatever its form."""
    width, zero = _U(full.shape[1]), _U(0)
    units = _U(local.shape[1] // len(layout.form))
    column = _U(f) * units
    if layout.form[f] == BAG:
        offsets = batch.offsets[layout.bag[f]]
        if units > 0:
            _give_bag(rows, base, zero, units, offsets, ids, batch.bag_weights, local, column)
        if width > 0:
            _give_bag(rows, base, units, width, offsets, ids, batch.bag_weights, full, zero)
    elif layout.form[f] == VALUE:
        values = batch.values[layout.value[f]]
        if units > 0:
            _give_values(rows, base, zero, units, ids, values, local, column)
        if width > 0:
            _give_values(rows, base, units, width, ids, values, full, zero)
    else:
        if units > 0:
            _give(rows, base, zero, units, ids, local, column)
        if width > 0:
            _give(rows, base, units, width, ids, full, zero)


@part
def _ids_of(batch: Batch, layout: Layout, f: Index) -> Ids:
    """Return all ids of a field in the batch, whatever example they belong to."""
    ids = batch.bag_ids
    if layout.form[f] == BAG:
        offsets = batch.offsets[layout.bag[f]]
        ids = ids[offsets[0] : offsets[len(offsets) - 1]]
    else:
        ids = batch.ids[layout.single[f]]
    return ids


@kernel
def _first_stamp(num_ids: Index, work: Work) -> Any:
    """Return the next stamp, from which as many can be given as there are ids."""
    start = work.start[0]
    if start >= _LAST_STAMP - np.uint32(num_ids):
        work.stamps[:] = 0
        work.slots[:] = 0
        start = np.uint32(1)
    return start


@kernel
def _number(ids: Ids, num_rows: Index, work: Work) -> np.uint32:
    """Number ids into ``work.numbers`` and ``work.distinct``."""
    start = _first_stamp(len(ids), work)
    if num_rows <= len(work.stamps):
        count = number_by_row(ids, work.stamps, start, work.numbers, work.distinct)
    else:
        count = number_by_hash(ids, work.slots, start, work.numbers, work.distinct)
    work.start[0] = start + count
    return count


@kernel
def _number_part(ids: Ids, num_rows: Index, part: Index, parts: Index, work: Work) -> np.uint32:
    """As `_number`, the ids of one part; all others get the number after the last."""
    mask, wanted, num_picked = np.uint32(parts - 1), np.uint32(part), _U(0)
    for i in range(_U(len(ids))):
        work.places[num_picked] = i
        work.picked[num_picked] = ids[i]
        num_picked += _U((ids[i] & mask) == wanted)
    count = _number(work.picked[:num_picked], num_rows, work)
    # The numbers of the part stand at the front, and move to their places from the last on.
    free = count
    last: Index = num_picked
    place: Index = _U(len(ids))
    while place > 0:
        place -= _U(1)
        here = last > 0 and _U(work.places[last - _U(1)]) == place
        last -= _U(here)
        work.numbers[place] = work.numbers[last] if here else free
    return count


@kernel
def _merge_by_row(ids: Ids, stamps: Ids, first: np.uint32, work: Work, gradient: Floats, column: Index) -> np.uint32:
    """Number ids (`renumber.number_by_row`) and sum their gradients of width 1, in one pass: half as fast again."""
    distinct, sums, count, num_ids = work.distinct, work.gradients, np.uint32(0), _U(len(ids))
    lines = stamps.reshape(-1, 1)
    for b in range(num_ids):
        if b + _STAMPS_AHEAD < num_ids:
            prefetch_line(lines, np.int64(ids[b + _STAMPS_AHEAD]))
        id_ = _U(ids[b])
        stamp, g = stamps[id_], gradient[b, column]
        new = stamp < first
        number = count if new else stamp - first
        stamps[id_] = first + number
        distinct[_U(number)] = ids[b]
        before = sums[_U(number), 0]
        sums[_U(number), 0] = g if new else before + g
        count += np.uint32(new)
    return count


@kernel
def _merge_by_hash(
    ids: Ids, slots: npt.NDArray[np.uint64], first: np.uint32, work: Work, gradient: Floats, column: Index
) -> np.uint32:
    """As `_merge_by_row`, with `renumber.number_by_hash`."""
    distinct, sums, count, mask = work.distinct, work.gradients, np.uint32(0), _U(len(slots) - 1)
    for b in range(_U(len(ids))):
        id_, g = _U(ids[b]), gradient[b, column]
        slot = find_slot(slots, id_, mask, first)
        stamp = np.uint32(slots[slot] >> _U(32))
        new = stamp < first
        number = count if new else np.uint32(stamp - first)
        slots[slot] = (_U(first + number) << _U(32)) | id_
        distinct[_U(number)] = ids[b]
        before = sums[_U(number), 0]
        sums[_U(number), 0] = g if new else before + g
        count += np.uint32(new)
    return count


@kernel
def _merge_few(ids: Ids, num_rows: Index, work: Work, gradient: Floats, column: Index) -> np.uint32:
    """As `_merge_by_row` for a field of few rows: sums for all of them, and those that are not zero are numbered.

    An example adds to one of four sums by its place, ``(s0 + s1) + (s2 + s3)``: with a single one, an example whose
    feature is that of the example before, the common case here, waits until that one's sum has been written.
    """
    lanes, sums, distinct, count = work.lanes, work.gradients, work.distinct, _U(0)
    lanes[:num_rows] = 0
    num_ids, b = _U(len(ids)), _U(0)
    while b + _U(4) <= num_ids:
        lanes[_U(ids[b]), _U(0)] += gradient[b, column]
        lanes[_U(ids[b + _U(1)]), _U(1)] += gradient[b + _U(1), column]
        lanes[_U(ids[b + _U(2)]), _U(2)] += gradient[b + _U(2), column]
        lanes[_U(ids[b + _U(3)]), _U(3)] += gradient[b + _U(3), column]
        b += _U(4)
    while b < num_ids:
        lanes[_U(ids[b]), b & _U(3)] += gradient[b, column]
        b += _U(1)
    for row in range(_U(num_rows)):
        total = (lanes[row, 0] + lanes[row, 1]) + (lanes[row, 2] + lanes[row, 3])
        sums[count, 0] = total
        distinct[count] = row
        count += _U(total != 0)
    return np.uint32(count)


@kernel
def _merge_width_one(ids: Ids, num_rows: Index, work: Work, gradient: Floats, column: Index) -> np.uint32:
    """`merge` where a row has one weight and every example one feature: the paper's case, and logistic regression."""
    if num_rows <= min(FEW_ROWS, len(ids)):
        return _merge_few(ids, num_rows, work, gradient, column)
    first = _first_stamp(len(ids), work)
    if num_rows <= len(work.stamps):
        count = _merge_by_row(ids, work.stamps, first, work, gradient, column)
    else:
        count = _merge_by_hash(ids, work.slots, first, work, gradient, column)
    work.start[0] = first + count
    return count


@kernel
def merge(
    batch: Batch, layout: Layout, f: Index, part: Index, parts: Index, local: Floats, full: Floats, work: Work
) -> np.uint64:
    """Sum the gradients ``local`` (B, F K) and ``full`` (B, W) of a work item; return how many rows it touches.

    Row ``base[f] + work.distinct[u]`` has the gradient ``work.gradients[u]``.
    """
    ids, num_rows = _ids_of(batch, layout, f), layout.base[f + 1] - layout.base[f]
    if parts == 1 and work.gradients.shape[1] == 1 and layout.form[f] == SINGLE:
        if local.shape[1] > 0:
            return _U(_merge_width_one(ids, num_rows, work, local, _U(f)))
        return _U(_merge_width_one(ids, num_rows, work, full, _U(0)))
    if parts == 1:
        count = _U(_number(ids, num_rows, work))
    else:
        count = _U(_number_part(ids, num_rows, part, parts, work))
    gradients = work.gradients
    for u in range(count):
        for k in range(_U(gradients.shape[1])):
            gradients[u, k] = 0
    _give_field(gradients, _U(0), work.numbers[: len(ids)], batch, layout, f, local, full)
    return count


@kernel
def _scatter(
    rows: Floats, batch: Batch, layout: Layout, local: Floats, full: Floats, first: Index, last: Index
) -> None:
    for f in range(first, last):
        _give_field(rows, _U(layout.base[f]), _ids_of(batch, layout, f), batch, layout, f, local, full)


def scatter(rows: Floats, batch: Batch, layout: Layout, local: Floats, full: Floats, threads: int) -> None:
    """Add the gradients of a batch's outputs, ``local`` (B, F K) and ``full`` (B, W), to ``rows`` (D, K + W).

    For a small table, that of a renumbered batch (`renumber.compact`): one line for every feature.
    """
    parts = max(min(threads, layout.num_fields), 1)
    cuts = [layout.num_fields * part // parts for part in range(parts + 1)]
    run_each(_scatter, [(rows, batch, layout, local, full, cuts[i], cuts[i + 1]) for i in range(parts)])
