"""What every kind of field does: read cells, learn from them, number them. The kinds have modules of their own."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import xxhash

from fieldwise.features.cells import Arrays, Cells
from fieldwise.features.columns import Columns
from fieldwise.features.counting import CountedValues
from fieldwise.features.scratch import Scratch
from fieldwise.io.arrays import expect
from fieldwise.kernels.layout import MISSING, SINGLE, UNSEEN, VALUE, Uint32s
from fieldwise.schema import Field

__all__ = ["FieldEncoder"]


class FieldEncoder(ABC):
    """One field: from columns to cells, and from cells to local ids.

    A kind of field whose ids are known beforehand says how cells are read, with ids in place of fingerprints, and what
    ids stand for: learning is to count them. A kind that learns more overrides the rest.

    Parameters
    ----------
    field
        Its part of the schema.
    num_ids
        How many local ids it has before it learns: missing, unseen and its values.

    Attributes
    ----------
    field
        As given.
    form
        SINGLE, VALUE or BAG.
    fit_pass
        The pass over the training rows in which it learns: 1, or 2 for a cross that needs quantile bins.
    cells_pass
        The pass from which on its fingerprints are known: 2 for a number with quantile bins.
    strict
        Whether it may reject rows.
    lock
        Held while it learns from a chunk: cells are read by many threads, and learned from by one at a time.
    largest
        The size of the largest weight or number that enters a model as it is, in the training rows; 0 where none does.
    """

    form: int = SINGLE
    fit_pass: int = 1
    cells_pass: int = 1
    strict: bool = False

    def __init__(self, field: Field, num_ids: int = 0) -> None:
        self.field = field
        self.lock = threading.Lock()
        self.largest = 0.0
        self.seed = xxhash.xxh64_intdigest(field.name.encode())
        self._counts = np.zeros(num_ids, dtype=np.int64)
        self._base_counts: npt.NDArray[np.int64] | None = None  # while it grows: `_counts` are of the new rows

    @abstractmethod
    def read(self, columns: Columns, others: Mapping[str, Cells]) -> Cells:
        """Read the field's cells; `others` are the cells of the fields before it, by name."""

    @abstractmethod
    def texts(self, ids: Iterable[int]) -> list[str | None]:
        """Return what features stand for, for people; None for missing, unseen, and where no text was kept."""

    def fit_chunk(self, cells: Cells) -> CountedValues | None:
        """Learn from the cells of training rows; a field with a vocabulary says what it made of the values."""
        self._counts += np.bincount(cells.fingerprints.astype(np.int64), minlength=len(self._counts))
        return None

    def learned(self) -> Arrays:
        """Return what was learned in this pass, for `add_learned` in another process."""
        return {"counts": self._counts}

    def add_learned(self, arrays: Arrays) -> None:
        """Add what another encoder of the same field has learned from other rows in the same pass."""
        self._counts += arrays["counts"]

    def finish(self, scratch: Scratch) -> None:
        """Fix what was learned; large arrays come from `scratch`."""
        if self._base_counts is not None:
            self._counts += self._base_counts
            self._base_counts = None

    def extend(self, base: Self) -> None:
        """Go on from what a fitted encoder of the same field knows, before learning: its ids stay."""
        self._base_counts, self._counts = base.counts, np.zeros(base.rows, dtype=np.int64)

    def encode(self, cells: Cells) -> Uint32s:
        """Return the local ids of the N values of cells."""
        return cells.fingerprints.astype(np.uint32)

    def inputs(self, cells: Cells) -> npt.NDArray[np.float32] | None:
        """Return the inputs of a field of form VALUE, (B,), or of the N values of a bag; None where all are 1."""
        return cells.weights

    def condense(self, cells: Cells, learned: CountedValues | None) -> Cells:
        """Return cells that are encoded alike in fewer bytes; `learned` is what `fit_chunk` made of them, if called."""
        return cells

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """(rows,): how often each feature occurred in training."""
        return self._counts

    @property
    def rows(self) -> int:
        """Number of local ids."""
        return len(self.counts)

    def mean_inputs(self) -> npt.NDArray[np.float64]:
        """Return the mean input of each feature, (rows,): the share that it has of the field's values in training."""
        return self.counts / max(float(self.counts.sum()), 1.0)

    def training_shares(self) -> tuple[float, float]:
        """Return which share of the values was missing in training, and which share of new ones should be unseen."""
        counts = self.counts
        total = max(int(counts.sum()), 1)
        return float(counts[MISSING] / total), 0.0 if self.form == VALUE else float(counts[UNSEEN] / total)

    def arrays(self) -> Arrays:
        """Return the arrays that have to be saved."""
        return {"counts": self._counts}

    def describe(self) -> dict[str, Any]:
        """Return the rest that has to be saved, as JSON."""
        return {}

    def restore(self, described: Mapping[str, Any], arrays: Arrays) -> None:
        """Take over what `describe` and `arrays` returned; arrays may be read-only, and are not copied."""
        self._counts = expect(arrays, "counts", np.int64, self._counts.shape)
