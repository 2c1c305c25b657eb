"""The distribution of a number, from one pass over its values: exact for few distinct values, rounded for many.

The sketch counts keys: the number's bits in numeric order (`kernels.bins.number_keys`), without the last `level` of
them. The level is the smallest at which no more than `capacity` keys are distinct. So

* up to `capacity` distinct values, the level is 0 and everything is exact;
* beyond, a value is known to within one key: between 2^(level - 53) and 2^(level - 52) of itself. With 65,536 keys and
  values over 16 powers of two that is about one part in 4,096, finer where they spread less;
* the result depends on the values alone: the level only rises, and never above the one that all values together need,
  so chunks, order and merging do not matter. (Sketches of ranks, such as KLL or t-digest, depend on the order.)
"""

from __future__ import annotations

import statistics
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.features.cells import Arrays
from fieldwise.kernels.bins import number_keys, numbers_of_keys
from fieldwise.kernels.counter import Counter

__all__ = ["Distribution", "NumberSketch"]

Float64s = npt.NDArray[np.float64]
_LEAST_BINS, _MOST_BINS = 8, 128
_ALIKE = 1.64
"""Standard errors of a correlation that is none: one of n pairs has 1 / sqrt(n)."""
_CHUNK = 65_536  # bounds what a chunk with many new values may add before the level rises


class Distribution(NamedTuple):
    """The values of a column in ascending order, and how often each occurred.

    Attributes
    ----------
    values
        (n,) float64: the values, or the lower ends of the ranges they lie in.
    middles
        (n,) float64: the values, or the middles of their ranges.
    counts
        (n,) int64, positive.
    """

    values: Float64s
    middles: Float64s
    counts: npt.NDArray[np.int64]

    def suitable_bins(self) -> int:
        """Return how many bins the values ask for: a third of the cube root of their number, 8 to 128; or one each.

        The weight of a bin of many values has an error of two kinds: what its values differ in, which more bins make
        less, and noise, which they make more. The best number of bins grows as the cube root of the number of examples
        (Freedman and Diaconis 1981); the third is from experiments
        (docs/log/2026-11/features.md#how-many-bins-should-a-number-get).

        Each of up to 128 different values has a bin of its own where its frequency says nothing about its neighbour's,
        which is when the correlation of their logarithms is not above what chance brings in one case of twenty: people
        of 38 are like those of 39, and as many; a capital gain of 7,688 is not like one of 7,443.

        Examples
        --------
        >>> many = np.arange(1000.0)
        >>> [Distribution(many, many, np.full(1000, each)).suitable_bins() for each in (1, 30, 1000, 100_000)]
        [8, 10, 33, 128]
        """
        bins = round(float(np.cbrt(self.counts.sum())) / 3)
        num_values = len(self.values)
        if num_values <= _MOST_BINS and _correlation(np.log(self.counts)) * max(num_values - 1, 0) ** 0.5 < _ALIKE:
            bins = num_values
        return min(max(bins, _LEAST_BINS), _MOST_BINS)

    def quantile_edges(self, bins: int) -> Float64s:
        """Return the inner edges of `bins` bins with equally many values, no value counting as more than one bin.

        A value that occurs more than T times counts as T, the least number with ``T bins >= sum of the counts``: nine
        people in ten have no capital gain, and all bins but one are for the others. Of the n that are counted, in
        order, edge i is the value at ``floor(i n / bins)`` from 0; equal edges are one, and none is at the least value,
        below which there is nothing: at most ``bins - 1`` edges, in ascending order.

        Examples
        --------
        >>> few = np.array([0.0, 1.0, 2.0, 5.0])
        >>> Distribution(few, few, np.array([90, 2, 2, 4])).quantile_edges(3).tolist()
        [1.0, 5.0]
        """
        if not len(self.values):
            return np.zeros(0)
        below = np.cumsum(np.minimum(self.counts, _largest_count(self.counts, bins)))
        wanted = np.arange(1, bins, dtype=np.int64) * below[-1] // bins
        at = np.unique(np.searchsorted(below, wanted, side="right"))
        edges: Float64s = self.values[at[at > 0]]
        return edges


