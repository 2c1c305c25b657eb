"""A hash table that grows: how often each key came, and the distinct keys numbered in the order in which they came.

Slots are those of `kernels.hashtable`; a value is a key's number and its count in one word.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from numba import njit

from fieldwise.kernels.hashtable import AHEAD, EMPTY, ONE, home
from fieldwise.kernels.instructions import prefetch_line
from fieldwise.kernels.jit import kernel

__all__ = ["MAX_KEYS", "Counter", "ranked"]

Uint64s = npt.NDArray[np.uint64]
Zeros = Callable[[int, type[np.uint64]], Uint64s]

_SMALLEST = 64
_COMMON = 4096  # values seen this often or more are few enough to be sorted by a general method
_COUNT_BITS = np.uint64(36)
_COUNT = (np.uint64(1) << _COUNT_BITS) - np.uint64(1)
MAX_KEYS = (1 << 28) - 1
"""Of a counter; a key can be counted 2^36 - 1 times, 69 billion."""


class Counter:
    """How often each key was added, and the distinct keys numbered 1, 2, ... in the order in which they came.

    The counts depend on what was added, not on how it was split or ordered; the numbers depend on the order.

    Attributes
    ----------
    slots
        (C, 2) uint64: key, and its number times 2^36 plus its count.
    num_keys
        Distinct keys so far.

    Examples
    --------
    >>> counter = Counter()
    >>> counter.add(np.array([7, 9, 7], np.uint64))
    >>> counter.counts(np.array([7, 8], np.uint64)).tolist()
    [2, 0]
    """

    def __init__(self) -> None:
        self.slots: Uint64s = np.zeros((_SMALLEST, 2), dtype=np.uint64)
        self.num_keys = 0

    def number(self, keys: Uint64s, threshold: int = 0) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
        """Add N keys once each; zeros among them are passed over.

        Returns
        -------
        The number of each key, (N,), 0 for the key 0; and the positions at which a key came for the `threshold`-th time
        since the counter was made.
        """
        numbers = np.empty(len(keys), dtype=np.uint32)
        reached = np.empty(len(keys) + 1, dtype=np.int64)
        done = num_reached = 0
        while True:
            done, found, num_reached = _number(
                self.slots, keys, done, self.room, self.num_keys, threshold, numbers, reached, num_reached
            )
            self.num_keys += found
            if done == len(keys):
                return numbers, reached[:num_reached]
            self._grow()

    def add(self, keys: Uint64s, counts: Uint64s | None = None) -> None:
        """Add keys, once each or `counts` times; zeros among the keys are passed over."""
        if counts is None:
            self.number(keys)
            return
        done = 0
        while True:
            done, found = _add_counts(self.slots, keys, counts, done, self.room, self.num_keys)
            self.num_keys += found
            if done == len(keys):
                return
            self._grow()

    @property
    def room(self) -> int:
        """How many new keys fit before a larger table is needed."""
        # Two thirds full at most: a probe looks at two slots on average, and a key takes 24 to 48 bytes.
        return len(self.slots) * 2 // 3 - self.num_keys

    def _grow(self) -> None:
        larger = np.zeros((2 * len(self.slots), 2), dtype=np.uint64)
        _move(self.slots, larger)
        self.slots = larger

    def counts(self, keys: Uint64s) -> npt.NDArray[np.int64]:
        """Return how often each of `keys` was added."""
        out = np.empty(len(keys), dtype=np.int64)
        _find(self.slots, keys, out)
        return out

    def items(self) -> tuple[Uint64s, Uint64s]:
        """Return the keys, ascending, and their counts."""
        taken = self.slots[self.slots[:, 0] != 0]
        taken = taken[np.argsort(taken[:, 0])]
        return taken[:, 0].copy(), taken[:, 1] & _COUNT

    def keys(self) -> Uint64s:
        """Return the keys in the order of their numbers."""
        keys = np.empty(self.num_keys, dtype=np.uint64)
        _unroll(self.slots, keys)
        return keys

    def values(self, table: Uint64s, absent: int, out: npt.NDArray[np.uint32]) -> None:
        """Write the value of each key in a table to its number's place in `out`, `absent` where it is not in there.

        Parameters
        ----------
        table
            Made by `build`.
        out
            (num_keys + 1,), written; 0 for the number 0.
        """
        out[0] = 0
        _values(self.slots, table, np.uint32(absent), out.reshape(-1, 1))


def ranked(pairs: Uint64s, min_count: int, zeros: Zeros = np.zeros, *, few: int = 1 << 16) -> tuple[Uint64s, Uint64s]:
    """Return the keys that occur `min_count` times or more, by (count descending, key), and their counts.

    Parameters
    ----------
    pairs
        (C, 2): distinct keys and their counts below 2^36; those with key 0 are passed over. The slots of a counter will
        do, for numbers are passed over.
    zeros
        Makes the arrays that are returned, as `numpy.zeros` does.
    few
        Up to so many pairs are sorted by numpy, in some milliseconds, so that nothing is compiled for them.

    Examples
    --------
    >>> keys, counts = ranked(np.array([[7, 2], [0, 0], [5, 2], [6, 9]], np.uint64), min_count=1)
    >>> keys.tolist(), counts.tolist()
    ([6, 5, 7], [9, 2, 2])
    """
    if len(pairs) <= few:
        present = pairs[(pairs[:, 0] != 0) & (pairs[:, 1] & _COUNT >= np.uint64(min_count))]
        order = np.lexsort((present[:, 0], ~(present[:, 1] & _COUNT)))
        keys, counts = (zeros(len(order), np.uint64) for _ in range(2))
        keys[:], counts[:] = present[order, 0], present[order, 1] & _COUNT
        return keys, counts
    num = np.zeros(_COMMON + 1, dtype=np.int64)
    _count_counts(pairs, np.uint64(min_count), num)
    starts = np.cumsum(num[::-1])[::-1] - num  # of each count; `_COMMON` stands for all from there on
    keys, counts = (zeros(int(num.sum()), np.uint64) for _ in range(2))
    _sort_by_count(pairs, np.uint64(min_count), starts.copy(), keys, counts)
    order = np.lexsort((keys[: num[-1]], ~counts[: num[-1]]))
    keys[: num[-1]], counts[: num[-1]] = keys[order], counts[order]
    for count in np.flatnonzero(num[:-1] > 1):
        keys[starts[count] : starts[count] + num[count]].sort()
    return keys, counts


@njit(inline="always")
def _probe(slots, key):  # type: ignore[no-untyped-def]
    """Return the slot that holds the key, or the empty one where it belongs: a counter always has one."""
    capacity = np.uint64(len(slots))
    at = home(key, capacity)
    while slots[at, 0] != key and slots[at, 0] != EMPTY:
        at += ONE
        if at == capacity:
            at = EMPTY
    return at


@kernel
def _number(slots, keys, start, room, num_keys, threshold, numbers, reached, num_reached):  # type: ignore[no-untyped-def]
    """Add keys once each, from `start` on; stop before a new one without room.

    Returns
    -------
    Where, how many were new, and how many positions are in `reached`.
    """
    capacity, num, threshold = np.uint64(len(slots)), np.uint64(len(keys)), np.uint64(threshold)
    before, largest = np.uint64(num_keys), np.uint64(num_keys + room)
    number, to = before, np.uint64(num_reached)
    for i in range(np.uint64(start), num):
        if i + AHEAD < num:
            prefetch_line(slots, np.int64(home(keys[i + AHEAD], capacity)))
        key = keys[i]
        if key == EMPTY:
            numbers[i] = 0
            continue
        at = home(key, capacity)
        found = slots[at, 0]
        while found != key and found != EMPTY:
            at += ONE
            if at == capacity:
                at = EMPTY
            found = slots[at, 0]
        if found == EMPTY:
            if number == largest:
                return np.int64(i), np.int64(number - before), np.int64(to)
            slots[at, 0] = key
            number += ONE
            word = (number << _COUNT_BITS) + ONE
        else:
            word = slots[at, 1] + ONE
        slots[at, 1] = word
        numbers[i] = word >> _COUNT_BITS
        reached[to] = i
        to += np.uint64((word & _COUNT) == threshold)
    return np.int64(num), np.int64(number - before), np.int64(to)


@kernel
def _add_counts(slots, keys, counts, start, room, num_keys):  # type: ignore[no-untyped-def]
    """Add keys `counts` times, in the same way."""
    found = 0
    for i in range(start, len(keys)):
        key = keys[i]
        if key == 0:
            continue
        at = _probe(slots, key)
        if slots[at, 0] == 0:
            if found == room:
                return i, found
            slots[at, 0] = key
            found += 1
            slots[at, 1] = np.uint64(num_keys + found) << _COUNT_BITS
        slots[at, 1] += counts[i]
    return len(keys), found


@kernel
def _unroll(slots, keys):  # type: ignore[no-untyped-def]
    for i in range(len(slots)):
        if slots[i, 0] != 0:
            keys[(slots[i, 1] >> _COUNT_BITS) - np.uint64(1)] = slots[i, 0]


@kernel
def _values(slots, table, absent, out):  # type: ignore[no-untyped-def]
    # Both tables stand in the order of the same hash: this runs through them side by side.
    num, capacity = np.uint64(len(slots)), np.uint64(len(table))
    for i in range(num):
        if i + AHEAD < num:
            prefetch_line(out, np.int64(slots[i + AHEAD, 1] >> _COUNT_BITS))
        key = slots[i, 0]
        if key != EMPTY:
            at = home(key, capacity)
            while table[at, 0] != key and table[at, 0] != EMPTY:
                at += ONE
                if at == capacity:
                    at = EMPTY
            out[slots[i, 1] >> _COUNT_BITS, 0] = table[at, 1] if table[at, 0] != EMPTY else absent


@kernel
def _move(slots, larger):  # type: ignore[no-untyped-def]
    # Home is monotonous in the hash, so slots come in nearly the order of their new places: no need to ask ahead.
    capacity = np.uint64(len(larger))
    for i in range(np.uint64(len(slots))):
        key = slots[i, 0]
        if key != EMPTY:
            at = home(key, capacity)
            while larger[at, 0] != EMPTY:
                at += ONE
                if at == capacity:
                    at = EMPTY
            larger[at, 0] = key
            larger[at, 1] = slots[i, 1]


@kernel
def _count_counts(slots, least, num):  # type: ignore[no-untyped-def]
    """How many keys have each count, `least` or more; the last place stands for all counts from there on."""
    for i in range(len(slots)):
        count = slots[i, 1] & _COUNT
        if slots[i, 0] != 0 and count >= least:
            num[min(count, np.uint64(_COMMON))] += 1


@kernel
def _sort_by_count(slots, least, starts, keys, counts):  # type: ignore[no-untyped-def]
    for i in range(len(slots)):
        count = slots[i, 1] & _COUNT
        if slots[i, 0] != 0 and count >= least:
            rank = min(count, np.uint64(_COMMON))
            to = starts[rank]
            keys[to], counts[to] = slots[i, 0], count
            starts[rank] = to + 1


@kernel
def _find(slots, keys, out):  # type: ignore[no-untyped-def]
    for i in range(len(keys)):
        at = _probe(slots, keys[i])
        out[i] = slots[at, 1] & _COUNT if keys[i] != 0 else 0
