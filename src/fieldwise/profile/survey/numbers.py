"""The distribution of a number in every cell, and its bins.

One sketch per cell (`features.sketch`): exact up to 4,096 distinct values, finer than one part in 200 beyond. The edges
of bins are quantiles of the training rows, known at the end only; a range that contains an edge counts as its lower
end.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fieldwise.features.sketch import Distribution, NumberSketch
from fieldwise.kernels.bins import bin_ids
from fieldwise.profile.survey.cells import HELD_OUT, NUM_SETS, TRAIN, unfold

__all__ = ["NumberCounts"]

Float64s = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

_CAPACITY = 4096


class NumberCounts:
    """Counts the numbers of a column by cell, chunk by chunk.

    Examples
    --------
    >>> numbers = NumberCounts()
    >>> numbers.add(np.array([1.0, 5.0, np.nan]), np.array([0, 4, 4]))
    >>> numbers.edges(bins=2).tolist(), numbers.binned(np.array([5.0]), np.array([0, 1]))[:, :, 0].tolist()
    ([5.0], [[0, 1], [1, 0], [0, 1]])
    """

    def __init__(self) -> None:
        self._cells: dict[int, NumberSketch] = {}

    def add(self, numbers: Float64s, cells: Int64s) -> None:
        """Count N finite numbers; NaN is missing."""
        for cell in np.unique(cells).tolist():
            if cell not in self._cells:
                self._cells[cell] = NumberSketch(_CAPACITY)
            self._cells[cell].add(numbers[cells == cell])

    def edges(self, bins: int) -> Float64s:
        """Return the inner edges of quantile bins of the training rows; of all values, where they are few."""
        found = self._merged(train_only=True).values
        if len(found) <= bins:
            return found[1:]
        return self._merged(train_only=True).quantile_edges(bins)

    def quantiles(self, shares: Float64s) -> list[float] | None:
        """Return quantiles of all rows; None where there is no number."""
        found = self._merged(train_only=False)
        if not len(found.values):
            return None
        below = np.cumsum(found.counts)
        at = np.searchsorted(below, np.maximum(shares * below[-1], 1), side="left")
        values: list[float] = found.values[at].tolist()
        return values

    def _merged(self, *, train_only: bool) -> Distribution:
        merged = NumberSketch(_CAPACITY)
        for cell, sketch in self._cells.items():
            if not train_only or cell % NUM_SETS in (TRAIN, HELD_OUT):
                merged.add_learned(sketch.learned())
        return merged.finish()

    def binned(self, edges: Float64s, order: Int64s) -> Int64s:
        """Return the counts of missing and of each bin, (1 + bins, classes, sets)."""
        counts = np.zeros((2 + len(edges), max(self._cells, default=0) + 1), dtype=np.int64)
        for cell, sketch in self._cells.items():
            found = sketch.finish()
            counts[0, cell] = sketch.num_missing
            np.add.at(counts[:, cell], bin_ids(found.values, edges, first=1).astype(np.int64), found.counts)
        return unfold(counts, order)
