"""The statistics of a column: its cells are read in threads, chunk by chunk, and counted in order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from fieldwise.features.bags import BagEncoder
from fieldwise.features.cells import Cells
from fieldwise.features.columns import Columns, Reject
from fieldwise.features.indexed import CategoryEncoder
from fieldwise.features.numbers import rejected_numbers
from fieldwise.features.numerals import read_numbers, style_of
from fieldwise.features.vectors import read_vectors
from fieldwise.profile.survey.alone import Sides, auc_of_values
from fieldwise.profile.survey.bags import BagRows
from fieldwise.profile.survey.cells import PART_OF_SET, Totals
from fieldwise.profile.survey.days import DayCounts, day_text, days_of
from fieldwise.profile.survey.drift import NUM_BINS, drift_of_bins, drift_of_values
from fieldwise.profile.survey.numbers import NumberCounts
from fieldwise.profile.survey.result import Column, Day, Group
from fieldwise.profile.survey.values import CountedValues, ValueCounts
from fieldwise.schema import Field

__all__ = ["ColumnCounts", "ReadColumn", "SurveyedColumn", "label_rate"]

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
Uint64s = npt.NDArray[np.uint64]

_AUC_BINS = 32


class SurveyedColumn(NamedTuple):
    """A column to look at.

    Attributes
    ----------
    field
        How it is read; a left-out column has a field made up for it.
    role, note, type
        See `result.Column`.
    may_count
        Whether its first rows rise from one to the next, so that it may be a row number.
    is_time
        Whether its values are points in time.
    """

    field: Field
    role: str
    type: str
    note: str | None = None
    may_count: bool = False
    is_time: bool = False


class ReadColumn(NamedTuple):
    """The cells of a column in B rows; what the column does not need is None."""

    cells: Cells
    rows: Uint64s
    """(B,): a fingerprint of each whole cell, 0 for missing."""
    numbers: Float64s | None = None
    rejects: tuple[Reject, ...] = ()
    """Rows that preparing rejects because of this column."""
    not_numbers: int = 0
    days: Int64s | None = None
    ordinals: Float64s | None = None


class ColumnCounts:
    """Counts one column.

    Parameters
    ----------
    surveyed
        What it is.
    capacity
        Distinct values kept.
    """

    def __init__(self, surveyed: SurveyedColumn, capacity: int) -> None:
        self.surveyed = surveyed
        self._values = ValueCounts(capacity)
        self._numbers = NumberCounts() if surveyed.type == "number" else None
        self._bags = BagRows() if surveyed.type == "bag" else None
        self._days = DayCounts() if surveyed.is_time else None
        self._rows = 0
        self._missing = 0
        self._not_numbers = 0
        self._counts_rows = surveyed.may_count
        self._last: tuple[str, float] | None = None
        self._style = style_of(surveyed.field)
        of = surveyed.field
        as_category = Field(name=of.name, column=of.column, missing=of.missing, custom=of.custom)
        self._encoder = BagEncoder(surveyed.field) if surveyed.type == "bag" else CategoryEncoder(as_category)
        self._vector = surveyed.field if surveyed.type == "vector" else None

    def read(self, columns: Columns) -> ReadColumn:
        """Read B rows; may be called from several threads at once."""
        name = self.surveyed.field.column
        assert name is not None
        if self.surveyed.type == "other":
            present = columns.array(name).is_valid().to_numpy(zero_copy_only=False)
            nothing = np.zeros(len(present), dtype=np.uint64)
            return ReadColumn(Cells(nothing), present.astype(np.uint64))
        if self._vector is not None:
            numbers, offsets, rejects = read_vectors(columns, self._vector)
            nothing = np.zeros(len(offsets) - 1, dtype=np.uint64)
            return ReadColumn(Cells(nothing), _of_vectors(numbers, offsets), None, rejects, len(rejects))
        cells = self._encoder.read(columns, {})
        whole = cells.fingerprints if cells.offsets is None else _of_bags(cells)
        found = ReadColumn(cells, whole, rejects=tuple(cells.rejects), not_numbers=len(cells.rejects))
        if self.surveyed.type == "number":
            numbers, bad = read_numbers(columns, name, self.surveyed.field.missing, self._style)
            numbers = np.where(bad, np.nan, numbers)
            rejects = rejected_numbers(columns, name, bad, self.surveyed.field)
            found = found._replace(numbers=numbers, rejects=rejects, not_numbers=len(rejects))
        if self.surveyed.is_time:
            found = found._replace(days=days_of(columns, name))
        if self.surveyed.may_count:
            found = found._replace(ordinals=read_numbers(columns, name, self.surveyed.field.missing, self._style)[0])
        return found

    def add(self, read: ReadColumn, cells: Int64s, file: str) -> None:
        """Count B rows; `cells` are theirs, (B,), and `file` is the path of their file."""
        self._rows += len(cells)
        self._missing += int(np.count_nonzero(read.rows == 0))
        self._not_numbers += read.not_numbers
        of_values = cells
        if read.cells.offsets is not None:
            of_values = np.repeat(cells, np.diff(read.cells.offsets))
        if self.surveyed.type not in ("other", "vector"):
            self._values.add(read.cells.fingerprints, of_values, read.cells.texts)
        if self._numbers is not None and read.numbers is not None:
            self._numbers.add(read.numbers, cells)
        if self._bags is not None and read.cells.offsets is not None:
            self._bags.add(read.cells.fingerprints, read.cells.offsets, cells)
        if self._days is not None and read.days is not None:
            self._days.add(read.days, cells)
        if self._counts_rows and read.ordinals is not None and len(read.ordinals):
            rising = bool((np.diff(read.ordinals) > 0).all())  # not where one is missing
            if self._last is not None and self._last[0] == file:
                rising = rising and read.ordinals[0] > self._last[1]
            self._counts_rows = rising
            self._last = file, float(read.ordinals[-1])

    def finish(self, totals: Totals) -> Column:
        """Return the statistics of the column."""
        surveyed = self.surveyed
        counted = self._values.finish(totals.order)
        column = Column(
            name=surveyed.field.name,
            column=surveyed.field.column or "",
            role=surveyed.role,
            type=surveyed.type,
            note=surveyed.note,
            rows=self._rows,
            num_values=counted.num_values,
            exact=counted.exact,
            missing=self._missing,
            coverage=1 - self._missing / self._rows if self._rows else 0.0,
            not_numbers=self._not_numbers,
            counts_rows=self._counts_rows and self._rows > 1,
            frequent=tuple(_group(text, counted.counts[at], self._rows) for at, text in counted.frequent),
        )
        if surveyed.type == "other":
            return msgspec.structs.replace(column, auc_undefined="its values have no text")
        if surveyed.type == "vector":
            return msgspec.structs.replace(column, auc_undefined="vectors hardly come again")
        if surveyed.role == "split":
            return msgspec.structs.replace(column, auc_undefined="it says which part a row belongs to")
        if surveyed.type == "time":
            return msgspec.structs.replace(column, auc_undefined="points in time do not come again")
        return self._compared(column, counted, totals)

    def _compared(self, column: Column, counted: CountedValues, totals: Totals) -> Column:
        """Add the AUC and the drift."""
        sides = Sides.of(totals.rows)
        if self._bags is not None:
            drift = drift_of_values(counted.counts, counted.scale, counted.missing)
            alone = self._bags.auc(counted, sides, totals)
        elif self._numbers is not None:
            edges = self._numbers.edges(NUM_BINS)
            binned = self._numbers.binned(edges, totals.order)
            quantiles = self._numbers.quantiles(np.array([0.0, 0.5, 1.0]))
            drift = drift_of_bins(binned)
            column = msgspec.structs.replace(
                column,
                quantiles=tuple(quantiles) if quantiles else None,
                ranges=tuple(
                    _group(text, of_bin, self._rows)
                    for text, of_bin in zip(_ranges(edges), binned[1:], strict=True)
                    if of_bin.any()
                ),
            )
            fine = self._numbers.binned(self._numbers.edges(_AUC_BINS), totals.order)
            alone = auc_of_values(fine, np.ones(len(fine)), sides)
        else:
            drift = drift_of_values(counted.counts, counted.scale, counted.missing)
            everything = np.concatenate([counted.missing[None], counted.counts])
            alone = auc_of_values(everything, np.concatenate([np.ones(1), counted.scale]), sides)
        return msgspec.structs.replace(column, auc=alone.auc, auc_undefined=alone.undefined, drift=drift)

    def days(self, totals: Totals) -> tuple[Day, ...]:
        """Return the rows by day; nothing unless the column holds points in time."""
        found = self._days.finish(totals.order) if self._days is not None else []
        return tuple(
            Day(
                day=day_text(each.day),
                rows=int(each.counts.sum()),
                label_rate=label_rate(each.counts.sum(axis=1)),
                parts={
                    part: int(each.counts[:, [place for place, name in enumerate(PART_OF_SET) if name == part]].sum())
                    for part in dict.fromkeys(PART_OF_SET)
                },
            )
            for each in found
        )


def label_rate(classes: Int64s) -> float | None:
    """Return the share of the second of two classes, (classes,)."""
    total = int(classes.sum())
    return float(classes[1] / total) if len(classes) == 2 and total else None


def _group(text: str, counts: Int64s, num_rows: int) -> Group:
    rows = int(counts.sum())
    rate = label_rate(counts.sum(axis=1))
    return Group(value=text, rows=rows, share=rows / num_rows if num_rows else 0.0, label_rate=rate)


def _ranges(edges: Sequence[float] | Float64s) -> list[str]:
    """Return the labels of bins."""
    if not len(edges):
        return ["any number"]
    inner = [f"[{low:.6g}, {high:.6g})" for low, high in pairwise(edges)]
    return [f"< {edges[0]:.6g}", *inner, f">= {edges[-1]:.6g}"]


def _of_vectors(numbers: Float64s, offsets: Int64s) -> Uint64s:
    """Return a fingerprint of each vector, 0 for a missing one."""
    place = np.arange(len(numbers)) - np.repeat(offsets[:-1], np.diff(offsets))
    mixed = (numbers.view(np.uint64) ^ place.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    mixed[np.isnan(numbers)] = 0
    whole: Uint64s = np.add.reduceat(mixed, offsets[:-1]) if len(offsets) > 1 else mixed[:0]
    return whole


def _of_bags(cells: Cells) -> Uint64s:
    """Return a fingerprint of each bag, weights included, whatever the order of its values; 0 for a bag of missing
    alone.
    """
    assert cells.offsets is not None
    mixed = cells.fingerprints * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    if cells.weights is not None:
        mixed *= 2 * cells.weights.view(np.uint32).astype(np.uint64) + 1
    whole: Uint64s = np.add.reduceat(mixed, cells.offsets[:-1]) if len(cells.offsets) > 1 else mixed[:0]
    return whole
