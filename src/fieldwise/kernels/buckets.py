"""Fingerprints as buckets, and ids counted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.jit import kernel

__all__ = ["bucket_ids", "count_ids"]


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
