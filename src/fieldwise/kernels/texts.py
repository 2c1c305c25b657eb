"""Texts picked from a chunk, and collected, one for each feature, from chunks in any order."""

from __future__ import annotations

import numpy as np

from fieldwise.kernels.jit import kernel

__all__ = ["pick_texts", "put_lengths", "put_texts"]


@kernel
def pick_texts(data, offsets, places):  # type: ignore[no-untyped-def]
    """Return N of the texts ``data[offsets[i] : offsets[i + 1]]``, and (N + 1,) where they begin and end."""
    ends = np.zeros(len(places) + 1, dtype=np.int64)
    for i in range(len(places)):
        ends[i + 1] = ends[i] + offsets[places[i] + 1] - offsets[places[i]]
    out = np.empty(ends[len(places)], dtype=np.uint8)
    for i in range(len(places)):
        start = offsets[places[i]]
        for k in range(ends[i + 1] - ends[i]):
            out[ends[i] + k] = data[start + k]
    return out, ends


@kernel
def put_lengths(ids, lengths, first, out):  # type: ignore[no-untyped-def]
    """Write the length of each of N texts to ``out[ids[i] - first]``, but for ids below `first`."""
    for i in range(len(ids)):
        if ids[i] >= first:
            out[ids[i] - first] = lengths[i]


@kernel
def put_texts(ids, lengths, data, first, offsets, out):  # type: ignore[no-untyped-def]
    """Copy N texts that lie end to end in `data` to ``out[offsets[ids[i] - first]]``, but for ids below `first`."""
    at = np.int64(0)
    for i in range(len(ids)):
        if ids[i] >= first:
            to = offsets[ids[i] - first]
            for k in range(lengths[i]):
                out[to + k] = data[at + k]
        at += lengths[i]
