"""Values counted, chunk by chunk, until their vocabulary can be made.

The counts depend on the rows alone. What does not fit into memory goes to disk, sorted, and is merged in the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.features.cells import Arrays
from fieldwise.features.scratch import Scratch
from fieldwise.features.vocabulary import FIRST, Vocabulary
from fieldwise.kernels.counter import MAX_KEYS, Counter, ranked
from fieldwise.kernels.hashtable import count_ids, place, slots_for
from fieldwise.kernels.layout import UNSEEN, Uint32s
from fieldwise.kernels.threads import num_threads

__all__ = ["NOTHING", "CountedValues", "GrowthCounter", "VocabularyCounter", "bytes_soon"]

Uint64s = npt.NDArray[np.uint64]
Int64s = npt.NDArray[np.int64]
_PREFIXES = np.arange(256, dtype=np.uint64) << np.uint64(56)
_KEYS_AT_ONCE = 1 << 20
_SPILLING_BYTES = 56
"""Of memory, for each value, while counts are sorted and written: two copies of its slot, its rank, key and count."""
NOTHING = np.zeros(0, dtype=np.int64)
"""No positions."""


class CountedValues(NamedTuple):
    """What a counter made of N values.

    Attributes
    ----------
    codes
        (N,) uint32: the counter's own numbers of the values, 0 for missing, which `VocabularyCounter.ids_of_codes`
        turns into ids; None where it gives none, or no more.
    frequent
        Positions of values of which the text may be needed.
    """

    codes: Uint32s | None
    frequent: Int64s


class VocabularyCounter:
    """Counts values chunk by chunk.

    The state is a sum: any split of the rows into chunks and counters, merged in any order, finishes alike. It holds
    fingerprints and counts, 24 to 48 bytes for each distinct value; `spill` moves them to disk, sorted.

    Until it is spilled it also numbers the values as they come. These codes are its own: they say which values of the
    rows are the same, in half of a fingerprint's bytes or less, and `ids_of_codes` tells their ids when all is counted.

    Parameters
    ----------
    min_count, max_features
        A value needs so many occurrences to get an id; the most frequent get one.

    Examples
    --------
    >>> counter = VocabularyCounter(min_count=2)
    >>> counter.add(np.array([7, 9, 7, 0], np.uint64))
    CountedValues(codes=array([1, 2, 1, 0], dtype=uint32), frequent=array([2]))
    >>> vocabulary = counter.finish(Scratch())
    >>> vocabulary.counts.tolist(), counter.ids_of_codes(vocabulary, Scratch()).tolist()
    ([1, 1, 2], [0, 2, 1])
    """

    def __init__(self, min_count: int = 1, max_features: int | None = None) -> None:
        self._min_count, self._max_features = min_count, max_features
        self._counter = Counter()
        self._num_missing = 0
        self._num_present = 0
        self._runs: list[_Run] = []
        self._coded: tuple[int, int] | None = None  # once spilled: where the values lie by their codes, how many
        self._finished: Counter | None = None
        self._most_added = 0
        self.keep_all_texts = False
        """Whether the text of a value is needed however rare it is here: it may be frequent in other rows."""

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self._counter.slots.nbytes

    @property
    def bytes_soon(self) -> int:
        """Bytes in memory once every thread has added a chunk more, like the largest so far, all of new values."""
        return self.nbytes * (2 if self._counter.room < self._most_added * (num_threads() + 1) else 1)

    @property
    def bytes_moving(self) -> int:
        """Bytes that it may take besides for a while: while it is spilled, or its table moves into a larger one."""
        return max(_SPILLING_BYTES * self._counter.num_keys, self.nbytes)

    @property
    def num_values(self) -> int:
        """Distinct values counted in memory."""
        return self._counter.num_keys

    @property
    def is_full(self) -> bool:
        """Whether it has to be spilled before more is added."""
        return self._counter.num_keys > MAX_KEYS // 2

    def add(self, fingerprints: Uint64s) -> CountedValues:
        """Count N values."""
        self._most_added = max(self._most_added, len(fingerprints))
        # A value is frequent when it has come often enough. Of one counted in a run on disk too that is not known.
        first = self.keep_all_texts or self._runs
        numbers, frequent = self._counter.number(fingerprints, 1 if first else self._min_count)
        num_present = int(np.count_nonzero(numbers))
        self._num_missing += len(fingerprints) - num_present
        self._num_present += num_present
        return CountedValues(None if self._runs else numbers, frequent)

    def learned(self, scratch: Scratch) -> Arrays:
        """Return what was counted, in memory and on disk, for `add_learned` of another counter."""
        parts = [self._counter.items(), *(run.read(scratch, 0, len(_PREFIXES)) for run in self._runs)]
        keys, counts = (np.concatenate(of_parts) for of_parts in zip(*parts, strict=True))
        return {"keys": keys, "key_counts": counts, "totals": np.array([self._num_missing, self._num_present])}

    def add_learned(self, arrays: Arrays, scratch: Scratch) -> None:
        """Add what another counter has counted."""
        keys, counts = arrays["keys"], arrays["key_counts"]
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            if self.is_full:
                self.spill(scratch)
            self._counter.add(keys[start : start + _KEYS_AT_ONCE], counts[start : start + _KEYS_AT_ONCE])
        num_missing, num_present = arrays["totals"].tolist()
        self._num_missing += num_missing
        self._num_present += num_present

    def spill(self, scratch: Scratch) -> None:
        """Move the counts to disk."""
        keys, counts = self._counter.items()
        if not self._runs:
            self._coded = scratch.write(self._counter.keys()), len(keys)
        self._counter = Counter()
        bounds = np.append(np.searchsorted(keys, _PREFIXES), len(keys))
        self._runs.append(_Run(scratch.write(keys, counts), bounds))

    def finish(self, scratch: Scratch) -> Vocabulary:
        """Number the values that get an id."""
        self._finished = self._counter
        keys, counts = self._ranked(scratch)
        keys, counts = keys[: self._max_features], counts[: self._max_features]
        of_rows = scratch.zeros(FIRST + len(keys), np.int64)
        of_rows[:FIRST] = self._num_missing, self._num_present - int(counts.sum())
        of_rows[FIRST:] = counts
        slots = scratch.zeros((slots_for(len(keys)), 2), np.uint64)
        place(slots, keys, FIRST)
        return Vocabulary(slots, of_rows)

    def ids_of_codes(self, vocabulary: Vocabulary, scratch: Scratch) -> Uint32s:
        """Return (codes + 1,): the id, in the vocabulary that came of it, of each code that was given."""
        if self._coded is None:
            assert self._finished is not None, "finish() comes first"
            ids: Uint32s = scratch.zeros(self._finished.num_keys + 1, np.uint32)
            self._finished.values(vocabulary.slots, UNSEEN, ids)
            return ids
        place, num = self._coded
        ids = scratch.zeros(num + 1, np.uint32)
        for start in range(0, num, _KEYS_AT_ONCE):
            keys = scratch.read(place + 8 * start, np.uint64, min(_KEYS_AT_ONCE, num - start))
            ids[1 + start : 1 + start + len(keys)] = vocabulary.lookup(keys)
        return ids

    def _ranked(self, scratch: Scratch) -> tuple[Uint64s, Uint64s]:
        """Return the frequent values and their counts, the most frequent first; the counter is empty afterwards."""
        min_count = self._min_count
        if not self._runs:
            counter, self._counter = self._counter, Counter()
            return ranked(counter.slots, min_count, scratch.zeros)
        self.spill(scratch)
        num_counts = sum(int(run.bounds[-1]) for run in self._runs)
        num_parts = min(max(num_counts // _KEYS_AT_ONCE, 1), len(_PREFIXES))
        places = []
        for part in range(num_parts):
            first, last = (len(_PREFIXES) * i // num_parts for i in (part, part + 1))
            counter = Counter()
            for run in self._runs:
                counter.add(*run.read(scratch, first, last))
            keys, counts = ranked(counter.slots, min_count)
            places.append((scratch.write(np.stack([keys, counts], axis=1)), len(keys)))
        self._runs.clear()
        pairs = scratch.zeros((sum(num for _, num in places), 2), np.uint64)
        done = 0
        for place_aside, num in places:
            pairs[done : done + num] = scratch.read(place_aside, np.uint64, 2 * num).reshape(num, 2)
            done += num
        return ranked(pairs, min_count, scratch.zeros)


class GrowthCounter(VocabularyCounter):
    """Counts values for a vocabulary to grow by: those that it has keep their ids, new ones follow.

    Parameters
    ----------
    base
        The vocabulary. It is not changed.
    min_count, max_features
        As for the vocabulary: how often a new value has to occur, and how many values there are at most.

    Examples
    --------
    >>> counter = VocabularyCounter()
    >>> _ = counter.add(np.array([7, 9, 7, 0], np.uint64))
    >>> growth = GrowthCounter(counter.finish(Scratch()))
    >>> growth.add(np.array([5, 9, 9, 9], np.uint64)).frequent
    array([0])
    >>> grown = growth.finish(Scratch())
    >>> grown.lookup(np.array([7, 9, 5], np.uint64)).tolist(), grown.counts.tolist()
    ([2, 3, 4], [1, 0, 2, 4, 1])
    """

    def __init__(self, base: Vocabulary, min_count: int = 1, max_features: int | None = None) -> None:
        super().__init__(min_count, max_features)
        self._base = base
        self._counts = np.zeros(base.rows, dtype=np.int64)  # of the new rows

    def add(self, fingerprints: Uint64s) -> CountedValues:
        """Count N values."""
        ids = self._base.lookup(fingerprints)
        new = ids == UNSEEN
        count_ids(ids[~new], self._counts)
        return CountedValues(None, np.flatnonzero(new)[super().add(fingerprints[new]).frequent])

    def learned(self, scratch: Scratch) -> Arrays:
        """Return what was counted for `add_learned` of another counter with the same base."""
        return {**super().learned(scratch), "known_counts": self._counts}

    def add_learned(self, arrays: Arrays, scratch: Scratch) -> None:
        """Add what another counter with the same base has counted."""
        super().add_learned(arrays, scratch)
        self._counts += arrays["known_counts"]

    def finish(self, scratch: Scratch) -> Vocabulary:
        """Number the new values that get an id."""
        old = self._base.rows
        keys, counts = self._ranked(scratch)
        room = None if self._max_features is None else max(self._max_features - (old - FIRST), 0)
        keys, counts = keys[:room], counts[:room]
        of_rows = scratch.zeros(old + len(keys), np.int64)
        of_rows[:old] = self._base.counts + self._counts
        of_rows[UNSEEN] += self._num_present - int(counts.sum())
        of_rows[old:] = counts
        slots = scratch.zeros((slots_for(len(of_rows) - FIRST), 2), np.uint64)
        place(slots, np.concatenate([self._base.keys, keys]), FIRST)
        return Vocabulary(slots, of_rows, *self._base.saved_texts)


def bytes_soon(counters: Sequence[VocabularyCounter]) -> Int64s:
    """Return (N + 1,): the bytes that may be taken soon by all of them, by those from the second on, ..., by none.

    Every table that may have to grow may do so, one after the other, and one may be moved besides.
    """
    soon, moving = (
        np.array([*numbers, 0][::-1], dtype=np.int64)
        for numbers in ([each.bytes_soon for each in counters], [each.bytes_moving for each in counters])
    )
    from_the_end: Int64s = np.cumsum(soon) + np.maximum.accumulate(moving)
    return from_the_end[::-1]


class _Run(NamedTuple):
    """Counts that were moved to disk: sorted keys, and their counts behind them."""

    place: int
    bounds: Int64s
    """(257,): where the keys with each first byte begin."""

    def read(self, scratch: Scratch, first: int, last: int) -> tuple[Uint64s, Uint64s]:
        """Return the keys, and their counts, whose first byte is `first` or more and below `last`."""
        begin, end, num = (int(self.bounds[i]) for i in (first, last, -1))
        return (
            scratch.read(self.place + 8 * begin, np.uint64, end - begin),
            scratch.read(self.place + 8 * (num + begin), np.uint64, end - begin),
        )
