"""Values hashed into a fixed number of features."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from fieldwise.errors import ArtefactError
from fieldwise.features.cells import Arrays
from fieldwise.features.saved import take
from fieldwise.features.vocabulary import FIRST, NO_SUCH_FEATURE
from fieldwise.kernels.buckets import bucket_ids, count_ids
from fieldwise.kernels.layout import MISSING, Uint32s

__all__ = ["Buckets"]

Uint64s = npt.NDArray[np.uint64]
Int64s = npt.NDArray[np.int64]


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
            return cls(num_buckets, take(arrays, "counts", np.int64, (FIRST + num_buckets,)))
        ids = take(arrays, "ids", np.uint32, (None,))
        if len(ids) and ids.max() >= FIRST + num_buckets:
            raise ArtefactError(NO_SUCH_FEATURE)
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

    def share_missing(self) -> float:
        """Return which share of the values that were counted was missing; of what was saved, not of all buckets."""
        if self._saved is None:
            return float(self.counts[MISSING] / max(self.counts.sum(), 1))
        ids, counts = self._saved
        return float(counts[ids == MISSING].sum() / max(counts.sum(), 1))

    @property
    def rows(self) -> int:
        """Number of local ids; *unseen* has one too, though nothing takes it."""
        return FIRST + self._num_buckets

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
        return bucket_ids(fingerprints, self._num_buckets, first=FIRST)

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
