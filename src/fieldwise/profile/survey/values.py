"""How many rows of each cell hold each value: exact up to a number of distinct values, a sample of values beyond.

Values are fingerprints, 0 for missing. Beyond `capacity` distinct values, the most frequent ones so far are *pinned*
and stay exact, and of the others only those stay whose fingerprint ends in L zero bits, where L rises until they fit
(adaptive sampling: Flajolet, On Adaptive Sampling, Computing 43, 1990). A fingerprint is a hash, so the values that
stay are a random sample of all values, each with all of its rows; one of them stands for 2^L. Sums over values, such as
their number, are then estimates without bias, with a relative error of about 1 / sqrt(capacity / 2) for the number of
values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.features.columns import shown
from fieldwise.kernels.counter import Counter
from fieldwise.profile.survey.cells import unfold

__all__ = ["FREQUENT", "CountedValues", "ValueCounts"]

Uint64s = npt.NDArray[np.uint64]
Int64s = npt.NDArray[np.int64]
TextsAt = Callable[[Int64s], pa.Array]

FREQUENT = 5
"""How many of the most frequent values keep their texts."""

_PINNED = 1024
_ONE = np.uint64(1)


class CountedValues(NamedTuple):
    """What was counted of V values.

    Attributes
    ----------
    keys
        (V,) uint64: fingerprints, ascending.
    counts
        (V, classes, sets) int64.
    scale
        (V,) float64: for how many values each stands; 1 for all where `exact`.
    missing
        (classes, sets) int64: cells without a value.
    exact
        Whether all values are here.
    frequent
        The most frequent values: place among `keys`, and text; the most frequent first, ties by fingerprint.
    """

    keys: Uint64s
    counts: Int64s
    scale: npt.NDArray[np.float64]
    missing: Int64s
    exact: bool
    frequent: tuple[tuple[int, str], ...]

    @property
    def num_values(self) -> int:
        """Distinct values; an estimate unless `exact`."""
        return round(float(self.scale.sum()))


class ValueCounts:
    """Counts values by cell, chunk by chunk.

    Memory: 24 to 48 bytes for each distinct value, and as much for each cell that it occurs in.

    Parameters
    ----------
    capacity
        Distinct values kept.

    Examples
    --------
    >>> counts = ValueCounts()
    >>> values, cells = np.array([7, 9, 7, 0], np.uint64), np.array([0, 0, 4, 0])
    >>> counts.add(values, cells, lambda at: pa.array(["a", "b", "a", None]).take(pa.array(at)))
    >>> counted = counts.finish(np.array([0, 1]))
    >>> counted.counts[:, :, 0].tolist(), int(counted.missing.sum()), counted.frequent
    ([[1, 1], [1, 0]], 1, ((0, 'a'), (1, 'b')))
    """

    def __init__(self, capacity: int = 1 << 20) -> None:
        self._capacity = max(capacity, 2 * _PINNED)
        self._total = Counter()
        self._cells: dict[int, Counter] = {}
        self._missing: dict[int, int] = {}
        self._texts: dict[int, str] = {}
        self._pinned: Uint64s | None = None
        self._level = 0

    def add(self, values: Uint64s, cells: Int64s, texts: TextsAt) -> None:
        """Count N values.

        Parameters
        ----------
        values
            (N,): fingerprints, 0 for missing.
        cells
            (N,): see `profile.survey.cells`.
        texts
            The texts of the values at given positions.
        """
        present = np.ones(len(values), dtype=np.bool_) if self._pinned is None else self._kept(values)
        present &= values != 0
        for cell in np.unique(cells).tolist():
            of_cell = cells == cell
            self._cells.setdefault(cell, Counter()).add(values[of_cell & present])
            self._missing[cell] = self._missing.get(cell, 0) + int(np.count_nonzero(values[of_cell] == 0))
        self._total.add(values[present])
        self._keep_texts(values, present, texts)
        while self._total.num_keys > self._capacity:
            self._prune()

    def _kept(self, values: Uint64s) -> npt.NDArray[np.bool_]:
        """Whether each value is counted."""
        assert self._pinned is not None
        at = np.minimum(np.searchsorted(self._pinned, values), len(self._pinned) - 1)
        sampled: npt.NDArray[np.bool_] = (values & ((_ONE << np.uint64(self._level)) - _ONE)) == 0
        sampled |= self._pinned[at] == values
        return sampled

    def _keep_texts(self, values: Uint64s, present: npt.NDArray[np.bool_], texts: TextsAt) -> None:
        """Keep the texts of the values that are the most frequent so far.

        None is lost: when a value of the final ones occurs for the last time it has its final count, which at most
        four others then exceed; so it is among the most frequent of that chunk, and stays among those of which texts
        are kept.
        """
        known = np.array(list(self._texts), dtype=np.uint64)
        totals = self._total.counts(values)
        totals[~present] = 0
        bar = int(self._total.counts(known).min()) if len(known) >= FREQUENT else 1
        new = np.flatnonzero(totals >= bar)
        new = new[~np.isin(values[new], known)]
        if not len(new):
            return
        keys, first = np.unique(values[new], return_index=True)
        places = new[first]
        best = np.lexsort((keys, -totals[places]))[:FREQUENT]
        for key, cell in zip(keys[best].tolist(), texts(places[best]), strict=True):
            self._texts[key] = shown(cell)
        ranked = self._ranked()
        self._texts = {key: self._texts[key] for key in ranked[:FREQUENT]}

    def _ranked(self) -> list[int]:
        known = np.array(sorted(self._texts), dtype=np.uint64)
        order = np.argsort(-self._total.counts(known), kind="stable")
        found: list[int] = known[order].tolist()
        return found

    def _prune(self) -> None:
        """Drop values until they fit."""
        keys, counts = self._total.items()
        if self._pinned is None:
            self._pinned = np.sort(keys[np.argsort(-counts.astype(np.int64), kind="stable")[:_PINNED]])
        while True:
            self._level += 1
            kept = self._kept(keys)
            if np.count_nonzero(kept) <= self._capacity:
                break
        self._total = _only(self._total, self._kept)
        self._cells = {cell: _only(counter, self._kept) for cell, counter in self._cells.items()}
        self._texts = {key: text for key, text in self._texts.items() if self._total.counts(_array(key))[0]}

    def finish(self, order: Int64s) -> CountedValues:
        """Return what was counted; `order` is that of the classes (`cells.unfold`)."""
        keys, _ = self._total.items()
        num_cells = max(self._cells, default=0) + 1
        counts = np.zeros((len(keys), num_cells), dtype=np.int64)
        missing = np.zeros(num_cells, dtype=np.int64)
        for cell, counter in self._cells.items():
            counts[:, cell] = counter.counts(keys)
            missing[cell] = self._missing[cell]
        scale = np.full(len(keys), 2.0**self._level)
        if self._pinned is not None:
            scale[np.isin(keys, self._pinned)] = 1.0
        ranked = self._ranked()
        places = np.searchsorted(keys, np.array(ranked, dtype=np.uint64)).tolist()
        frequent = tuple((place, self._texts[key]) for place, key in zip(places, ranked, strict=True))
        return CountedValues(keys, unfold(counts, order), scale, unfold(missing, order), self._level == 0, frequent)


def _only(counter: Counter, kept: Callable[[Uint64s], npt.NDArray[np.bool_]]) -> Counter:
    """Return a counter with some of the keys."""
    keys, counts = counter.items()
    chosen = kept(keys)
    smaller = Counter()
    smaller.add(keys[chosen], counts[chosen])
    return smaller


def _array(key: int) -> Uint64s:
    return np.array([key], dtype=np.uint64)
