"""Values as local ids: an exact vocabulary of the values seen in training, or a fixed number of buckets.

Both give the ids of `kernels.layout`: 0 missing, 1 unseen, then the values. In a vocabulary the values stand by (count
descending, fingerprint), so the ids depend on the rows alone, not on their order; buckets take the fingerprint modulo
their number, and no value is unseen. What a vocabulary grows by stands behind what it had, in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.errors import ArtefactError
from fieldwise.features.columns import Arrays
from fieldwise.features.saved import take
from fieldwise.features.scratch import Scratch
from fieldwise.kernels.buckets import bucket_ids, count_ids
from fieldwise.kernels.hashtable import MAX_KEYS, Counter, lookup, place, ranked, slots_for
from fieldwise.kernels.layout import UNSEEN, Uint32s

__all__ = ["NOTHING", "Buckets", "GrowthCounter", "Learned", "Vocabulary", "VocabularyCounter"]

Uint64s = npt.NDArray[np.uint64]
Int64s = npt.NDArray[np.int64]
_FIRST = UNSEEN + 1
_NO_TEXTS = np.zeros(0, dtype=np.uint8), np.zeros(0, dtype=np.int64)
_PREFIXES = np.arange(256, dtype=np.uint64) << np.uint64(56)
_KEYS_AT_ONCE = 1 << 20
_NO_SUCH_FEATURE = "a value has the id of a feature that its field does not have"
NOTHING = np.zeros(0, dtype=np.int64)
"""No positions."""


class Learned(NamedTuple):
    """What a counter made of N values.

    Attributes
    ----------
    drafts
        (N,) what `VocabularyCounter.numbered` turns into ids: numbers (uint32), 0 for missing, or the fingerprints.
    frequent
        Positions of values of which the text may be needed.
    """

    drafts: Uint32s | Uint64s
    frequent: Int64s


class VocabularyCounter:
    """Counts values chunk by chunk.

    The state is a sum: any split of the rows into chunks and counters, merged in any order, finishes alike. It holds
    fingerprints and counts, 24 to 48 bytes for each distinct value; `spill` moves them to disk, sorted.

    Until it is spilled it also numbers the values as they come. The numbers are its own: they say which values of the
    rows are the same, in half of a fingerprint's bytes or less, and `numbered` tells their ids when all is counted.

    Parameters
    ----------
    min_count, max_features
        A value needs so many occurrences to get an id; the most frequent get one.

    Examples
    --------
    >>> counter = VocabularyCounter(min_count=2)
    >>> counter.add(np.array([7, 9, 7, 0], np.uint64))
    Learned(drafts=array([1, 2, 1, 0], dtype=uint32), frequent=array([2]))
    >>> counter.finish(Scratch()).counts.tolist(), counter.numbered.tolist()
    ([1, 1, 2], [0, 2, 1])
    """

    def __init__(self, min_count: int = 1, max_features: int | None = None) -> None:
        self._min_count, self._max_features = min_count, max_features
        self._counter = Counter()
        self._num_missing = 0
        self._num_present = 0
        self._runs: list[_Run] = []
        self._numbers: _Numbers | None = None
        self.keep_all_texts = False
        """Whether the text of a value is needed however rare it is here: it may be frequent in other rows."""
        self.numbered: Uint32s = np.zeros(1, dtype=np.uint32)
        """Once finished: the id of each number."""

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self._counter.slots.nbytes

    @property
    def num_values(self) -> int:
        """Distinct values counted in memory."""
        return self._counter.num_keys

    @property
    def is_full(self) -> bool:
        """Whether it has to be spilled before more is added."""
        return self._counter.num_keys > MAX_KEYS // 2

    def add(self, fingerprints: Uint64s) -> Learned:
        """Count N values."""
        # A value is frequent when it has come often enough. Of one counted in a run on disk too that is not known.
        first = self.keep_all_texts or self._runs
        numbers, frequent = self._counter.number(fingerprints, 1 if first else self._min_count)
        num_present = int(np.count_nonzero(numbers))
        self._num_missing += len(fingerprints) - num_present
        self._num_present += num_present
        return Learned(fingerprints if self._runs else numbers, frequent)

    def merge(self, other: VocabularyCounter) -> None:
        """Add what another counter has counted, without spilling."""
        assert not other._runs, "a counter that was spilled cannot be merged"
        self._counter.add(*other._counter.items())
        self._num_missing += other._num_missing
        self._num_present += other._num_present

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
            self._numbers = _Numbers(scratch.write(self._counter.keys()), len(keys))
        self._counter = Counter()
        bounds = np.append(np.searchsorted(keys, _PREFIXES), len(keys))
        self._runs.append(_Run(scratch.write(keys, counts), bounds))

    def finish(self, scratch: Scratch, *, numbered: bool = True) -> Vocabulary:
        """Number the values that get an id; find out the ids of provisional numbers if these are needed."""
        counter = self._counter
        keys, counts = self._ranked(scratch)
        keys, counts = keys[: self._max_features], counts[: self._max_features]
        of_rows = scratch.zeros(_FIRST + len(keys), np.int64)
        of_rows[:_FIRST] = self._num_missing, self._num_present - int(counts.sum())
        of_rows[_FIRST:] = counts
        slots = scratch.zeros((slots_for(len(keys)), 2), np.uint64)
        place(slots, keys, _FIRST)
        vocabulary = Vocabulary(slots, of_rows)
        if numbered:
            self._finish_numbers(scratch, vocabulary, counter)
        return vocabulary

    def _finish_numbers(self, scratch: Scratch, vocabulary: Vocabulary, counter: Counter) -> None:
        if self._numbers is None:
            self.numbered = scratch.zeros(counter.num_keys + 1, np.uint32)
            counter.values(vocabulary.slots, UNSEEN, self.numbered)
            return
        place, num = self._numbers
        self.numbered = scratch.zeros(num + 1, np.uint32)
        for start in range(0, num, _KEYS_AT_ONCE):
            keys = scratch.read(place + 8 * start, np.uint64, min(_KEYS_AT_ONCE, num - start))
            self.numbered[1 + start : 1 + start + len(keys)] = vocabulary.lookup(keys)

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

    def add(self, fingerprints: Uint64s) -> Learned:
        """Count N values."""
        ids = self._base.lookup(fingerprints)
        new = ids == UNSEEN
        count_ids(ids[~new], self._counts)
        return Learned(fingerprints, np.flatnonzero(new)[super().add(fingerprints[new]).frequent])

    def merge(self, other: VocabularyCounter) -> None:
        """Add what another counter for the same vocabulary has counted, without spilling."""
        assert isinstance(other, GrowthCounter)
        super().merge(other)
        self._counts += other._counts

    def finish(self, scratch: Scratch, *, numbered: bool = True) -> Vocabulary:
        """Number the new values that get an id."""
        old = self._base.rows
        keys, counts = self._ranked(scratch)
        room = None if self._max_features is None else max(self._max_features - (old - _FIRST), 0)
        keys, counts = keys[:room], counts[:room]
        of_rows = scratch.zeros(old + len(keys), np.int64)
        of_rows[:old] = self._base.counts + self._counts
        of_rows[UNSEEN] += self._num_present - int(counts.sum())
        of_rows[old:] = counts
        slots = scratch.zeros((slots_for(len(of_rows) - _FIRST), 2), np.uint64)
        place(slots, np.concatenate([self._base.keys, keys]), _FIRST)
        return Vocabulary(slots, of_rows, *self._base.saved_texts)


class _Numbers(NamedTuple):
    """The values in the order of their numbers, moved to disk when the counts first were."""

    place: int
    num: int


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


class Vocabulary:
    """The values of a field and their ids, fixed.

    Attributes
    ----------
    slots
        (C, 2) uint64: the table of `kernels.hashtable` from fingerprints to ids.
    counts
        (rows,) int64: how often each feature occurred in training; at 0 missing, at 1 the values that were cut.
    """

    def __init__(
        self,
        slots: Uint64s,
        counts: Int64s,
        text_bytes: npt.NDArray[np.uint8] = _NO_TEXTS[0],
        text_offsets: Int64s = _NO_TEXTS[1],
    ) -> None:
        self.slots = slots
        self.counts = counts
        self._text_bytes = text_bytes
        self._text_offsets = text_offsets

    @property
    def keys(self) -> Uint64s:
        """(rows - 2,): the fingerprints of the values, from id 2 on."""
        taken = self.slots[self.slots[:, 0] != 0]
        places = taken[:, 1] - np.uint64(_FIRST)
        keys = np.zeros(self.rows - _FIRST, dtype=np.uint64)
        if len(taken) != len(keys) or (places >= np.uint64(len(keys))).any():
            raise ArtefactError(_NO_SUCH_FEATURE)
        keys[places] = taken[:, 0]
        return keys

    @property
    def saved_texts(self) -> tuple[npt.NDArray[np.uint8], Int64s]:
        """The texts of the first values, end to end, and where each begins and ends; empty where none was kept."""
        return self._text_bytes, self._text_offsets

    def set_texts(self, text_bytes: npt.NDArray[np.uint8], text_offsets: Int64s) -> None:
        """Take the texts of the values, from `features.texts.TextCollector`."""
        self._text_bytes, self._text_offsets = text_bytes, text_offsets

    @property
    def rows(self) -> int:
        """Number of local ids, missing and unseen included."""
        return len(self.counts)

    def lookup(self, fingerprints: Uint64s) -> Uint32s:
        """Return the ids of N values.

        Raises
        ------
        ArtefactError
            The vocabulary comes from a file, which gives a value an id that there is not.
        """
        ids = lookup(self.slots, fingerprints, absent=UNSEEN)
        if len(ids) and ids.max() >= self.rows:
            raise ArtefactError(_NO_SUCH_FEATURE)
        return ids

    def texts(self, ids: Iterable[int]) -> list[str | None]:
        """Return the values behind ids, for people; None for missing, unseen, and where none was kept."""
        return [self._text(id_ - _FIRST) for id_ in ids]

    def _text(self, at: int) -> str | None:
        if not 0 <= at < len(self._text_offsets) - 1:
            return None
        content = self._text_bytes[self._text_offsets[at] : self._text_offsets[at + 1]]
        return content.tobytes().decode(errors="replace") or None

    @classmethod
    def restored(cls, arrays: Arrays) -> Vocabulary:
        """Return what `arrays` came from.

        Looking at every slot would make opening a bundle slow: what they say is seen to where it is used.
        """
        slots = take(arrays, "slots", np.uint64, (None, 2))
        counts = take(arrays, "counts", np.int64, (None,))
        text_bytes = take(arrays, "text_bytes", np.uint8, (None,))
        text_offsets = take(arrays, "text_offsets", np.int64, (None,))
        if not len(slots) or len(counts) < _FIRST or len(text_offsets) > len(counts) - _FIRST + 1:
            raise ArtefactError(
                "a vocabulary does not fit itself",
                got=f"{len(counts)} features, {len(slots)} slots, {len(text_offsets)} texts",
            )
        return cls(slots, counts, text_bytes, text_offsets)

    def arrays(self) -> Arrays:
        """Return everything that has to be saved."""
        return {
            "slots": self.slots,
            "counts": self.counts,
            "text_bytes": self._text_bytes,
            "text_offsets": self._text_offsets,
        }


class Buckets:
    """Values hashed into a fixed number of features.

    Examples
    --------
    >>> Buckets(10).lookup(np.array([0, 23], np.uint64)).tolist()
    [0, 5]
    """

    def __init__(self, num_buckets: int, counts: Int64s | None = None, ids: Uint32s | None = None) -> None:
        """Go on from the counts of all ids, or of those named."""
        self._num_buckets = num_buckets
        self._saved = None if counts is None or ids is None else (ids, counts)
        self._counts = counts if ids is None else None

    @classmethod
    def restored(cls, num_buckets: int, arrays: Arrays) -> Buckets:
        """Return what `arrays` came from; bundles of version 1 hold the counts of all buckets, without ids."""
        if "ids" not in arrays:
            return cls(num_buckets, take(arrays, "counts", np.int64, (_FIRST + num_buckets,)))
        ids = take(arrays, "ids", np.uint32, (None,))
        if len(ids) and ids.max() >= _FIRST + num_buckets:
            raise ArtefactError(_NO_SUCH_FEATURE)
        return cls(num_buckets, take(arrays, "counts", np.int64, ids.shape), ids)

    @property
    def counts(self) -> Int64s:
        """(rows,): how often each id was counted; made of what was saved when first asked for."""
        if self._counts is None:
            self._counts = np.zeros(self.rows, dtype=np.int64)
            if self._saved is not None:
                ids, counts = self._saved
                self._counts[ids] = counts
        return self._counts

    @counts.setter
    def counts(self, counts: Int64s) -> None:
        self._counts, self._saved = counts, None

    @property
    def rows(self) -> int:
        """Number of local ids; *unseen* has one too, though nothing takes it."""
        return _FIRST + self._num_buckets

    def add(self, fingerprints: Uint64s) -> Uint32s:
        """Count N values, and return their ids."""
        ids = self.lookup(fingerprints)
        count_ids(ids, self.counts)
        self._saved = None
        return ids

    def merge(self, other: Buckets) -> None:
        """Add what was counted with as many buckets."""
        self.counts += other.counts

    def add_learned(self, arrays: Arrays) -> None:
        """Add what was counted with as many buckets, as `arrays` returns it."""
        self.counts[arrays["ids"]] += arrays["counts"]

    def lookup(self, fingerprints: Uint64s) -> Uint32s:
        """Return the ids of N values."""
        return bucket_ids(fingerprints, self._num_buckets, first=_FIRST)

    def texts(self, ids: Iterable[int]) -> list[str | None]:
        """Return None for each id: a bucket has no text."""
        return [None for _ in ids]

    def arrays(self) -> Arrays:
        """Return everything that has to be saved: of a billion buckets, those that something fell into."""
        if self._saved is not None:
            ids, counts = self._saved
        else:
            ids = np.flatnonzero(self.counts).astype(np.uint32)
            counts = self.counts[ids]
        return {"ids": ids, "counts": counts}
