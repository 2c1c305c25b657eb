"""A saved model in memory, for repeated predictions."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fieldwise.bundle import bundle_digest, open_bundle
from fieldwise.data.tables import as_table
from fieldwise.errors import ArtefactError, ConfigError, DataError
from fieldwise.io.files import explaining, sync_folder
from fieldwise.jobs.predict.identifiers import ROW
from fieldwise.jobs.predict.predict import no_rows, prediction_table
from fieldwise.models.load import load_model
from fieldwise.training.score import predict_batches

__all__ = ["Predictor"]


class Predictor:
    """A saved model in memory that predicts the probabilities of raw rows; thread-safe.

    Parameters
    ----------
    run
        A run folder written by ``train``, the folder of a model in a comparison, or a bundle.

    Attributes
    ----------
    bundle, model
        The opened bundle, and the torch module.

    Raises
    ------
    ArtefactError
        There is no bundle, or it is damaged.

    Notes
    -----
    A pickled Predictor contains the path and the checksum of the bundle, not the weights: to unpickle it, the same
    bundle must exist at the same path.

    The same table gives bitwise identical probabilities in every call and in every process with the same number of
    threads. A row alone and the same row within a table, or other numbers of threads, agree within float32 rounding
    (about 1e-7), because libraries use different kernels for matrices of different sizes.

    Examples
    --------
    >>> import fieldwise as fw
    >>> predictor = fw.Predictor("runs/first")  # doctest: +SKIP
    >>> predictor.predict({"user_id": "u7", "item_id": "i3"})["probability"]  # doctest: +SKIP
    """

    def __init__(self, run: str | Path) -> None:
        self.bundle = open_bundle(run)
        self.model = load_model(self.bundle)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the label, in the order of the model."""
        return self.bundle.encoder.schema.classes

    @property
    def positive(self) -> str | None:
        """The positive class, whose probability is predicted; None for more than two classes."""
        return self.bundle.encoder.schema.positive_class

    def predict(self, rows: Any) -> pa.Table:
        """Return the identifiers and probabilities of raw rows, as a table with the columns that `predict` writes.

        Parameters
        ----------
        rows
            A pyarrow, pandas or polars table, a dict of columns or of the values of one row, a list of dicts, or a
            numpy structured array (`data.tables`). Columns that no field reads are ignored.

        Raises
        ------
        DataError
            A column is missing, or a row is invalid; the message names the row and the column.
        TypeError
            `rows` has an unsupported type.
        """
        schema = self.bundle.encoder.schema
        table = as_table(rows, {*schema.columns, schema.id}.__contains__)
        if not table.num_rows and not table.num_columns:  # an empty list
            return no_rows(self.bundle, schema.id or ROW, pa.string() if schema.id else pa.int64())
        encoded = self.bundle.encoder.transform(table, labelled=False)
        for bad in encoded.rejects:
            raise DataError(bad.reason, where=f"row {bad.row + 1}, column {bad.column}", got=bad.value)
        [probabilities] = predict_batches(self.model, [encoded.batch])
        if schema.id is not None and schema.id in table.column_names:
            return prediction_table(schema.id, table.column(schema.id), probabilities, schema)
        return prediction_table(ROW, pa.array(np.arange(table.num_rows) + 1), probabilities, schema)

    def save(self, folder: str | Path) -> None:
        """Copy the bundle, which is everything that a server needs, atomically to a new folder.

        Raises
        ------
        ConfigError
            The folder already exists.
        ArtefactError
            The bundle has been replaced since it was opened, or the copy cannot be written.
        """
        folder = Path(folder)
        if os.path.lexists(folder) and not (folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir())):
            raise ConfigError("the output already exists", where=folder, fix="name a new folder")
        temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
        try:
            with explaining(folder):
                temporary.mkdir(parents=True)
                for name in self.bundle.files:
                    shutil.copyfile(self.bundle.folder / name, temporary / name)
                sync_folder(temporary)
            _refuse_other(temporary, self.bundle.digest, self.bundle.folder)
            with explaining(folder):
                temporary.replace(folder)
                sync_folder(folder.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path and the checksum."""
        return _reopen, (os.path.abspath(self.bundle.folder), self.bundle.digest)


def _reopen(folder: str, digest: str) -> Predictor:
    """Return what was pickled."""
    if not Path(folder).is_dir():
        raise ArtefactError(
            "the model of a pickled Predictor was not found",
            where=folder,
            fix="copy the bundle to the same path on this machine, or open it with Predictor(path)",
        )
    predictor = Predictor(folder)
    _refuse_other(Path(folder), digest, Path(folder), predictor.bundle.digest)
    return predictor


def _refuse_other(folder: Path, digest: str, named: Path, found: str | None = None) -> None:
    found = found or bundle_digest(folder)
    if found != digest:
        raise ArtefactError(
            "the model has been replaced since it was opened",
            where=named,
            expected=f"checksum {digest}",
            got=found,
            fix="open it again with Predictor(path)",
        )
