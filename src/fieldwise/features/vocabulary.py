"""Values as local ids: an exact vocabulary of the values seen in training, or a fixed number of buckets.

Its ids are those of `kernels.layout`: 0 missing, 1 unseen, then the values, by (count descending, fingerprint), so they
depend on the rows alone, not on their order. What a vocabulary grows by stands behind what it had, in the same order.
It is made by a counter (`features.counting`). Buckets need none: an id is the fingerprint modulo their number.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from fieldwise.errors import ArtefactError
from fieldwise.features.cells import Arrays
from fieldwise.io.arrays import expect
from fieldwise.kernels.hashtable import bucket_ids, count_ids, lookup
from fieldwise.kernels.layout import MISSING, UNSEEN, Uint32s

__all__ = ["FIRST", "Buckets", "Vocabulary"]

Uint64s = npt.NDArray[np.uint64]
Int64s = npt.NDArray[np.int64]
FIRST = UNSEEN + 1
"""The id of the first value."""
_NO_SUCH_FEATURE = "a value has the id of a feature that its field does not have"
_NO_TEXTS = np.zeros(0, dtype=np.uint8), np.zeros(0, dtype=np.int64)


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
        """(rows - 2,): the fingerprints of the values, from id 2 on; 0 for an id that is free (`features.renewal`)."""
        taken = self.slots[self.slots[:, 0] != 0]
        places = taken[:, 1] - np.uint64(FIRST)
        keys = np.zeros(self.rows - FIRST, dtype=np.uint64)
        if len(taken) > len(keys) or (places >= np.uint64(len(keys))).any():
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
        return [self._text(id_ - FIRST) for id_ in ids]

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
        slots = expect(arrays, "slots", np.uint64, (None, 2))
        counts = expect(arrays, "counts", np.int64, (None,))
        text_bytes = expect(arrays, "text_bytes", np.uint8, (None,))
        text_offsets = expect(arrays, "text_offsets", np.int64, (None,))
        if not len(slots) or len(counts) < FIRST or len(text_offsets) > len(counts) - FIRST + 1:
            raise ArtefactError(
                "a vocabulary is inconsistent",
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
            return cls(num_buckets, expect(arrays, "counts", np.int64, (FIRST + num_buckets,)))
        ids = expect(arrays, "ids", np.uint32, (None,))
        if len(ids) and ids.max() >= FIRST + num_buckets:
            raise ArtefactError(_NO_SUCH_FEATURE)
        return cls(num_buckets, expect(arrays, "counts", np.int64, ids.shape), ids)

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
