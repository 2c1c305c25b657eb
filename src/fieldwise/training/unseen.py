"""The feature of values never seen in training, where training met no rare value that it could learn from.

With c_i the occurrences of local feature i >= 2 of a field in the training rows and w_i its row of the table, that of
the *unseen* feature is::

    w_unseen = sum_i c_i w_i / sum_i c_i        where c_unseen = 0

the weights of a value of which nothing is known but its field: that of an example drawn from the training rows. Without
it the row would be what it was drawn as. Where `min_count` or `max_features` left values out, they have trained it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.layout import UNSEEN, VALUE
from fieldwise.kernels.storage import decode_weights, encode_weights
from fieldwise.nn.table import Table

__all__ = ["fill_unseen"]

_FIRST = UNSEEN + 1
_ROWS = 1 << 18
"""Rows summed at a time: what they take as float64 is small beside the table."""


def fill_unseen(table: Table, counts: Sequence[npt.NDArray[np.int64] | None]) -> None:
    """Set the unseen rows that no training example has to the mean of their fields' rows.

    Costs one reading of the rows that have counts, so it is for the end of an epoch.

    Parameters
    ----------
    table
        Its weights are changed in place; the optimizer's state is not.
    counts
        (rows,) of each field, in the layout's order; None for one that has no unseen values.
    """
    bases = table.layout.base[:-1].tolist()
    for base, form, of_field in zip(bases, table.layout.form.tolist(), counts, strict=True):
        if of_field is None or form == VALUE or len(of_field) <= _FIRST or of_field[UNSEEN]:
            continue
        total = int(of_field[_FIRST:].sum())
        if not total:
            continue
        weighted = np.zeros(table.num_weights, dtype=np.float64)
        for start in range(_FIRST, len(of_field), _ROWS):
            rows = decode_weights(table.weights[base + start : base + min(start + _ROWS, len(of_field))])
            # Not a matrix product: its last bits depend on the number of threads.
            weighted += (rows * of_field[start : start + _ROWS, np.newaxis]).sum(axis=0, dtype=np.float64)
        unseen = table.weights[base + UNSEEN : base + UNSEEN + 1]
        for unit, mean in enumerate(weighted / total):
            encode_weights(unseen, unit, np.array([mean]))
