"""Collecting one text for each feature, from chunks in any order."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["claim", "put_texts"]


@njit(cache=True, nogil=True)
def claim(ids, known, positions):  # type: ignore[no-untyped-def]
    """Find the ids met for the first time.

    Parameters
    ----------
    ids
        (N,) uint32.
    known
        (rows,) bool: the ids met before; those of `ids` are added.
    positions
        (N,) int64: the first places in `ids` of those that are new are written to its beginning.

    Returns
    -------
    How many are new.
    """
    num = 0
    for i in range(len(ids)):
        if not known[ids[i]]:
            known[ids[i]] = True
            positions[num] = i
            num += 1
    return num


@njit(cache=True, nogil=True)
def put_texts(ids, lengths, data, offsets, out):  # type: ignore[no-untyped-def]
    """Copy N texts that lie end to end in `data` to ``out[offsets[ids[i]]]`` and the places after it."""
    at = np.int64(0)
    for i in range(len(ids)):
        to = offsets[ids[i]]
        for k in range(lengths[i]):
            out[to + k] = data[at + k]
        at += lengths[i]
