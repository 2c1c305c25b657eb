"""A saved model in memory, for programs that ask it again and again."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fieldwise.bundle import bundle_seal, open_bundle
from fieldwise.data.tables import as_table
from fieldwise.errors import ArtefactError, ConfigError, DataError
from fieldwise.io.files import explaining, sync_folder
from fieldwise.jobs.predict.identifiers import ROW
from fieldwise.jobs.predict.predict import no_rows, prediction_table
from fieldwise.models.load import load_model
from fieldwise.training.score import predict_batches

__all__ = ["Predictor"]


class Predictor:
    """A saved model in memory: raw rows in, probabilities out; may be asked by many threads at once.

    Parameters
    ----------
    run
        A run folder of ``train``, a model's folder in a comparison, or a bundle.

    Attributes
    ----------
    bundle, model
        What was saved, and the torch module.

    Raises
    ------
    ArtefactError
        There is no whole bundle.

    Notes
    -----
    Pickling keeps the path of the bundle and its checksum, not the weights: whoever unpickles it needs the same bundle
    under the same path.

    The same table gives the same probabilities, bit for bit, at every call and in every process with as many threads.
    A row alone and the same row among others, or another number of threads, agree within the rounding of float32 (some
    1e-7 of a probability), not bit for bit: libraries take matrices of another height by other kernels.
    """

    def __init__(self, run: str | Path) -> None:
        self.bundle = open_bundle(run)
        self.model = load_model(self.bundle)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the label, in the model's order."""
        return self.bundle.encoder.schema.classes

    @property
    def positive(self) -> str | None:
        """The class that ``probability`` is of, the second of two; None of more, each of which has a column."""
        return self.bundle.encoder.schema.positive_class

    def predict(self, rows: Any) -> pa.Table:
        """Return the identifiers and probabilities of raw rows, in the columns that `predict` writes.

        Parameters
        ----------
        rows
            A pyarrow, pandas or polars table, a dict of columns or of the values of one row, a list of dicts, or a
            numpy structured array (`data.tables`). Columns that no field reads are passed over.

        Raises
        ------
        DataError
            A column is missing, or a row cannot be used: which, where and why.
        TypeError
            The rows are nothing of the kind.
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
        """Copy the bundle, which is all that a server needs, to a new folder, whole or not at all.

        Raises
        ------
        ConfigError
            There is something already.
        ArtefactError
            The bundle was replaced by another since it was opened, or the copy cannot be written.
        """
        folder = Path(folder)
        if os.path.lexists(folder) and not (folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir())):
            raise ConfigError("there is something in this place already", where=folder, fix="name a new folder")
        temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
        try:
            with explaining(folder):
                temporary.mkdir(parents=True)
                for name in self.bundle.files:
                    shutil.copyfile(self.bundle.folder / name, temporary / name)
                sync_folder(temporary)
            _refuse_other(temporary, self.bundle.seal, self.bundle.folder)
            with explaining(folder):
                temporary.replace(folder)
                sync_folder(folder.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path and the checksum."""
        return _reopen, (os.path.abspath(self.bundle.folder), self.bundle.seal)


def _reopen(folder: str, seal: str) -> Predictor:
    """Return what was pickled."""
    if not Path(folder).is_dir():
        raise ArtefactError(
            "the model of a pickled Predictor is not here",
            where=folder,
            fix="copy the bundle to the same path on this machine, or open it with Predictor(path)",
        )
    predictor = Predictor(folder)
    _refuse_other(Path(folder), seal, Path(folder), predictor.bundle.seal)
    return predictor


def _refuse_other(folder: Path, seal: str, named: Path, found: str | None = None) -> None:
    found = found or bundle_seal(folder)
    if found != seal:
        raise ArtefactError(
            "the model is not the one that was opened: its folder holds another now",
            where=named,
            expected=f"checksum {seal}",
            got=found,
            fix="open it again with Predictor(path)",
        )