def _correlation(series: Float64s) -> float:
    """Return the correlation of each number with the next; 0 where they are constant, or fewer than three."""
    if len(series) < 3 or not np.ptp(series[1:]) or not np.ptp(series[:-1]):
        return 0.0
    # Exact sums, and no last digits: workers on unlike machines must come to the same side of a limit.
    return round(statistics.correlation(series[:-1].tolist(), series[1:].tolist()), 9)


def _largest_count(counts: npt.NDArray[np.int64], bins: int) -> int:
    """Return the least T >= 1 with ``T bins >= sum of min(count, T)``."""
    low, high = 0, int(counts.max())
    while high - low > 1:
        middle = (low + high) // 2
        if middle * bins >= int(np.minimum(counts, middle).sum()):
            high = middle
        else:
            low = middle
    return high


class NumberSketch:
    """Counts numbers chunk by chunk.

    Parameters
    ----------
    capacity
        Distinct keys kept, 4,096 or more.

    Examples
    --------
    >>> sketch = NumberSketch()
    >>> sketch.add(np.array([3.0, 1.0, np.nan, 3.0]))
    >>> sketch.finish().values.tolist(), sketch.finish().counts.tolist(), sketch.num_missing
    ([1.0, 3.0], [1, 2], 1)
    """

    def __init__(self, capacity: int = 65_536) -> None:
        self.num_missing = 0
        self._capacity = capacity
        self._level = 0
        self._counter = Counter()

    def add(self, numbers: Float64s) -> None:
        """Count numbers, none of them infinite; NaN is missing."""
        keys = number_keys(numbers)
        self.num_missing += int(np.count_nonzero(keys == 0))
        for start in range(0, len(keys), _CHUNK):
            self._counter.add(_cut(keys[start : start + _CHUNK], self._level))
            if self._counter.num_keys > self._capacity:
                self._rise(0)

    def learned(self) -> Arrays:
        """Return what was counted, for `add_learned` of another sketch of the same capacity."""
        keys, counts = self._counter.items()
        return {"keys": keys, "key_counts": counts, "sketch": np.array([self._level, self.num_missing])}

    def add_learned(self, arrays: Arrays) -> None:
        """Add what another sketch of the same capacity has counted."""
        level, num_missing = arrays["sketch"].tolist()
        self.num_missing += num_missing
        self._counter.add(arrays["keys"], arrays["key_counts"])
        self._rise(level)

    def _rise(self, level: int) -> None:
        """Cut the keys to this level at least, and to the one at which they fit."""
        keys, counts = self._counter.items()
        self._level = max(self._level, level, _level_for(keys, self._capacity))
        self._counter = Counter()
        self._counter.add(_cut(keys, self._level), counts)

    def finish(self) -> Distribution:
        """Return the distribution of the numbers added so far."""
        keys, counts = self._counter.items()
        values = numbers_of_keys(keys)
        # The largest number of a range is the last key with the same leading bits.
        last = numbers_of_keys(keys | np.uint64((1 << self._level) - 1))
        middles = values + (last - values) / 2
        return Distribution(values, middles, counts.astype(np.int64))


def _level_for(keys: npt.NDArray[np.uint64], capacity: int) -> int:
    """Return the smallest level at which no more than `capacity` of these ascending keys are distinct."""
    if len(keys) <= capacity:
        return 0
    # Neighbours stay distinct below the highest bit in which they differ: the exponent of what `^` gives, as a float.
    # Rounding to one moves only bits beyond 53, and no level is higher than 52.
    highest_bit = np.frexp((keys[1:] ^ keys[:-1]).astype(np.float64))[1]
    num_distinct = 1 + np.cumsum(np.bincount(highest_bit, minlength=65)[::-1])[::-1]  # [h]: with highest bit h or above
    return int(np.argmax(num_distinct[1:] <= capacity))


def _cut(keys: npt.NDArray[np.uint64], level: int) -> npt.NDArray[np.uint64]:
    return keys >> np.uint64(level) << np.uint64(level) if level else keys
