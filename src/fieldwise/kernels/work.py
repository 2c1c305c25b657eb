"""How the backward pass of the first layer is cut into work items, and the scratch arrays that a thread takes one with.

An item is a field of a batch, or a part of its rows: those whose id leaves the part as its remainder. Sums do not
depend on the cuts (`kernels.gradients`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.layout import BAG, Batch, Layout
from fieldwise.kernels.renumber import num_slots

__all__ = ["FEW_ROWS", "Work", "WorkItems", "most_ids", "new_work", "split_fields"]

Floats = npt.NDArray[np.floating]
Ids = npt.NDArray[np.uint32]
WorkItems = npt.NDArray[np.int64]
"""(S, 3): field, which part of its rows, and of how many."""

FEW_ROWS = 2048
"""Fields with so many rows or fewer have four sums for each."""
_DIRECT_ROWS = 1 << 20
_CUT_ROWS, _MANY_ROWS = 4096, 32_768
_SHARES_PER_THREAD = 4
_BAG_COST = 4


class Work(NamedTuple):
    """The scratch arrays of one thread, kept from step to step.

    Attributes
    ----------
    stamps
        (rows,) uint32, for fields of up to a million rows (`kernels.renumber`).
    slots
        (slots,) uint64, for those with more.
    start
        (1,) uint32: the next stamp.
    places, picked
        (N + 1,) uint32: where the ids of a part stand among those of their field, and these ids.
    numbers
        (N + 1,) uint32: of each id.
    distinct
        (N + 1,) uint32: the id of each number.
    gradients
        (rows + 1, n): the sum of each number; the line after the last is for ids of other parts.
    lanes
        (rows, 4): four sums of each row, for fields of few rows.
    """

    stamps: Ids
    slots: npt.NDArray[np.uint64]
    start: Ids
    places: Ids
    picked: Ids
    numbers: Ids
    distinct: Ids
    gradients: Floats
    lanes: Floats


def new_work(num_ids: int, layout: Layout, num_weights: int, dtype: npt.DTypeLike) -> Work:
    """Return scratch arrays for work items of at most `num_ids` ids (`most_ids`)."""
    most_rows = int(np.diff(layout.base).max(initial=0))
    num_rows = min(num_ids, most_rows)
    places, picked, numbers, distinct = (np.zeros(num_ids + 1, dtype=np.uint32) for _ in range(4))
    return Work(
        stamps=np.zeros(min(most_rows, _DIRECT_ROWS), dtype=np.uint32),
        slots=np.zeros(num_slots(num_ids), dtype=np.uint64),
        start=np.ones(1, dtype=np.uint32),
        places=places,
        picked=picked,
        numbers=numbers,
        distinct=distinct,
        gradients=np.zeros((num_rows + 1, num_weights), dtype=dtype),
        lanes=np.zeros((min(most_rows, FEW_ROWS), 4), dtype=dtype),
    )


def most_ids(batch: Batch) -> int:
    """Return how many ids the field with the most of them has in a batch."""
    bags = int((batch.offsets[:, -1] - batch.offsets[:, 0]).max(initial=0))
    return max(batch.num_examples, bags)


def split_fields(layout: Layout, threads: int) -> WorkItems:
    """Cut a batch into work items for `threads` threads: bags first, then fields of many rows, which take
    longest, then the others in their order: their gradients come from the cache lines that the field before has just
    read.

    A field is one item, but where fields are few (or a bag, whose length is unknown before the batch and counts as four
    features, stands out) those with many rows are cut into 2, 4, ... parts, so that no thread waits long for another.

    Examples
    --------
    >>> split_fields(Layout.of([0, 0], [10_000, 10]), 2).tolist()
    [[0, 0, 2], [0, 1, 2], [1, 0, 1]]
    >>> len(split_fields(Layout.of([0] * 39, [10_000] * 39), 2))
    39
    """
    cost = np.where(layout.form == BAG, _BAG_COST, 1)
    fair = cost.sum() / (_SHARES_PER_THREAD * threads)
    sizes = np.diff(layout.base)
    items = []
    for f in np.lexsort((-np.maximum(sizes, _MANY_ROWS), -cost)).tolist():
        wanted = min(threads, int(np.ceil(cost[f] / fair))) if sizes[f] >= _CUT_ROWS else 1
        parts = 1 << (wanted - 1).bit_length()
        items += [(f, part, parts) for part in range(parts)]
    return np.array(items, dtype=np.int64).reshape(-1, 3)
