"""Whole rows: how many rows of test and validation have all their fields in common with a training row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.kernels.fingerprint import combine
from fieldwise.profile.survey.cells import HELD_OUT, TEST, TRAIN, VALID
from fieldwise.profile.survey.result import Overlap
from fieldwise.profile.survey.values import ValueCounts

__all__ = ["RepeatCounts"]

Int64s = npt.NDArray[np.int64]
Uint64s = npt.NDArray[np.uint64]

_CAPACITY = 1 << 22


class RepeatCounts:
    """Counts equal rows, chunk by chunk; beyond some millions of distinct rows, of a sample of them."""

    def __init__(self) -> None:
        self._counts = ValueCounts(_CAPACITY)

    def add(self, columns: list[Uint64s], cells: Int64s) -> None:
        """Count B rows, given by the fingerprints of their fields, (B,) each."""
        rows = np.ones(len(cells), dtype=np.uint64)
        for column in columns:
            # Missing is a value like any other here; `combine` keeps 0 for crosses that have none.
            rows = combine(np.stack([rows, np.maximum(column, np.uint64(1))], axis=1), seed=0)
        self._counts.add(rows, cells, _no_texts)

    def finish(self, order: Int64s) -> tuple[Overlap, ...]:
        """Return the overlap of each part that has rows with the training rows; `order` is that of the classes."""
        counted = self._counts.finish(order)
        rows = counted.counts.sum(axis=1) * counted.scale[:, None]
        train = rows[:, TRAIN] + rows[:, HELD_OUT]
        if not train.any():
            return ()
        twice = float(train[train > counted.scale].sum() / train.sum())
        found = []
        for part, set_ in (("test", TEST), ("valid", VALID)):
            others = rows[:, set_]
            if others.any():
                equal = float(others[train > 0].sum())
                share = equal / float(others.sum())
                found.append(Overlap(part=part, rows=round(equal), share=share, share_inside_training=twice))
        return tuple(found)


def _no_texts(positions: Int64s) -> pa.Array:
    return pa.nulls(len(positions), pa.string())
