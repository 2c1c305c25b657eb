"""Hash tables from 64-bit keys to integers: open addressing, linear probing, key and value side by side.

A table is an array ``slots`` of shape (C, 2), uint64: the key (0: the slot is empty, so 0 is no key) and its value. One
probe is one cache line; two arrays would be two. The home of a key is ``mix(key) * C >> 32`` for any C < 2^32, so that
a table that is only read can be as full as it should be, whatever its size.

`build` and `lookup` make and read a table that never changes; it is saved as it is, and a saved table that is mapped
into memory answers at once. Tables that grow, in fitting, are those of `kernels.counter`. Fields with a fixed number of
buckets need no table: `bucket_ids`.

The lines that ask for the slot of a key to come, and those that look for a key, stand in each loop that has to be
fast, here and there: as functions that are given the arrays they cost 15 and 7 ns a key, for numba counts references
to arrays around their branches. Indices are unsigned, for a signed one is first looked at for counting from the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.instructions import prefetch_line
from fieldwise.kernels.jit import kernel, merged

__all__ = ["AHEAD", "EMPTY", "ONE", "bucket_ids", "build", "count_ids", "home", "lookup", "place", "slots_for", "take"]

Uint64s = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)
EMPTY, ONE = np.uint64(0), np.uint64(1)
AHEAD = np.uint64(24)
"""Keys between the one whose slot is asked for and the one that is looked at."""


def build(keys: Uint64s, first: int) -> Uint64s:
    """Make the table of distinct keys, none of them 0, with the values ``first, first + 1 ..`` in order.

    The table is two thirds full: 24 bytes a key.
    """
    slots = np.zeros((slots_for(len(keys)), 2), dtype=np.uint64)
    place(slots, keys, first)
    return slots


def slots_for(num_keys: int) -> int:
    """Return how many slots the table of so many keys has."""
    return num_keys + num_keys // 2 + 1


def place(slots: Uint64s, keys: Uint64s, first: int) -> None:
    """Fill a table of zeros, (C, 2), as `build` does; a key 0 stands for a value that no key has."""
    _build(slots, keys, np.uint64(first))


def lookup(slots: Uint64s, keys: Uint64s, absent: int) -> npt.NDArray[np.uint32]:
    """Return the values of N keys: 0 for the key 0, `absent` for one that is not in the table.

    Examples
    --------
    >>> slots = build(np.array([50, 60], np.uint64), first=2)
    >>> lookup(slots, np.array([60, 0, 70, 50], np.uint64), absent=1).tolist()
    [3, 0, 1, 2]
    """
    slots, keys = slots.view(), keys.view()
    slots.flags.writeable = keys.flags.writeable = False  # as if mapped: numba compiles once for each kind of array
    out = np.empty(len(keys), dtype=np.uint32)
    _find_or(slots, keys, np.uint32(absent), out)
    return out


def take(ids: npt.NDArray[np.uint32], numbers: npt.NDArray[np.unsignedinteger[Any]]) -> npt.NDArray[np.uint32]:
    """Return ``ids[numbers]``; numbers are below the length of `ids`.

    Examples
    --------
    >>> take(np.array([0, 7, 5], np.uint32), np.array([2, 0, 1], np.uint8)).tolist()
    [5, 0, 7]
    """
    out = np.empty(len(numbers), dtype=np.uint32)
    # Two kinds of numbers are kernels enough: those of a byte become longer.
    numbers = numbers.astype(np.uint16) if numbers.dtype == np.uint8 else numbers.view()
    numbers.flags.writeable = False
    _take(ids.reshape(-1, 1), numbers, out)
    return out


@merged
def home(key, capacity):  # type: ignore[no-untyped-def]
    """Return the slot where the search for a key begins, in a table of so many."""
    return (((key * _GOLDEN) >> _HALF) * np.uint64(capacity)) >> _HALF


@kernel
def _build(slots, keys, first):  # type: ignore[no-untyped-def]
    num, capacity = np.uint64(len(keys)), np.uint64(len(slots))
    for i in range(num):
        if i + AHEAD < num:
            prefetch_line(slots, np.int64(home(keys[i + AHEAD], capacity)))
        if keys[i] == EMPTY:
            continue
        at = home(keys[i], capacity)
        while slots[at, 0] != EMPTY:
            at += ONE
            if at == capacity:
                at = EMPTY
        slots[at, 0] = keys[i]
        slots[at, 1] = first + i


@kernel
def _find_or(slots, keys, absent, out):  # type: ignore[no-untyped-def]
    num, capacity = np.uint64(len(keys)), np.uint64(len(slots))
    for i in range(num):
        if i + AHEAD < num:
            prefetch_line(slots, np.int64(home(keys[i + AHEAD], capacity)))
        key = keys[i]
        if key == EMPTY:
            out[i] = 0
            continue
        at = home(key, capacity)
        again = False
        while slots[at, 0] != key and slots[at, 0] != EMPTY:
            at += ONE
            if at == capacity:
                at = EMPTY
                if again:  # a table from a file, without an empty slot
                    break
                again = True
        out[i] = slots[at, 1] if slots[at, 0] == key else absent


@kernel
def _take(ids, numbers, out):  # type: ignore[no-untyped-def]
    num = np.uint64(len(numbers))
    for i in range(num):
        if i + AHEAD < num:
            prefetch_line(ids, np.int64(numbers[i + AHEAD]))
        out[i] = ids[np.uint64(numbers[i]), 0]


def bucket_ids(fingerprints: npt.NDArray[np.uint64], num_buckets: int, first: int) -> npt.NDArray[np.uint32]:
    """Return ``first`` plus each fingerprint modulo the number of buckets; 0 for the fingerprint 0.

    Examples
    --------
    >>> bucket_ids(np.array([0, 23], np.uint64), 10, first=2).tolist()
    [0, 5]
    """
    out = np.empty(len(fingerprints), dtype=np.uint32)
    _bucket_ids(fingerprints, np.uint64(num_buckets), np.uint64(first), out)
    return out


@kernel
def _bucket_ids(fingerprints, num_buckets, first, out):  # type: ignore[no-untyped-def]
    for i in range(len(out)):
        fingerprint = fingerprints[i]
        out[i] = first + fingerprint % num_buckets if fingerprint != 0 else np.uint64(0)


@kernel
def count_ids(ids, counts):  # type: ignore[no-untyped-def]
    """Add 1 to ``counts[id]`` for each of N ids; ids are below the length of `counts`, (rows,) int64."""
    for i in range(len(ids)):
        counts[ids[i]] += 1
