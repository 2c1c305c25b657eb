"""The feature of values never seen in training, where training met no rare value that it could learn from.

With c_i the occurrences of local feature i >= 2 of a field in the training rows and w_i its row of the table, that of
the *unseen* feature is::

    w_unseen = sum_i c_i w_i / sum_i c_i        where c_unseen = 0

the weights of a value of which nothing is known but its field: that of an example drawn from the training rows. Without
it the row would be what it was drawn as. Where `min_count` or `max_features` left values out, they have trained it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

from fieldwise.distributed.table import ShardedTable
from fieldwise.kernels.layout import UNSEEN, VALUE, Layout
from fieldwise.kernels.storage import decode_weights, encode_weights
from fieldwise.nn.table import Table

__all__ = ["fill_unseen", "fill_unseen_shards"]

Counts = Sequence[npt.NDArray[np.int64] | None]
_FIRST = UNSEEN + 1
_ROWS = 1 << 18
"""Rows summed at a time: what they take as float64 is small beside the table."""


def fill_unseen(table: Table, counts: Counts) -> None:
    """Set the unseen rows that no training example has to the mean of their fields' rows.

    Costs one reading of the rows that have counts, so it is for the end of an epoch.

    Parameters
    ----------
    table
        Its weights are changed in place; the optimizer's state is not.
    counts
        (rows,) of each field, in the layout's order; None for one that has no unseen values.
    """
    for _, base, of_field in _untrained(table.layout, counts):
        weighted = np.zeros(table.num_weights, dtype=np.float64)
        for start in range(_FIRST, len(of_field), _ROWS):
            rows = table.read(base + start, base + min(start + _ROWS, len(of_field)))
            weighted += _weighted_sum(rows, of_field[start : start + _ROWS])
        unseen = table.read(base + UNSEEN, base + UNSEEN + 1)
        _set(unseen, 0, weighted / of_field[_FIRST:].sum())
        table.write(base + UNSEEN, unseen)


def fill_unseen_shards(sharded: ShardedTable, counts: Counts) -> None:
    """Do so for a table whose rows are spread over the workers, all of which have to call it."""
    layout, shards, owned = sharded.layout, sharded.shards, sharded.owned
    wanted = list(_untrained(layout, counts))
    sums = np.zeros((layout.num_fields, owned.num_weights), dtype=np.float64)
    for start in range(0, len(sharded.places), _ROWS):
        rows = shards.rows(np.array(sharded.places[start : start + _ROWS], dtype=np.int64))
        weights = owned.read(start, start + len(rows))
        field_of = np.searchsorted(layout.base, rows, side="right") - 1
        for field, base, of_field in wanted:
            here = np.flatnonzero((field_of == field) & (rows - base >= _FIRST))
            sums[field] += _weighted_sum(weights[here], of_field[rows[here] - base])
    sharded.workers.add(torch.from_numpy(sums))()
    for field, base, of_field in wanted:
        place = int(shards.places(np.array([base + UNSEEN], dtype=np.int64))[0])
        if place in sharded.places:
            row = place - sharded.places.start
            unseen = owned.read(row, row + 1)
            _set(unseen, 0, sums[field] / of_field[_FIRST:].sum())
            owned.write(row, unseen)


def _untrained(layout: Layout, counts: Counts) -> Iterator[tuple[int, int, npt.NDArray[np.int64]]]:
    """Yield number, first row and counts of the fields whose unseen feature nothing has trained."""
    for field, (form, base, of_field) in enumerate(
        zip(layout.form.tolist(), layout.base[:-1].tolist(), counts, strict=True)
    ):
        if of_field is not None and form != VALUE and not of_field[UNSEEN] and of_field[_FIRST:].any():
            yield field, base, of_field


def _weighted_sum(rows: npt.NDArray[np.generic], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    # Not a matrix product: its last bits depend on the number of threads.
    summed: npt.NDArray[np.float64] = (decode_weights(rows) * counts[:, np.newaxis]).sum(axis=0, dtype=np.float64)
    return summed


def _set(weights: npt.NDArray[np.generic], row: int, means: npt.NDArray[np.float64]) -> None:
    for unit, mean in enumerate(means):
        encode_weights(weights[row : row + 1], unit, np.array([mean]))
