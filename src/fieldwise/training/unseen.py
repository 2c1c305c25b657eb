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

from fieldwise.distributed.world import ALONE, World
from fieldwise.kernels.layout import UNSEEN, VALUE, Layout
from fieldwise.kernels.storage import decode_weights, encode_weights
from fieldwise.tables.interface import Table

__all__ = ["fill_unseen", "filled"]

Counts = Sequence[npt.NDArray[np.int64] | None]
_FIRST = UNSEEN + 1
_ROWS = 1 << 18
"""Rows summed at a time: what they take as float64 is small beside the table."""


def fill_unseen(table: Table, counts: Counts, world: World = ALONE) -> None:
    """Set the unseen rows that no training example has to the mean of their fields' rows, of all workers.

    Costs one reading of the rows that have counts, so it is for the end of an epoch.

    Parameters
    ----------
    table
        Its weights are changed in place; the optimizer's state is not.
    counts
        (rows,) of each field, in the layout's order; None for one that has no unseen values.
    """
    with world.uncounted():
        for base, of_field in _untrained(table.layout, counts):
            summed = np.zeros(table.num_weights, dtype=np.float64)
            for start in range(_FIRST, len(of_field), _ROWS):
                some = np.arange(start, min(start + _ROWS, len(of_field)), dtype=np.int64)
                here, weights = table.pick(base + some)
                # Not a matrix product: its last bits depend on the number of threads.
                summed += (decode_weights(weights) * of_field[some[here], np.newaxis]).sum(axis=0, dtype=np.float64)
            world.add(torch.from_numpy(summed))()
            unseen = np.zeros((1, table.num_weights), dtype=table.read(0, 0).dtype)
            for unit, mean in enumerate(summed / of_field[_FIRST:].sum()):
                encode_weights(unseen, unit, np.array([mean]))
            table.put(base + UNSEEN, unseen[0])


def filled(weights: npt.NDArray[np.float64], layout: Layout, counts: Counts) -> npt.NDArray[np.float64]:
    """Return weights (D,) with those of the unseen features as `fill_unseen` sets them.

    Examples
    --------
    >>> layout, counts = Layout.of([0], [4]), [np.array([0, 0, 1, 3])]
    >>> filled(np.array([0.0, 0.0, 1.0, 5.0]), layout, counts).tolist()
    [0.0, 4.0, 1.0, 5.0]
    """
    whole = weights.copy()
    for base, of_field in _untrained(layout, counts):
        own = whole[base + _FIRST : base + len(of_field)]
        whole[base + UNSEEN] = float((own * of_field[_FIRST:]).sum()) / float(of_field[_FIRST:].sum())
    return whole


def _untrained(layout: Layout, counts: Counts) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Yield first row and counts of the fields whose unseen feature nothing has trained."""
    for form, base, of_field in zip(layout.form.tolist(), layout.base[:-1].tolist(), counts, strict=True):
        if of_field is not None and form != VALUE and not of_field[UNSEEN] and of_field[_FIRST:].any():
            yield base, of_field
