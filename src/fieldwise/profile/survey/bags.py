"""The rows of a bag that its AUC is measured on: kept as they are, because a row has several values.

Counts of values are enough to learn rates from, but the score of a row is the mean over its values. So the rows of the
cells that may be measured are kept, up to a number of values; whenever there are more, every second row is dropped.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fieldwise.profile.survey.alone import Alone, Sides, auc_of_scores, rates
from fieldwise.profile.survey.cells import NUM_SETS, TRAIN, Totals
from fieldwise.profile.survey.values import CountedValues

__all__ = ["BagRows"]

Int64s = npt.NDArray[np.int64]
Uint64s = npt.NDArray[np.uint64]


_CAPACITY = 1 << 20
"""Values kept, 16 bytes each."""


class BagRows:
    """Keeps rows, chunk by chunk."""

    def __init__(self) -> None:
        self._step = 1
        self._num_rows = 0
        self._values = np.zeros(0, dtype=np.uint64)
        self._lengths = np.zeros(0, dtype=np.int64)
        self._cells = np.zeros(0, dtype=np.int64)
        self._numbers = np.zeros(0, dtype=np.int64)

    def add(self, values: Uint64s, offsets: Int64s, cells: Int64s) -> None:
        """Take the bags of B rows.

        Parameters
        ----------
        values
            (N,): fingerprints, 0 for missing.
        offsets
            (B + 1,): the values of row b are ``values[offsets[b] : offsets[b + 1]]``.
        cells
            (B,).
        """
        lengths = np.diff(offsets)
        numbers = np.arange(self._num_rows, self._num_rows + len(cells))
        self._num_rows += len(cells)
        # Rows of the first half of the training rows are learned from, whatever else there is.
        kept = (cells % NUM_SETS != TRAIN) & (numbers % self._step == 0)
        self._values = np.concatenate([self._values, values[np.repeat(kept, lengths)]])
        self._lengths = np.concatenate([self._lengths, lengths[kept]])
        self._cells = np.concatenate([self._cells, cells[kept]])
        self._numbers = np.concatenate([self._numbers, numbers[kept]])
        while len(self._values) > _CAPACITY and len(self._lengths) > 1:
            self._step *= 2
            kept = self._numbers % self._step == 0
            self._values = self._values[np.repeat(kept, self._lengths)]
            self._lengths, self._cells, self._numbers = self._lengths[kept], self._cells[kept], self._numbers[kept]

    def auc(self, counted: CountedValues, sides: Sides, totals: Totals) -> Alone:
        """Return the AUC of the bag alone."""
        reason = sides.why_none(totals.rows)
        if reason is not None:
            return Alone(None, reason)
        measured = np.isin(self._cells % NUM_SETS, sides.measured)
        if not measured.any():
            return Alone(None, "there are no rows to measure on")
        lengths = self._lengths[measured]
        values = self._values[np.repeat(measured, self._lengths)]
        keys = np.concatenate([np.zeros(1, np.uint64), counted.keys])  # 0, missing, is the least of all
        learned = np.concatenate([counted.missing[None], counted.counts])[:, :, list(sides.learned)].sum(axis=2)
        score_of = rates(learned.astype(np.float64), np.concatenate([np.ones(1), counted.scale]))
        at = np.minimum(np.searchsorted(keys, values), len(keys) - 1)
        at[keys[at] != values] = len(keys)
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        scores = np.add.reduceat(score_of[at], starts, axis=0) / lengths[:, None]
        return auc_of_scores(scores, np.argsort(totals.order)[self._cells[measured] // NUM_SETS])
