"""Vocabularies that follow a world that changes: values join when they have come often enough, and leave when they
have not come for long. Ids of values that stay never move.

On day t, with c_v the occurrences of value v today and r_v those on the days before on which it had no id::

    v joins     where c_v > 0 and c_v + r_v >= min_count     the lowest free ids, then new ones
    v leaves    where it was last seen on day t - keep_days or before

So a value that comes once a day has an id on its `min_count`-th day. What is rare is forgotten after `keep_days`, too.
An id that a value has left is free: no key has it, its count is 0, and it is given to the next that joins. `generation`
says how many values had an id before. Free ids behind the last value are given up, so that the vocabulary shrinks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.errors import ArtefactError
from fieldwise.features.cells import Arrays
from fieldwise.features.counting import GrowthCounter
from fieldwise.features.scratch import Scratch
from fieldwise.features.vocabulary import FIRST, Vocabulary
from fieldwise.io.arrays import expect
from fieldwise.kernels.hashtable import place, slots_for
from fieldwise.kernels.layout import UNSEEN
from fieldwise.kernels.texts import pick_texts

__all__ = ["Memory", "Renewal", "RenewalCounter", "Renewed", "texts_of_kept"]

Uint64s = npt.NDArray[np.uint64]
Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]


class Memory(NamedTuple):
    """What is known of the values of a field beside their ids.

    Attributes
    ----------
    last_day
        (rows,): the day on which each feature was last seen; 0 before the first.
    generation
        (rows or more,): how many values had the id before.
    rare_keys, rare_counts, rare_days
        (R,) values without an id, ascending by key: how often each came, and the day of the last time.
    """

    last_day: Int32s
    generation: Int32s
    rare_keys: Uint64s
    rare_counts: Int64s
    rare_days: Int32s

    @classmethod
    def new(cls, rows: int) -> Memory:
        """Return the memory of a vocabulary that has not seen a day."""
        nothing = np.zeros(0, dtype=np.int32)
        return cls(
            np.zeros(rows, np.int32), np.zeros(rows, np.int32), nothing.astype(np.uint64), nothing.astype(int), nothing
        )

    @classmethod
    def restored(cls, arrays: Arrays, rows: int) -> Memory:
        """Return what `_asdict` gave to a file; ArtefactError where that was of another vocabulary."""
        keys = expect(arrays, "rare_keys", np.uint64, (None,))
        generation = expect(arrays, "generation", np.int32, (None,))
        if len(generation) < rows:
            raise ArtefactError("the ages of features are inconsistent", got=f"{len(generation)} for {rows} features")
        counts, days = (
            expect(arrays, name, kind, keys.shape)
            for name, kind in (("rare_counts", np.int64), ("rare_days", np.int32))
        )
        return cls(expect(arrays, "last_day", np.int32, (rows,)), generation, keys, counts, days)


class Renewal(NamedTuple):
    """How vocabularies are renewed on a day.

    Attributes
    ----------
    day
        Its number, counted from 1.
    keep_days
        After how many days without it a value leaves; None: never.
    memories
        Of each field with a vocabulary, by name; fields without one begin to remember.
    """

    day: int
    keep_days: int | None
    memories: Mapping[str, Memory]


class Renewed(NamedTuple):
    """What has become of a vocabulary: its memory, and the ids of the values that have joined and left, ascending.

    An id that was left and taken the same day is in both.
    """

    memory: Memory
    joined: Int64s
    left: Int64s


class RenewalCounter(GrowthCounter):
    """Counts the values of a day for a vocabulary to be renewed by.

    Parameters
    ----------
    base
        The vocabulary of the day before. It is not changed.
    memory
        Of the values of `base`.
    day, keep_days
        See `Renewal`.
    min_count, max_features
        As for the vocabulary: how often a new value has to come, and how many values there are at most.

    Attributes
    ----------
    renewed
        What has become of the vocabulary, once it is finished.

    Examples
    --------
    >>> first = GrowthCounter(Vocabulary(np.zeros((1, 2), np.uint64), np.zeros(FIRST, np.int64)))
    >>> _ = first.add(np.array([7, 9, 7], np.uint64))
    >>> counter = RenewalCounter(first.finish(Scratch()), Memory.new(4), 2, keep_days=2, min_count=2)
    >>> _ = counter.add(np.array([9, 5, 6, 6], np.uint64))
    >>> vocabulary = counter.finish(Scratch())
    >>> vocabulary.lookup(np.array([7, 9, 5, 6], np.uint64)).tolist(), counter.renewed.memory.rare_keys.tolist()
    ([1, 3, 1, 2], [5])
    """

    renewed: Renewed

    def __init__(
        self,
        base: Vocabulary,
        memory: Memory,
        day: int,
        keep_days: int | None,
        min_count: int = 1,
        max_features: int | None = None,
    ) -> None:
        super().__init__(base, 1, max_features)  # whatever comes may be the last time that was missing
        self._memory, self._day, self._keep_days, self._needed = memory, day, keep_days, min_count

    def finish(self, scratch: Scratch) -> Vocabulary:
        """Number the values that join, and free the ids of those that leave."""
        base, memory, day = self._base, self._memory, self._day
        keys, unsigned = self._ranked(scratch)
        counts = unsigned.astype(np.int64)
        before = _find(memory.rare_keys, keys)
        total = counts + np.where(before >= 0, np.append(memory.rare_counts, 0)[before], 0)

        last_day = np.where(self._counts > 0, np.int32(day), memory.last_day)
        of_ids = base.keys
        leaves = (of_ids != 0) & self._is_over(last_day[FIRST:])
        of_ids[leaves] = 0
        free = FIRST + np.flatnonzero(of_ids == 0)
        order = np.lexsort((keys, -total))
        order = order[total[order] >= self._needed]
        if self._max_features is not None:
            order = order[: max(self._max_features - int(np.count_nonzero(of_ids)), 0)]
        num_more = max(len(order) - len(free), 0)
        joined = np.concatenate([free[: len(order)], base.rows + np.arange(num_more)])
        kept = np.append(of_ids, np.zeros(num_more, np.uint64))
        kept_texts = texts_of_kept(base, kept != 0)
        kept[joined - FIRST] = keys[order]
        num_values = int(np.flatnonzero(kept).max(initial=-1)) + 1
        rows, kept = FIRST + num_values, kept[:num_values]

        of_rows = scratch.zeros(base.rows + num_more, np.int64)
        of_rows[: base.rows] = base.counts + self._counts
        of_rows[FIRST + np.flatnonzero(leaves)] = 0
        of_rows[joined] = counts[order]
        of_rows[UNSEEN] += self._num_present - int(counts[order].sum())
        last_day = np.append(last_day, np.zeros(num_more, np.int32))
        last_day[joined] = day
        generation = np.zeros(max(len(memory.generation), rows), np.int32)
        generation[: len(memory.generation)] = memory.generation
        generation[joined[joined < len(memory.generation)]] += 1
        stays_rare = np.ones(len(keys), np.bool_)
        stays_rare[order] = False
        self.renewed = Renewed(
            Memory(last_day[:rows], generation, *self._rare(keys, total, stays_rare)),
            np.sort(joined),
            FIRST + np.flatnonzero(leaves),
        )
        slots = scratch.zeros((slots_for(num_values), 2), np.uint64)
        place(slots, kept, FIRST)
        return Vocabulary(slots, of_rows[:rows], *_cut(*kept_texts, num_values))

    def _is_over(self, last_day: Int32s) -> Bools:
        """Return for which of these days `keep_days` are over."""
        if self._keep_days is None:
            return np.zeros(len(last_day), np.bool_)
        over: Bools = self._day - last_day >= self._keep_days
        return over

    def _rare(self, keys: Uint64s, total: Int64s, stays_rare: Bools) -> tuple[Uint64s, Int64s, Int32s]:
        """Return what is remembered of values without an id: those of today, and those of before that are not over."""
        memory = self._memory
        old = ~self._is_over(memory.rare_days) & (_find(np.sort(keys), memory.rare_keys) < 0)
        keys = np.concatenate([keys[stays_rare], memory.rare_keys[old]])
        counts = np.concatenate([total[stays_rare], memory.rare_counts[old]])
        days = np.full(len(keys), self._day, np.int32)
        days[len(days) - int(old.sum()) :] = memory.rare_days[old]
        order = np.argsort(keys)
        return keys[order], counts[order], days[order]


def _find(ascending: Uint64s, keys: Uint64s) -> Int64s:
    """Return where each key is among distinct ones that ascend, -1 where it is not."""
    at = np.searchsorted(ascending, keys)
    found = np.append(ascending, np.uint64(0))[at] == keys  # 0 is no key
    return np.where(found, at, -1).astype(np.int64)


def texts_of_kept(vocabulary: Vocabulary, kept: Bools) -> tuple[npt.NDArray[np.uint8], Int64s]:
    """Return the texts of the values that stay, as `Vocabulary` has them: of the others none is left."""
    content, offsets = vocabulary.saved_texts
    num_known = max(len(offsets) - 1, 0)
    if kept[:num_known].all():
        return content, offsets
    some, ends = pick_texts(content, offsets, np.flatnonzero(kept[:num_known]))
    lengths = np.zeros(num_known + 1, dtype=np.int64)
    lengths[1:][kept[:num_known]] = np.diff(ends)
    return some, np.cumsum(lengths)


def _cut(content: npt.NDArray[np.uint8], offsets: Int64s, num_values: int) -> tuple[npt.NDArray[np.uint8], Int64s]:
    """Return the texts of the first values; those behind them have none."""
    return content, offsets[: num_values + 1]
