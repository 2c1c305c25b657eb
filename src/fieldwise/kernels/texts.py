"""Texts picked from a chunk, and collected, one for each feature, from chunks in any order."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.jit import kernel

__all__ = ["pick_texts", "put_texts"]

Bytes = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]


def pick_texts(data: Bytes, offsets: npt.NDArray[Any], places: Int64s) -> tuple[Bytes, Int64s]:
    """Return N of the texts ``data[offsets[i] : offsets[i + 1]]``, and (N + 1,) where they begin and end."""
    begins = offsets[places]
    ends = np.zeros(len(places) + 1, dtype=np.int64)
    np.cumsum(offsets[places + 1] - begins, out=ends[1:])
    out = np.empty(ends[-1], dtype=np.uint8)
    _copy(data, begins.astype(np.int64), ends, out)
    return out, ends


@kernel
def _copy(data, begins, ends, out):  # type: ignore[no-untyped-def]
    for i in range(len(begins)):
        for k in range(ends[i + 1] - ends[i]):
            out[ends[i] + k] = data[begins[i] + k]


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
