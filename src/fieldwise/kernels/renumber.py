"""The different ids of a field in a batch, numbered 0, 1, 2, ... in the order in which they first occur.

A *stamp* array remembers the number of each id: an entry is of this field and batch if its stamp is `start` or more,
and its number is then ``stamp - start``. The next field begins where this one's stamps end, so nothing is ever cleared
(but once in 2^32 numbers). A field with few rows has an entry for each row; one with many has a hash table with linear
probing. Both stay in the processor's cache, whatever D is: that is why the table's gradients are summed here and not in
the rows themselves (docs/log/2026-11/table.md#where-should-gradients-be-summed).

A whole batch over the numbers for ids, and a layout with U_f rows for field f, is an ordinary batch over a small table
(`compact`): all kernels take it as it is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from fieldwise.kernels.instructions import prefetch_line
from fieldwise.kernels.jit import kernel
from fieldwise.kernels.layout import BAG, Batch, Layout

__all__ = ["Compact", "compact", "num_slots", "number_by_hash", "number_by_row"]

Int64s = npt.NDArray[np.int64]
Uint32s = npt.NDArray[np.uint32]
Uint64s = npt.NDArray[np.uint64]
Stamp = int | np.uint32

_ONE = np.uint32(1)
_U = np.uint64
_AHEAD = _U(24)
_GOLDEN, _HALF, _LOWER = _U(0x9E3779B97F4A7C15), _U(32), _U(0xFFFFFFFF)


@kernel
def number_by_row(ids: Uint32s, stamps: Uint32s, start: Stamp, numbers: Uint32s, distinct: Uint32s) -> np.uint32:
    """Number ids with one stamp per row of their field.

    Parameters
    ----------
    ids
        (N,), each below the length of `stamps`.
    stamps
        (rows or more,), written; below `start` but for what this call writes.
    start
        The first stamp to give, 1 or more; ``start + N`` is below 2^32.
    numbers
        (N or more,), written: the number of each id.
    distinct
        (N + 1 or more,), written: the id of each number.

    Returns
    -------
    int
        How many different ids there are.
    """
    count, num_ids = np.uint32(0), _U(len(ids))
    lines = stamps.reshape(-1, 1)
    for i in range(num_ids):
        if i + _AHEAD < num_ids:
            prefetch_line(lines, np.int64(ids[i + _AHEAD]))
        # Without a branch: whether an id is new cannot be foretold.
        id_ = _U(ids[i])
        stamp = stamps[id_]
        new = stamp < start
        number = count if new else stamp - start
        stamps[id_] = start + number
        numbers[i] = number
        distinct[_U(number)] = ids[i]
        count += np.uint32(new)
    return count


@kernel
def number_by_hash(ids: Uint32s, slots: Uint64s, start: Stamp, numbers: Uint32s, distinct: Uint32s) -> np.uint32:
    """As `number_by_row`, with ``slots`` (`num_slots` of N,): the stamp in the upper half of each, the id in the lower.

    Both in one number: two halves written apart and read together would wait for each other (twice the time).
    """
    count, mask, first = np.uint32(0), _U(len(slots) - 1), np.uint32(start)
    for i in range(_U(len(ids))):
        id_ = _U(ids[i])
        slot = find_slot(slots, id_, mask, first)
        stamp = np.uint32(slots[slot] >> _HALF)
        new = stamp < first
        number = count if new else np.uint32(stamp - first)
        slots[slot] = (_U(first + number) << _HALF) | id_
        numbers[i] = number
        distinct[_U(number)] = ids[i]
        count += np.uint32(new)
    return count


@njit(inline="always")
def find_slot(slots: Uint64s, id_: np.uint64, mask: np.uint64, first: np.uint32) -> np.uint64:
    """Return the slot that holds an id, or the empty one (its stamp is below `first`) that it is to have."""
    slot = ((id_ * _GOLDEN) >> _HALF) & mask
    while (slots[slot] >> _HALF) >= _U(first) and (slots[slot] & _LOWER) != id_:
        slot = (slot + _U(1)) & mask
    return slot


def num_slots(num_ids: int) -> int:
    """Return the power of two that leaves three of four slots empty or more.

    Examples
    --------
    >>> num_slots(0), num_slots(4096), num_slots(4097)
    (4, 16384, 32768)
    """
    return 1 << max(4 * num_ids - 1, 3).bit_length()


class Compact(NamedTuple):
    """A renumbered batch.

    Attributes
    ----------
    batch, layout
        The batch, and U_f rows for each field.
    rows
        (U,) int64: the row of the whole table that each row of the small one stands for.
    """

    batch: Batch
    layout: Layout
    rows: Int64s


def compact(batch: Batch, layout: Layout) -> Compact:
    """Renumber a batch. Costs one look into a hash table per id, whatever D is.

    Examples
    --------
    >>> empty = np.empty(0)
    >>> batch = Batch(np.array([[7, 3, 7]], np.uint32), empty.reshape(0, 3), empty.reshape(0, 4), empty, empty)
    >>> small = compact(batch, Layout.of([0], [10]))
    >>> small.batch.ids.tolist(), small.layout.num_features, small.rows.tolist()
    ([[0, 1, 0]], 2, [7, 3])
    """
    ids, bag_ids = np.empty_like(batch.ids), np.empty_like(batch.bag_ids)
    found: list[Int64s] = []
    for f in range(layout.num_fields):
        if layout.form[f] == BAG:
            offsets = batch.offsets[layout.bag[f]]
            here = slice(int(offsets[0]), int(offsets[-1]))
            before, after = batch.bag_ids[here], bag_ids[here]
        else:
            before, after = batch.ids[layout.single[f]], ids[layout.single[f]]
        slots = np.zeros(num_slots(len(before)), dtype=np.uint64)
        distinct = np.empty(len(before) + 1, dtype=np.uint32)
        count = number_by_hash(before, slots, _ONE, after, distinct)
        found.append(distinct[:count] + layout.base[f])
    small = Layout.of(layout.form.tolist(), [len(rows) for rows in found])
    rows = np.concatenate(found) if found else np.empty(0, dtype=np.int64)
    return Compact(batch._replace(ids=ids, bag_ids=bag_ids), small, rows)
