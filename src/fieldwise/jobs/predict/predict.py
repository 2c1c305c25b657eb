"""``fieldwise predict``: raw rows in, identifiers and probabilities out."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from fieldwise.bundle import Bundle, open_bundle
from fieldwise.data.csv_quotes import line_end_remarks
from fieldwise.data.log import encode_log
from fieldwise.data.read_report import ReadReport, RejectTally
from fieldwise.errors import DataError
from fieldwise.events import Listener, Preparing, ignore
from fieldwise.io.files import atomic_file, remove_leftovers
from fieldwise.io.stores import local_path
from fieldwise.jobs.outputs import refuse_output
from fieldwise.jobs.predict.coverage import Coverage, FieldShares
from fieldwise.jobs.predict.identifiers import ROW, Identifiers
from fieldwise.jobs.predict.rows import named_by, open_rows
from fieldwise.models.load import load_model
from fieldwise.schema import Schema
from fieldwise.training.score import predict_batches

__all__ = ["Prediction", "no_rows", "predict", "prediction_table"]

STANDARD_OUTPUT = "-"


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """What was written where; rows read = examples + rejected.

    Attributes
    ----------
    out
        The file.
    examples, rejected_rows
        Rows with a probability, and rows that could not be used.
    rejects
        The file that names those; None where there are none.
    identifier
        The first column of `out`: the schema's ``id``, or ``row`` where there is none or the rows come without it.
    fields
        Of every field, which share of its values was missing or unseen, in these rows and in training.
    warnings
        What is far from training, as sentences.
    label, classes, positive
        The column, its classes in the model's order, and the one of two that a probability is of.
    read
        What of the log was not used, and why.
    """

    out: str
    examples: int
    rejected_rows: int
    rejects: str | None
    read: ReadReport
    identifier: str = ROW
    fields: list[FieldShares] = []
    warnings: list[str] = []
    label: str | None = None
    classes: list[str] = []
    positive: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def predict(
    run: str | Path,
    data: Any,
    out: str | Path,
    *,
    format: str | None = None,
    overwrite: bool = False,
    listen: Listener = ignore,
) -> Prediction:
    """Write a probability for every row of a raw log, in its order.

    Parameters
    ----------
    run
        A run folder of ``train``, a model's folder in a comparison, or a bundle.
    data
        Files, globs or folders, ``-`` for standard input, or a table in memory (see `Predictor.predict`); they need the
        columns of the fields, not the label.
    out
        A ``.parquet`` or ``.csv`` file, none of those that are read; ``-``: CSV on standard output. Its columns: the
        ``id`` column of the schema, or else ``row``, the row's number over all files from 1 on; then ``probability``
        (of the positive class), or ``probability_CLASS`` for each of more than two classes. The metadata of a Parquet
        file say which class that is: ``fieldwise.label``, ``fieldwise.classes`` (a JSON list) and
        ``fieldwise.positive_class``.
    format
        Of the files; unless given, what their names tell, or else what the training log was.
    overwrite
        Replace whatever file `out` is. Predictions, and empty files, are replaced in any case.

    Raises
    ------
    ArtefactError, ConfigError, DataError
        The model, the output or the log is not what it must be.

    Notes
    -----
    A row that cannot be used (too short, a number that is none) has no line in `out` but one in ``OUT.rejects.jsonl``.
    Values never seen in training are no error: they have a feature of their own. A log without rows gives a file
    without rows.
    """
    standard_output = str(out) == STANDARD_OUTPUT
    if standard_output and sys.stdout is None:
        raise DataError("there is no standard output", where=STANDARD_OUTPUT, fix="name a file")
    out = local_path(out)
    if not standard_output and out.suffix.lower() not in (".parquet", ".csv"):
        raise DataError("predictions are written as Parquet or CSV", where=out, expected="a name in .parquet or .csv")
    rejects_path = out.with_name(out.name + ".rejects.jsonl")
    bundle = open_bundle(run)
    schema = bundle.encoder.schema
    with open_rows(bundle, data, format) as log:
        if not standard_output:
            mark = "fieldwise.classes" if out.suffix.lower() == ".parquet" else ',"probability'
            refuse_output(out, log.files, named_by(data), bundle.folder, mark=None if overwrite else mark)
            refuse_output(rejects_path, log.files, model=bundle.folder, mark=None)
        model = load_model(bundle)
        name = schema.id if schema.id in log.columns or not log.columns else None
        identifiers = Identifiers(name, log.types_of(name) if name else ())
        coverage = Coverage(bundle.encoder)
        rejects: list[dict[str, Any]] = []
        num_examples = 0
        started = time.perf_counter()

        def tables() -> Iterator[pa.Table]:
            nonlocal num_examples
            yield no_rows(bundle, identifiers.column, identifiers.kind)
            for chunk, encoded in encode_log(log, bundle.encoder, labelled=False, extra=[name] if name else []):
                of_chunk = chunk.reject_lines(encoded.rejects)
                rejects.extend(of_chunk)
                coverage.add(encoded.batch, encoded.cut)
                num_examples += len(encoded.accepted)
                [probabilities] = predict_batches(model, [encoded.batch])
                key = identifiers.of(chunk, encoded.accepted)
                yield prediction_table(identifiers.column, key, probabilities, schema)
                listen(Preparing("predict", num_examples, None, time.perf_counter() - started))

        if standard_output:
            _write_into(sys.stdout.buffer, pa.csv.CSVWriter, tables())
        else:
            _write(out, tables())
    rejects_to = str(rejects_path) if rejects and not standard_output else None
    if not standard_output:
        remove_leftovers(rejects_path)
        rejects_path.unlink(missing_ok=True)
    if rejects_to:
        with atomic_file(rejects_path) as file:
            file.write(b"".join(msgspec.json.encode(line) + b"\n" for line in rejects))
    tally = RejectTally()
    tally.add(rejects)
    warnings = coverage.warnings()
    if schema.id is not None and name is None:
        lacking = "some files have" if schema.id in log.layout.partial else "the rows have"
        warnings.insert(0, f"{lacking} no column {schema.id} (data.id): all rows are numbered from 1 on")
    if not num_examples:
        warnings.insert(0, "no row could be used" if rejects else "the log has no rows")
    return Prediction(
        out=str(out),
        examples=num_examples,
        rejected_rows=len(rejects),
        rejects=rejects_to,
        read=tally.report(
            rows_read=num_examples + len(rejects),
            files=len(log.files),
            files_left_out=log.left_out,
            remarks=[*line_end_remarks(log.line_ends), *coverage.remarks()],
            rejects=rejects_to,
        ),
        identifier=identifiers.column,
        fields=coverage.shares(),
        warnings=warnings,
        **schema.of_label,
    )


def _write(out: Path, tables: Iterator[pa.Table]) -> None:
    """Write tables of one schema, one or more, into a file."""
    remove_leftovers(out)
    with atomic_file(out) as file:
        _write_into(file, pa.parquet.ParquetWriter if out.suffix.lower() == ".parquet" else pa.csv.CSVWriter, tables)


def _write_into(file: Any, kind: Any, tables: Iterator[pa.Table]) -> None:
    first = next(tables)
    with kind(file, first.schema) as writer:
        for table in tables:
            writer.write_table(table)


def no_rows(bundle: Bundle, name: str, kind: pa.DataType) -> pa.Table:
    """Return the predictions for no rows, with identifiers of a name and a type."""
    classes = bundle.encoder.schema.classes
    probabilities = np.zeros((0,) if len(classes) == 2 else (0, len(classes)), dtype=bundle.dtype)
    return prediction_table(name, pa.array([], kind), probabilities, bundle.encoder.schema)


def prediction_table(name: str, key: Any, probabilities: Any, schema: Schema) -> pa.Table:
    """Return identifiers and probabilities under the names that a file of predictions has."""
    if probabilities.ndim == 1:
        columns = {"probability": probabilities}
    else:
        columns = {f"probability_{text}": probabilities[:, number] for number, text in enumerate(schema.classes)}
    metadata = {"fieldwise.label": schema.label, "fieldwise.classes": msgspec.json.encode(schema.classes)}
    if schema.positive_class is not None:
        metadata["fieldwise.positive_class"] = schema.positive_class
    return pa.table({name: key, **columns}).replace_schema_metadata(metadata)
