"""``fieldwise predict``: raw rows in, identifiers and probabilities out."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from fieldwise.bundle import open_bundle
from fieldwise.data.chunk import FEW_BYTES, Chunk
from fieldwise.data.csv import CsvOptions
from fieldwise.data.encode import encode_log, rejected_rows
from fieldwise.data.log import open_log
from fieldwise.data.read_report import ReadReport, RejectTally
from fieldwise.data.stores import local_path
from fieldwise.errors import DataError
from fieldwise.files import atomic_file, remove_leftovers
from fieldwise.models.load import load_model
from fieldwise.training.events import Listener, Preparing, ignore
from fieldwise.training.score import predict_batches

__all__ = ["Prediction", "Predictor", "predict"]


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """What was written where; rows read = examples + rejected. `read` says why rows were rejected."""

    out: str
    examples: int
    rejected_rows: int
    rejects: str | None
    read: ReadReport

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def predict(
    run: str | Path,
    data: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    format: str | None = None,
    listen: Listener = ignore,
) -> Prediction:
    """Write a probability for every row of a raw log, in its order.

    Parameters
    ----------
    run
        A run folder of ``train``, a model's folder in a comparison, or a bundle.
    data
        Files, globs or folders; they need the columns of the fields, not the label.
    out
        A ``.parquet`` or ``.csv`` file. Its columns: the ``id`` column of the schema, or else ``row``, the row's number
        over all files from 1 on; then ``probability`` (of the second class), or ``probability_CLASS`` for each of more
        than two classes.
    format
        Of the files, where their names do not tell.

    Raises
    ------
    ArtefactError, DataError
        The model or the log is not what it must be.

    Notes
    -----
    A row that cannot be used (too short, a number that is none) has no line in `out` but one in ``OUT.rejects.jsonl``.
    Values never seen in training are no error: they have a feature of their own.
    """
    out = local_path(out)
    if out.suffix not in (".parquet", ".csv"):
        raise DataError("predictions are written as Parquet or CSV", where=out, expected="a name in .parquet or .csv")
    bundle = open_bundle(run)
    model = load_model(bundle)
    csv = msgspec.convert(bundle.csv, CsvOptions)
    log = open_log(data, format=format, csv=csv, chunk_bytes=FEW_BYTES)
    identifier = bundle.encoder.schema.id
    rejects: list[dict[str, Any]] = []
    num_examples = 0
    started = time.perf_counter()

    def tables() -> Iterator[pa.Table]:
        nonlocal num_examples
        counter = _RowCounter()
        for chunk, encoded in encode_log(log, bundle.encoder, labelled=False, extra=[identifier] if identifier else []):
            rejects.extend(rejected_rows(chunk, encoded.rejects))
            if identifier:
                key = chunk.table.column(identifier).take(pa.array(encoded.accepted))
            else:
                key = pa.array(counter.numbers(chunk)[encoded.accepted])
            num_examples += len(encoded.accepted)
            [probabilities] = predict_batches(model, [encoded.batch])
            yield _table(identifier or "row", key, probabilities, bundle.encoder.schema.classes)
            listen(Preparing("predict", num_examples, None, time.perf_counter() - started))

    out.parent.mkdir(parents=True, exist_ok=True)
    rejects_path = out.with_name(out.name + ".rejects.jsonl")
    for path in (out, rejects_path):
        remove_leftovers(path)
    with atomic_file(out) as file:
        writer: Any = None
        for table in tables():
            if writer is None:
                kind = pa.parquet.ParquetWriter if out.suffix == ".parquet" else pa.csv.CSVWriter
                writer = kind(file, table.schema)
            writer.write_table(table)
        if writer is not None:
            writer.close()
    rejects_path.unlink(missing_ok=True)
    if rejects:
        with atomic_file(rejects_path) as file:
            file.write(b"".join(msgspec.json.encode(line) + b"\n" for line in rejects))
    tally = RejectTally()
    tally.add(rejects)
    return Prediction(
        out=str(out),
        examples=num_examples,
        rejected_rows=len(rejects),
        rejects=str(rejects_path) if rejects else None,
        read=tally.report(
            rows_read=num_examples + len(rejects),
            files=len(log.files),
            files_left_out=log.left_out,
            rejects=str(rejects_path) if rejects else None,
        ),
    )


class Predictor:
    """A saved model in memory: raw rows in, probabilities out.

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
    """

    def __init__(self, run: str | Path) -> None:
        self.bundle = open_bundle(run)
        self.model = load_model(self.bundle)

    def predict(self, table: pa.Table) -> pa.Table:
        """Return the identifiers and probabilities of a table of raw rows, in the columns that `predict` writes.

        Raises
        ------
        DataError
            A row cannot be used: which, where and why.
        """
        encoded = self.bundle.encoder.transform(table, labelled=False)
        for bad in encoded.rejects:
            raise DataError(bad.reason, where=f"row {bad.row + 1}, column {bad.column}", got=bad.value)
        schema = self.bundle.encoder.schema
        [probabilities] = predict_batches(self.model, [encoded.batch])
        if schema.id is not None and schema.id in table.column_names:
            return _table(schema.id, table.column(schema.id), probabilities, schema.classes)
        return _table("row", pa.array(np.arange(table.num_rows) + 1), probabilities, schema.classes)

    def save(self, folder: str | Path) -> None:
        """Copy the bundle, which is all that a server needs, to a new folder."""
        shutil.copytree(self.bundle.folder, folder)


class _RowCounter:
    """Numbers the rows of all files in one line, from 1 on; those that could not be read count too."""

    def __init__(self) -> None:
        self.file, self.before, self.last = 0, 0, 0

    def numbers(self, chunk: Chunk) -> npt.NDArray[np.int64]:
        if chunk.file != self.file:
            self.file, self.before = chunk.file, self.before + self.last
        numbers = [*chunk.rows[-1:].tolist(), *(unread.row for unread in chunk.rejects)]
        self.last = max(numbers, default=self.last)
        return self.before + chunk.rows


def _table(name: str, key: Any, probabilities: Any, classes: Sequence[str]) -> pa.Table:
    if probabilities.ndim == 1:
        return pa.table({name: key, "probability": probabilities})
    columns = {f"probability_{text}": probabilities[:, number] for number, text in enumerate(classes)}
    return pa.table({name: key, **columns})
