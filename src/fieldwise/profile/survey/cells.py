"""The cells that rows are counted in: one for every class and set of rows.

A set is a part of the data; the training rows are two sets, random halves, so that there are rows that a rate was not
learned from even where a log has no validation and no test rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "HELD_OUT",
    "MAX_CLASSES",
    "NUM_SETS",
    "PART_OF_SET",
    "TEST",
    "TRAIN",
    "VALID",
    "Totals",
    "cell_of",
    "unfold",
]

Int64s = npt.NDArray[np.int64]

NUM_SETS = 4
TRAIN, HELD_OUT, VALID, TEST = range(NUM_SETS)
PART_OF_SET = ("train", "train", "valid", "test")

MAX_CLASSES = 20
"""Rows of further classes are counted together: one against the rest of more classes than these tells people little."""


class Totals(NamedTuple):
    """The numbers of all rows.

    Attributes
    ----------
    rows
        (classes, sets).
    order
        (classes,): see `unfold`.
    """

    rows: Int64s
    order: Int64s


def cell_of(classes: Int64s, sets: Int64s) -> Int64s:
    """Return the cell of each of B rows.

    Parameters
    ----------
    classes
        (B,): from 0, in the order in which they were first met.
    sets
        (B,): TRAIN, HELD_OUT, VALID or TEST.

    Examples
    --------
    >>> cell_of(np.array([0, 1, 99]), np.array([TEST, TRAIN, TRAIN])).tolist()
    [3, 4, 80]
    """
    return np.minimum(classes, MAX_CLASSES) * NUM_SETS + sets


def unfold(counts: Int64s, order: Int64s) -> Int64s:
    """Return counts of cells, (..., C), as counts of classes and sets, (..., classes, sets).

    Parameters
    ----------
    counts
        Cells beyond the last one hold nothing.
    order
        (classes,): the classes, by the order in which they were first met, in the order in which they shall stand.
    """
    padded = np.zeros((*counts.shape[:-1], len(order) * NUM_SETS), dtype=np.int64)
    padded[..., : counts.shape[-1]] = counts
    by_class = padded.reshape(*counts.shape[:-1], len(order), NUM_SETS)
    return np.take(by_class, order, axis=-2)
