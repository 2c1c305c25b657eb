"""``fieldwise evaluate``: the metrics of a saved model on a raw log."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from fieldwise.bundle import forgetting_remark, open_bundle
from fieldwise.data.find_files import find_files
from fieldwise.data.log import encode_log
from fieldwise.data.read_report import ReadReport, RejectTally, why_rejected
from fieldwise.errors import DataError, UserError
from fieldwise.events import Listener, Preparing, Warned, ignore
from fieldwise.io import stores
from fieldwise.jobs.by_day import DayMetrics, MetricsByDay
from fieldwise.jobs.by_field import SlicesByField
from fieldwise.jobs.predict.answers import probabilities_of
from fieldwise.jobs.predict.coverage import Coverage, FieldCoverage
from fieldwise.jobs.predict.rows import open_rows
from fieldwise.jobs.run import RUN_NAME, read_config
from fieldwise.metrics import BinaryMetrics, Metrics, accumulator
from fieldwise.metrics.result import short_repr
from fieldwise.metrics.slices import FieldSlices, Slice

__all__ = ["Evaluation", "evaluate"]

_NAMED = 3


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """The metrics of a model on a log, and for two classes its calibration by slices.

    Attributes
    ----------
    metrics
        Metrics over all usable rows.
    rejected_rows
        Number of rows that could not be used.
    by_probability
        Calibration in ten bins of equal weight.
    by_field
        Calibration by the values of every field with at most 1,000 values, and of the fields in `by`
        (`metrics.slices`).
    by_day
        Metrics by the day of the examples' time, where that was asked for.
    label, classes, positive
        The label column, its classes in the order of the model, and the positive class of two.
    labels
        The columns of several labels: `metrics` are those of the first, with each in `Metrics.labels`, and there is no
        calibration by slices. Empty where there is one.
    read
        Which rows, files and columns of the log were not used, and why.
    fields, warnings
        See `jobs.predict.predict.Prediction`.
    """

    metrics: Metrics
    rejected_rows: int
    read: ReadReport
    by_probability: list[Slice] = []
    by_field: list[FieldSlices] = []
    by_day: list[DayMetrics] = []
    fields: list[FieldCoverage] = []
    warnings: list[str] = []
    label: str | None = None
    classes: list[str] = []
    positive: str | None = None
    labels: list[str] = []

    def __repr__(self) -> str:
        return short_repr(self, ("metrics", "rejected_rows", "warnings"))

    def _repr_html_(self) -> str:
        from fieldwise.jobs.report.lines import evaluation_html

        return evaluation_html(self)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        del plain["labels"]  # those of the metrics are told
        return {**plain.pop("metrics"), **plain}


def evaluate(
    run: str | Path,
    data: Any,
    *,
    format: str | None = None,
    by: Sequence[str] = (),
    by_day: bool = False,
    time_column: str | None = None,
    cutoff: int = 10,
    listen: Listener = ignore,
) -> Evaluation:
    """Evaluate a saved model on a labelled raw log.

    Parameters
    ----------
    run
        A run folder written by ``train``, the folder of a model in a comparison, or a bundle.
    data
        Files, globs or folders, ``-`` for standard input, or a table in memory (see `Predictor.predict`), with the
        columns of the fields and of the label.
    format
        File format; by default inferred from the file names, or else that of the training log.
    by
        Fields by whose values calibration is reported, whatever their number of values.
    by_day
        Whether metrics are reported for each day, in UTC.
    time_column
        The column of times that days are taken from; by default that of ``data.time``.
    cutoff
        The number of first ranks that count for NDCG, hit rate and recall, where there are groups; 1 or more.
    listen
        Called with `events.Preparing` events.

    Raises
    ------
    ConfigError
        A field in `by` does not exist, or is a number without bins; `by_day`, and there is no column of times.
    ArtefactError
        The model is missing or damaged.
    DataError
        The log is missing or invalid, or no row can be used.

    Examples
    --------
    >>> import fieldwise as fw
    >>> fw.evaluate("runs/first", "tomorrow.parquet").metrics.auc  # doctest: +SKIP
    0.8731
    """
    bundle = open_bundle(run)
    if remark := forgetting_remark(run):
        listen(Warned(remark))
    answer = probabilities_of(bundle)
    coverage = Coverage(bundle.encoder)
    accepted, tally = 0, RejectTally()
    started = time.perf_counter()

    classes = bundle.encoder.schema.classes
    labels = [label.label for label in bundle.encoder.schema.labels]
    metrics = accumulator(len(classes), labels, cutoff)
    slices = SlicesByField(bundle.encoder, by) if len(classes) == 2 and not labels else None
    days = MetricsByDay(bundle.encoder.schema, time_column, cutoff) if by_day or time_column is not None else None
    extra = () if days is None else (days.column,)
    with open_rows(bundle, data, format) as log:
        log.layout.require(extra)
        for chunk, encoded in encode_log(log, bundle.encoder, labelled=True, extra=extra):
            tally.add(chunk.reject_lines(encoded.rejects))
            coverage.add(encoded.batch, encoded.cut)
            assert encoded.labels is not None, "the rows are read with their labels"
            predicted = answer(encoded.batch)
            metrics.update(predicted, encoded.labels, encoded.weights, encoded.groups)
            if slices is not None:
                slices.update(encoded.batch, predicted, encoded.labels, encoded.weights)
            if days is not None:
                days.update(chunk.table, encoded.accepted, predicted, encoded.examples)
            accepted += len(encoded.accepted)
            listen(Preparing("evaluate", accepted, None, time.perf_counter() - started))
    if not accepted:
        raise DataError(
            "there are no rows to evaluate",
            where=log.first_files,
            expected="rows with a label",
            got=why_rejected(tally, tally.num_rows) or "no rows",
        )
    figures = metrics.compute()
    learned = _learned_warning(run, log.files)
    return Evaluation(
        metrics=figures,
        rejected_rows=tally.num_rows,
        read=log.report(tally, accepted, coverage.remarks()),
        by_probability=metrics.by_probability() if isinstance(metrics, BinaryMetrics) else [],
        by_field=slices.compute() if slices is not None else [],
        by_day=days.compute() if days is not None else [],
        fields=coverage.shares(),
        warnings=[*([learned] if learned else []), *figures.warnings("these rows"), *coverage.warnings()],
        **bundle.encoder.schema.of_label,
    )


def _learned_warning(run: str | Path, files: Iterable[str]) -> str | None:
    """Return a warning where some files are of the log that a run was trained on; None where none is.

    A file that was written after the run is another log. A copy under another path is not recognised, and nothing is
    known of a bundle that lies in no run.

    Parameters
    ----------
    run
        A run folder, or a bundle in one.
    files
        Of a log (`data.log.Log`).
    """
    training = _training_files(Path(run))
    known = [path for path in files if _place(path) in training]
    if not known:
        return None
    named = ", ".join(known[:_NAMED]) + (f" and {len(known) - _NAMED} more" if len(known) > _NAMED else "")
    return (
        f"the model was trained on rows of {named}, so metrics are better here than on rows that it has not seen: "
        "give a log that it was not trained on"
    )


def _training_files(folder: Path) -> set[str]:
    """Return the files with training rows of the run that a model is of, as they were when it was trained."""
    folder = next((each for each in (folder, *folder.absolute().parents[:2]) if (each / RUN_NAME).is_file()), folder)
    with suppress(UserError, OSError):  # a run of an earlier version, a log that has gone
        config, _ = read_config(folder)
        trained_at = (folder / RUN_NAME).stat().st_mtime_ns
        found = find_files(config.paths("train"), config.data.format, encoding=config.data.csv.encoding).sources
        return {
            _place(source.path)
            for source in found
            if stores.is_remote(source.path) or os.stat(source.path).st_mtime_ns <= trained_at
        }
    return set()


def _place(path: str) -> str:
    return path if stores.is_remote(path) else os.path.realpath(path)
