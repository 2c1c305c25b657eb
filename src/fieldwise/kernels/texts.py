"""Collecting one text for each feature, from chunks in any order."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["put_lengths", "put_texts"]


@njit(cache=True, nogil=True)
def put_lengths(ids, lengths, first, out):  # type: ignore[no-untyped-def]
    """Write the length of each of N texts to ``out[ids[i] - first]``, but for ids below `first`."""
    for i in range(len(ids)):
        if ids[i] >= first:
            out[ids[i] - first] = lengths[i]


@njit(cache=True, nogil=True)
def put_texts(ids, lengths, data, first, offsets, out):  # type: ignore[no-untyped-def]
    """Copy N texts that lie end to end in `data` to ``out[offsets[ids[i] - first]]``, but for ids below `first`."""
    at = np.int64(0)
    for i in range(len(ids)):
        if ids[i] >= first:
            to = offsets[ids[i] - first]
            for k in range(lengths[i]):
                out[to + k] = data[at + k]
        at += lengths[i]
