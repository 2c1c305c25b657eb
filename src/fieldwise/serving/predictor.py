"""A saved model in memory that answers raw rows."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.bundle import Bundle, open_bundle
from fieldwise.data.tables import as_table
from fieldwise.errors import DataError
from fieldwise.kernels.layout import Batch
from fieldwise.schema import Field
from fieldwise.serving.columns import Column, columns_of

__all__ = ["Predictor"]

Probabilities = npt.NDArray[np.floating[Any]]


class Predictor:
    """A saved model in memory that returns the probabilities of raw rows; thread-safe.

    Attributes
    ----------
    bundle
        The opened bundle.
    columns
        The raw columns that its fields read.

    Parameters
    ----------
    run
        A run folder written by ``train``, the folder of a model in a comparison, or a bundle.

    Raises
    ------
    ArtefactError
        There is no bundle, or it is damaged.
    """

    def __init__(self, run: str | Path) -> None:
        self.bundle: Bundle = open_bundle(run)
        self.columns: tuple[Column, ...] = columns_of(self.bundle.encoder.schema)
        self._model = import_module("fieldwise.models.load").load_model(self.bundle)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Return the predictor of a run or a bundle; see the class."""
        return cls(path)

    @property
    def version(self) -> str:
        """What identifies the saved model: the checksum of its manifest."""
        return self.bundle.digest

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the label, in the order of the model."""
        return self.bundle.encoder.schema.classes

    @property
    def positive(self) -> str | None:
        """The positive class, whose probability is predicted; None for more than two classes."""
        return self.bundle.encoder.schema.positive_class

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields of the model, crosses among them, in order."""
        return self.bundle.encoder.schema.fields

    def predict(self, rows: Any) -> Probabilities:
        """Return the probabilities of raw rows: (B,) of the positive class, or (B, O) for O > 2 classes.

        Parameters
        ----------
        rows
            A dict of columns or of the values of one row, a list of dicts, a pyarrow, pandas or polars table, or a
            numpy structured array (`data.tables`). Columns that no field reads are ignored.

        Raises
        ------
        DataError
            A column is missing, or a value cannot be read; the message names the row and the column.
        TypeError
            `rows` has an unsupported type.
        """
        table = as_table(rows, {column.name for column in self.columns}.__contains__)
        if not table.num_columns:  # an empty list
            table = pa.table({column.name: pa.array([], pa.string()) for column in self.columns})
        return self.score(self._encode(table))

    def encode_columns(self, columns: Mapping[str, Any]) -> Batch:
        """Return the features of B rows that are given by column: lists, numpy arrays or Arrow arrays, of length B.

        Raises
        ------
        DataError
            As `predict` does.
        """
        return self._encode(as_table(columns, {column.name for column in self.columns}.__contains__))

    def score(self, batch: Batch) -> Probabilities:
        """Return the probabilities of encoded rows, as `predict` does."""
        score = import_module("fieldwise.training.score")
        [probabilities] = score.predict_batches(self._model, [batch])
        found: Probabilities = probabilities
        return found

    def warm(self) -> None:
        """Verify the table, and compile or load what an answer needs."""
        self.bundle.verify()

    def close(self) -> None:
        """Let go of the files; the predictor answers no more."""
        del self._model

    def _encode(self, table: pa.Table) -> Batch:
        encoded = self.bundle.encoder.transform(table, labelled=False)
        for bad in encoded.rejects:
            raise DataError(bad.reason, where=f"row {bad.row + 1}, column {bad.column}", got=bad.value)
        return encoded.batch
