"""``fieldwise predict``: write the identifiers and probabilities of raw rows."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from fieldwise.bundle import forgetting_remark, open_bundle
from fieldwise.data.log import Log, encode_log
from fieldwise.data.read_report import ReadReport, RejectTally, why_rejected
from fieldwise.errors import DataError
from fieldwise.events import Listener, Preparing, Warned, ignore
from fieldwise.io.files import atomic_file, remove_leftovers
from fieldwise.io.stores import local_path
from fieldwise.jobs.outputs import refuse_output
from fieldwise.jobs.predict.answers import Answers, What
from fieldwise.jobs.predict.coverage import Coverage, FieldCoverage
from fieldwise.jobs.predict.identifiers import ROW, Identifiers
from fieldwise.jobs.predict.rows import named_by, open_rows
from fieldwise.outcome import Outcome

__all__ = ["Prediction", "predict"]

STANDARD_OUTPUT = "-"


class Prediction(Outcome, msgspec.Struct, frozen=True, kw_only=True):
    """The result of writing predictions; rows read = examples + rejected rows.

    Attributes
    ----------
    out
        The file.
    examples, rejected_rows
        Number of rows with a probability, and of rows that could not be used.
    rejects
        The file that lists the rejected rows; None if there are none.
    identifier
        The first column of `out`: the ``id`` of the schema, or ``row`` if there is none or the rows lack it.
    fields
        Missing and unseen rates of every field, in these rows and in training.
    warnings
        Warnings about rates that differ strongly from those in training.
    label, classes, positive
        The label column, its classes in the order of the model, and the positive class of two.
    read
        Which rows, files and columns of the log were not used, and why.
    """

    out: str
    examples: int
    rejected_rows: int
    rejects: str | None
    read: ReadReport
    identifier: str = ROW
    fields: list[FieldCoverage] = []
    warnings: list[str] = []
    label: str | None = None
    classes: list[str] = []
    positive: str | None = None
    labels: list[str] = []
    largest_residual: float | None = None


def predict(
    run: str | Path,
    data: Any,
    out: str | Path,
    *,
    format: str | None = None,
    what: What = "probabilities",
    std: bool = False,
    as_served: bool = False,
    overwrite: bool = False,
    listen: Listener = ignore,
) -> Prediction:
    """Write the probability of every row of a raw log to a file, in the order of the rows.

    Parameters
    ----------
    run
        A run folder written by ``train``, the folder of a model in a comparison, or a bundle.
    data
        Files, globs or folders, ``-`` for standard input, or a table in memory (see `Predictor.predict`), with the
        columns of the fields; the label is not needed.
    out
        A ``.parquet`` or ``.csv`` file, or ``-`` for CSV on standard output. Its columns are the ``id`` column of the
        schema or else ``row`` (the row number over all files, from 1), and ``probability`` (of the positive class) or
        ``probability_CLASS`` for each of more than two classes. The metadata of a Parquet file contain
        ``fieldwise.label``, ``fieldwise.classes`` (a JSON list) and ``fieldwise.positive_class``.
    format
        File format; by default inferred from the file names, or else that of the training log.
    what
        ``probabilities``; ``contributions`` of the fields to the logit in their place, a column for each and last
        ``base``; or ``both`` (`serving.explain`). Contributions are for models of two classes.
    std
        Write ``logit_std``, too: the standard deviation of the logit of the probability by the posterior of a Bayesian
        factorisation machine (`serving.spread`).
    as_served
        Predict what a served model answers: with the fixed values of `schema.Field.serve_as`, whose columns need not be
        there.
    overwrite
        Allow `out` to replace any file; predictions and empty files are always replaced.
    listen
        Called with `events.Preparing` events.

    Raises
    ------
    ArtefactError
        The model is missing or damaged, or the output cannot be written.
    ConfigError
        The output has an unsupported format, or would overwrite another file; or the model cannot be explained, or has
        no posterior.
    DataError
        The log is missing or invalid, or has rows of which none can be used: `out` is not written then.

    Notes
    -----
    Rows that cannot be used (too short, an invalid number) are listed in ``OUT.rejects.jsonl`` and not in `out`. Values
    that did not occur in training are not errors: they have the unseen feature. A log without rows gives a file without
    rows.

    Examples
    --------
    >>> import fieldwise as fw
    >>> fw.predict("runs/first", "new.csv", "predictions.parquet").examples  # doctest: +SKIP
    12000
    """
    standard_output = str(out) == STANDARD_OUTPUT
    if standard_output and sys.stdout is None:
        raise DataError("there is no standard output", where=STANDARD_OUTPUT, fix="write to a file")
    out = local_path(out)
    if not standard_output and out.suffix.lower() not in (".parquet", ".csv"):
        raise DataError(
            "unsupported format for predictions", where=out, expected="a file name ending in .parquet or .csv"
        )
    rejects_path = out.with_name(out.name + ".rejects.jsonl")
    bundle = open_bundle(run)
    if remark := forgetting_remark(run):
        listen(Warned(remark))
    schema = bundle.encoder.schema
    with open_rows(bundle, data, format) as log:
        if not standard_output:
            mark = (
                "fieldwise.classes"
                if out.suffix.lower() == ".parquet"
                else (',"base"' if what == "contributions" else ',"probability')
            )
            refuse_output(out, log.files, named_by(data), bundle.folder, mark=None if overwrite else mark)
            refuse_output(rejects_path, log.files, model=bundle.folder, mark=None)
        answers = Answers(bundle, what, std)
        name = schema.id if schema.id in log.columns or not log.columns else None
        identifiers = Identifiers(name, log.types_of(name) if name else ())
        coverage = Coverage(bundle.encoder)
        rejects: list[dict[str, Any]] = []
        tally, num_examples = RejectTally(), 0
        started = time.perf_counter()

        def tables() -> Iterator[pa.Table]:
            nonlocal num_examples
            yield answers.no_rows(identifiers.column, identifiers.kind)
            extra = [name] if name else []
            for chunk, encoded in encode_log(log, bundle.encoder, labelled=False, extra=extra, served=as_served):
                of_chunk = chunk.reject_lines(encoded.rejects)
                rejects.extend(of_chunk)
                tally.add(of_chunk)
                coverage.add(encoded.batch, encoded.cut)
                num_examples += len(encoded.accepted)
                yield answers.table(identifiers.column, identifiers.of(chunk, encoded.accepted), encoded.batch)
                listen(Preparing("predict", num_examples, None, time.perf_counter() - started))
            if rejects and not num_examples:
                raise _none_usable(log, tally, None if standard_output else _write_rejects(rejects_path, rejects))

        if standard_output:
            _write_into(sys.stdout.buffer, pa.csv.CSVWriter, tables())
        else:
            remove_leftovers(out)
            with atomic_file(out) as file:
                is_parquet = out.suffix.lower() == ".parquet"
                _write_into(file, pa.parquet.ParquetWriter if is_parquet else pa.csv.CSVWriter, tables())
    rejects_to = None if standard_output else _write_rejects(rejects_path, rejects)
    warnings = coverage.warnings()
    if schema.id is not None and name is None:
        lacking = "some files have" if schema.id in log.layout.partial else "the rows have"
        warnings.insert(0, f"{lacking} no column {schema.id} (data.id); rows are numbered from 1 instead")
    if not num_examples:
        warnings.insert(0, "the log has no rows")
    return Prediction(
        out=str(out),
        examples=num_examples,
        rejected_rows=len(rejects),
        rejects=rejects_to,
        read=log.report(tally, num_examples, coverage.remarks(), rejects_to),
        identifier=identifiers.column,
        fields=coverage.shares(),
        warnings=warnings,
        largest_residual=answers.largest_residual,
        **schema.of_label,
    )


def _write_rejects(path: Path, rejects: Sequence[Mapping[str, Any]]) -> str | None:
    """Write the rows that could not be used, a line each, in place of those of before; return the file's name."""
    remove_leftovers(path)
    path.unlink(missing_ok=True)
    if not rejects:
        return None
    with atomic_file(path) as file:
        file.write(b"".join(msgspec.json.encode(line) + b"\n" for line in rejects))
    return str(path)


def _none_usable(log: Log, tally: RejectTally, rejects_to: str | None) -> DataError:
    return DataError(
        "no row can be used, so there is nothing to predict",
        where=log.first_files,
        expected="rows like those of the training log",
        got=why_rejected(tally, tally.num_rows),
        fix=f"{rejects_to} lists all of them" if rejects_to else None,
    )


def _write_into(file: Any, kind: Any, tables: Iterator[pa.Table]) -> None:
    first = next(tables)
    with kind(file, first.schema) as writer:
        for table in tables:
            writer.write_table(table)
