"""A batch over a table of its own: every row that it touches once, fields in their order.

Field f of the batch touches U_f different rows. They are numbered 0 .. U_f - 1 in the order in which they first occur,
so the batch with these numbers for ids, over a layout with U_f rows for field f, is an ordinary batch over a small
table: all kernels take it as it is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from fieldwise.kernels.layout import BAG, Batch, Layout

__all__ = ["Compact", "compact"]

Int64s = npt.NDArray[np.int64]
Uint32s = npt.NDArray[np.uint32]

_GOLDEN = np.uint32(0x9E3779B1)


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
        slots = np.zeros((1 << max(2 * len(before) - 1, 1).bit_length(), 2), dtype=np.uint32)
        distinct = np.empty(len(before), dtype=np.uint32)
        found.append(distinct[: _renumber(before, after, slots, distinct)] + layout.base[f])
    small = Layout.of(layout.form.tolist(), [len(rows) for rows in found])
    rows = np.concatenate(found) if found else np.empty(0, dtype=np.int64)
    return Compact(batch._replace(ids=ids, bag_ids=bag_ids), small, rows)


@njit(cache=True, nogil=True)
def _renumber(before: Uint32s, after: Uint32s, slots: Uint32s, distinct: Uint32s) -> int:
    """Number `before` into `after` in the order of first occurrence; `slots` hold id and number + 1 (0: empty)."""
    mask, count = np.uint32(len(slots) - 1), 0
    for i in range(len(before)):
        slot = (before[i] * _GOLDEN >> np.uint32(7)) & mask
        while slots[slot, 1] != 0 and slots[slot, 0] != before[i]:
            slot = (slot + np.uint32(1)) & mask
        if slots[slot, 1] == 0:
            distinct[count] = before[i]
            count += 1
            slots[slot, 0], slots[slot, 1] = before[i], np.uint32(count)
        after[i] = slots[slot, 1] - np.uint32(1)
    return count
