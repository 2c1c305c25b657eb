"""All statistics of a log, accumulated chunk by chunk, and the survey that follows from them."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.data.csv_quotes import line_end_remarks
from fieldwise.data.find_files import repeat_remarks
from fieldwise.data.read_report import RejectTally, why_rejected
from fieldwise.data.split import PARTS, SplitLog
from fieldwise.errors import DataError
from fieldwise.features.classes import decide_classes, guess_positive
from fieldwise.features.labels import Spelling, count_labels, merge_spellings
from fieldwise.features.parse import parse_text
from fieldwise.features.target import MAX_CLASSES
from fieldwise.profile.infer.roles import group_remarks, no_inputs
from fieldwise.profile.survey.alone import Sides
from fieldwise.profile.survey.cells import HELD_OUT, NUM_SETS, PART_OF_SET, TEST, TRAIN, VALID, Totals, cell_of
from fieldwise.profile.survey.cells import MAX_CLASSES as MAX_MEASURED
from fieldwise.profile.survey.column import ColumnCounts, ReadColumn, SurveyedColumn, label_rate
from fieldwise.profile.survey.findings import findings
from fieldwise.profile.survey.result import Finding, PartSummary, Survey
from fieldwise.profile.survey.rows import RepeatCounts
from fieldwise.schema import Schema

__all__ = ["Counts", "ReadChunk"]

_VALUES_IN_ALL = 1 << 23
"""Distinct values that are counted exactly, of all columns together."""


class ReadChunk(NamedTuple):
    """The result of reading a chunk, of which B rows are usable."""

    num_rows: int
    num_chosen: int
    rejects: list[dict[str, Any]]
    """Rejected rows, as lines of a rejects file."""
    path: str
    labels: list[str]
    """The classes of the chunk."""
    classes: npt.NDArray[np.int64]
    """(B,) index into `labels`."""
    sets: npt.NDArray[np.int64]
    columns: list[ReadColumn]
    zero_weights: int


class Counts:
    """All statistics of a log, accumulated chunk by chunk."""

    def __init__(
        self, schema: Schema, surveyed: list[SurveyedColumn], left_out: dict[str, str], sample: pa.Table
    ) -> None:
        self.schema, self._left_out = schema, left_out
        # The classes as spelled in the first rows; later labels belong to one of them or are new classes.
        named = schema.classes or (() if schema.positive is None else (schema.positive,))
        labels = count_labels(sample, schema.label, named, schema.missing)
        self.stated = Spelling(named)
        self._spelt = schema.classes or tuple(merge_spellings(labels))
        self.spelling = Spelling(self._spelt)
        capacity = _VALUES_IN_ALL // max(len(surveyed), 1)
        self.columns = [ColumnCounts(each, capacity) for each in surveyed]
        self._whole = RepeatCounts()
        self._classes: dict[str, int] = {}
        self._rows = np.zeros((MAX_CLASSES, NUM_SETS), dtype=np.int64)
        self._num_read = self._num_zero_weights = 0
        self._rejects = RejectTally()

    def class_of(self, text: str) -> str | None:
        """Return the class of a label, or None if it is none of the configured classes."""
        place = self.spelling.place(text)
        if place >= 0:
            return self._spelt[place]
        return None if self.schema.classes or text in ("inf", "-inf") else text

    def add(self, read: ReadChunk) -> None:
        """Add the rows of a chunk."""
        self._num_read += read.num_chosen
        self._rejects.add(read.rejects)
        self._num_zero_weights += read.zero_weights
        if not len(read.classes):
            return
        places = np.array([self._classes.setdefault(label, len(self._classes)) for label in read.labels])
        if len(self._classes) > MAX_CLASSES:
            raise DataError(
                "the label has too many values to be a class",
                where=f"column {self.schema.label}",
                expected=f"at most {MAX_CLASSES} classes",
                got=", ".join(sorted(self._classes)[:5]) + ", ...",
                fix="choose a label column that contains classes",
            )
        classes = places[read.classes]
        np.add.at(self._rows, (classes, read.sets), 1)
        cells = cell_of(classes, read.sets)
        for counter, column in zip(self.columns, read.columns, strict=True):
            counter.add(column, cells, read.path)
        of_fields = [
            column.rows
            for counter, column in zip(self.columns, read.columns, strict=True)
            if counter.surveyed.role == "field"
        ]
        self._whole.add(of_fields, cells)

    def finish(self, sources: list[SplitLog], share: float, rows_in_log: int) -> Survey:
        """Return the survey of all rows."""
        if not self._classes:
            raise DataError(
                "no rows of the log can be used",
                where=sources[0].log.files[0],
                got=why_rejected(self._rejects, self._num_read),
                fix="check the label, the split and the format",
            )
        texts, order, of_label = self._decide()
        rows = self._rows[order]
        if len(order) > MAX_MEASURED:  # further classes were counted together, in the last of these
            order = np.arange(MAX_MEASURED + 1)
        totals = Totals(np.stack([*self._rows[:MAX_MEASURED], self._rows[MAX_MEASURED:].sum(axis=0)])[order], order)
        columns = tuple(column.finish(totals) for column in self.columns)
        report = self._rejects.report(
            rows_read=self._num_read,
            files=sum(len(source.log.files) for source in sources),
            files_left_out={path: reason for source in sources for path, reason in source.log.left_out.items()},
            columns_not_used=no_inputs(self.schema, self._left_out),
            remarks=[
                *repeat_remarks([path for source in sources for path in source.log.repeated]),
                *line_end_remarks(each for source in sources for each in source.log.line_ends),
                *group_remarks(self.schema),
            ],
        )
        survey = Survey(
            files=tuple(path for source in sources for path in source.log.files),
            rows_in_log=rows_in_log,
            rows_read=self._num_read,
            share=share,
            rows_rejected=report.rows_rejected,
            first_reject=self._rejects.first,
            read=report,
            label=self.schema.label,
            classes=tuple(texts),
            positive=texts[1] if len(texts) == 2 else None,
            parts=_parts(texts, rows),
            measured_on=_measured_on(rows),
            columns=columns,
            days={
                counter.surveyed.field.column or "": days for counter in self.columns if (days := counter.days(totals))
            },
            overlap=self._whole.finish(totals.order),
            crosses={field.name: field.parts for field in self.schema.fields if field.parts},
        )
        measured = rows[:, list(Sides.of(rows).measured)].sum(axis=1).tolist()
        warnings = findings(
            survey,
            num_measured=dict(zip(texts, measured, strict=True)),
            weights=next((column for column in columns if column.role == "weight"), None),
            zeros=self._num_zero_weights,
        )
        return msgspec.structs.replace(survey, warnings=(*of_label, *warnings))

    def _decide(self) -> tuple[list[str], npt.NDArray[np.int64], list[Finding]]:
        """Return the classes in the order of the encoder, their indices, and a warning if training rejects them."""
        labels, stated = list(self._classes), self.schema.classes
        rows = self._rows[: len(labels), [TRAIN, HELD_OUT]].sum(axis=1).tolist()
        counts = {label: count for label, count in zip(labels, rows, strict=True) if count}
        if not stated and len(counts) > 1:
            try:
                decided = decide_classes(counts, self.schema.label, self.schema.positive)
            except DataError as error:
                return *_in_order(labels, ()), [_label_finding(error)]
            if set(decided.texts) == set(labels):
                stated = decided.texts
            notes = [note for note in decided.notes if "a few times" in note]
            return *_in_order(labels, stated), [_rare_classes(note, self.schema.label) for note in notes]
        return *_in_order(labels, stated), []


def _label_finding(error: DataError) -> Finding:
    return Finding(
        kind="label",
        where=str(error.where),
        what=f"{error.what}: {error.got}",
        why="training rejects this log: the positive class is ambiguous",
        fix=str(error.fix),
    )


def _rare_classes(note: str, label: str) -> Finding:
    return Finding(
        kind="label",
        where=f"column {label}",
        what=note,
        why="each of them would be a class of the model, too rare to learn",
        fix="fix the values, or list the other classes in data.classes",
    )


def _in_order(labels: list[str], stated: tuple[str, ...]) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Return the classes in the order of the encoder, and their indices.

    The order is the configured one. Otherwise the positive of two classes comes second, as far as it can be inferred;
    more than two classes are sorted numerically if all are numbers, and alphabetically if not.
    """
    if stated:
        places = [labels.index(label) for label in stated if label in labels]
        return [labels[at] for at in places], np.array(places, dtype=np.int64)
    if len(labels) == 2:
        positive, _ = guess_positive(dict.fromkeys(labels, 0))
        places = sorted((0, 1), key=lambda at: labels[at] == positive)
        return [labels[at] for at in places], np.array(places, dtype=np.int64)
    sizes, bad = parse_text(pa.array(labels))
    by_size = not bad.any()
    places = sorted(range(len(labels)), key=lambda at: (float(sizes[at]) if by_size else 0.0, labels[at]))
    return [labels[at] for at in places], np.array(places, dtype=np.int64)


def _parts(labels: list[str], rows: npt.NDArray[np.int64]) -> dict[str, PartSummary]:
    found = {}
    for part in PARTS:
        classes = rows[:, [set_ for set_, name in enumerate(PART_OF_SET) if name == part]].sum(axis=1)
        if classes.any():
            by_class = dict(zip(labels, classes.tolist(), strict=True))
            found[part] = PartSummary(rows=int(classes.sum()), classes=by_class, label_rate=label_rate(classes))
    return found


def _measured_on(rows: npt.NDArray[np.int64]) -> str:
    names = {VALID: "validation", TEST: "test"}
    found = [name for set_, name in names.items() if rows[:, set_].any()]
    return f"the {' and '.join(found)} rows" if found else "half of the training rows"
