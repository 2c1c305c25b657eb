"""A split into folds: one is for testing, the next for validation, the others to train on (``data.folds``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xxhash

from fieldwise.data.chunk import Chunk, RejectedRow
from fieldwise.data.split import PARTS, Parts, uniform
from fieldwise.features.canonical import fingerprints
from fieldwise.features.columns import Columns

__all__ = ["SplitByFold"]


@dataclass(frozen=True)
class SplitByFold:
    """Deal rows to folds by a hash of their place, or whole groups by a hash of their name's canonical text, whose
    type may be another in every file.

    Every row is for testing in one of the splits with `fold` 0 to `folds` - 1, and in no other.

    Attributes
    ----------
    folds
        3 or more.
    fold
        The one for testing, 0 to `folds` - 1; the next one, after the last the first, is for validation.
    seed
        0 to 2^64 - 1.
    column
        The group: its rows are in one fold, those without a group together. None: every row for itself.

    Examples
    --------
    >>> import pyarrow as pa
    >>> chunk = Chunk(pa.table({"user": ["a", "b", "a"]}), "a.csv", 0, np.arange(1, 4), [])
    >>> tests = [SplitByFold(3, fold, column="user").parts(chunk)[0] == 2 for fold in range(3)]
    >>> np.sum(tests, axis=0).tolist(), all(test[0] == test[2] for test in tests)
    ([1, 1, 1], True)
    """

    folds: int
    fold: int
    seed: int = 0
    column: str | None = None
    remarks: ClassVar[list[str]] = []

    def parts(self, chunk: Chunk) -> tuple[Parts, list[RejectedRow]]:
        """See `data.split.Split`."""
        if self.column is None:
            own = (uniform(chunk, self.seed) * self.folds).astype(np.int64)
        else:
            names = fingerprints(Columns(chunk.table).text(self.column), self.seed)
            names[names == 0] = xxhash.xxh64_intdigest(b"", self.seed)  # no group
            own = (names % np.uint64(self.folds)).astype(np.int64)
        parts = np.full(len(own), PARTS.index("train"), dtype=np.uint8)
        parts[own == self.fold] = PARTS.index("test")
        parts[own == (self.fold + 1) % self.folds] = PARTS.index("valid")
        return parts, []
