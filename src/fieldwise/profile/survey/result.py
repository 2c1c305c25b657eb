"""The result of a survey: plain values, for tables, pages and JSON alike."""

from __future__ import annotations

import msgspec

from fieldwise.data.read_report import ReadReport
from fieldwise.outcome import Outcome
from fieldwise.profile.survey.drift import Drift

__all__ = ["Column", "Day", "Finding", "Group", "Overlap", "PartSummary", "Survey"]


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The rows with one value of a column, or with a value in one range.

    `label_rate` is the share of the second of two classes; None for more classes.
    """

    value: str
    rows: int
    share: float
    label_rate: float | None


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a column: a field's, or one that no field reads.

    Attributes
    ----------
    name, column
        The field's name, and the column that it reads.
    role
        ``field``; ``weight``, ``group``, ``id`` or ``split`` of ``[data]``; or ``left out``, and then `note` says why.
    type
        ``category``, ``number``, ``bag``, ``time`` or ``vector``; ``other`` where no value has a text.
    num_values, exact
        Distinct values (of a bag: in all of its cells), and whether the number is exact or an estimate.
    missing, coverage
        Rows without a value, and the share of rows with one.
    not_numbers
        Cells of a number or vector, or weights of a bag, that cannot be read; their rows cannot be trained on.
    frequent
        The five most frequent values. Of a bag a row counts once for each value that it holds.
    ranges
        Of a number: quantile ranges in place of values.
    quantiles
        Of a number: least, median and greatest.
    auc, auc_undefined
        Of the field alone (`profile.survey.alone`), or why there is none.
    drift
        From training to test (`profile.survey.drift`).
    counts_rows
        Whether it rises from row to row in every file.
    """

    name: str
    column: str
    role: str
    type: str
    note: str | None = None
    rows: int
    num_values: int
    exact: bool
    missing: int
    coverage: float
    not_numbers: int = 0
    frequent: tuple[Group, ...] = ()
    ranges: tuple[Group, ...] = ()
    quantiles: tuple[float, ...] | None = None
    auc: float | None = None
    auc_undefined: str | None = None
    drift: Drift | None = None
    counts_rows: bool = False


class PartSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of a part, by class, and the share of the second of two classes."""

    rows: int
    classes: dict[str, int]
    label_rate: float | None


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of a day (UTC), by part."""

    day: str
    rows: int
    label_rate: float | None
    parts: dict[str, int]


class Overlap(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a part whose fields are all equal to those of a training row.

    `share_inside_training` is the share of training rows that equal another one: what the log has of such rows anyway.
    """

    part: str
    rows: int
    share: float
    share_inside_training: float


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A warning: what, where, why it matters, what to do."""

    kind: str
    where: str
    what: str
    why: str
    fix: str


class Survey(Outcome, msgspec.Struct, frozen=True, kw_only=True):
    """What is in a log.

    Attributes
    ----------
    files
        That were read.
    rows_in_log, rows_read
        All rows, and those that were looked at: chosen evenly, by chance, with probability `share`.
    rows_rejected
        Of those read: rows that cannot be trained on, being unreadable, of no part, without a label, or with a cell
        that its field cannot read.
    first_reject
        Why the first of them cannot.
    label, classes, positive
        The column, its classes in the model's order, and the one of two that label rates are shares of.
    parts
        ``train``, ``valid`` and ``test``, those that have rows.
    measured_on
        Which rows the AUC of a field alone is measured on.
    columns
        Fields first, in the order of the configuration.
    days
        Of each column that holds points in time.
    overlap
        Of test and validation with training.
    read
        The same of rows, files and columns, as every job reports it: rows read = used + rejected, of those looked at.
    crosses
        Fields that are not looked at, and the fields that each combines: what one of them gives away is in its parts.
    warnings
        The gravest first.
    files_left_out
        Files of the folders that are none of the log: the reason of each.
    columns_left_out
        Columns that not all files have in a form that can be read, and that are not looked at: the reason of each.
    """

    files: tuple[str, ...]
    rows_in_log: int
    rows_read: int
    share: float
    rows_rejected: int
    first_reject: str | None
    label: str
    classes: tuple[str, ...]
    parts: dict[str, PartSummary]
    measured_on: str
    columns: tuple[Column, ...]
    days: dict[str, tuple[Day, ...]]
    overlap: tuple[Overlap, ...]
    read: ReadReport
    crosses: dict[str, tuple[str, ...]] = {}
    positive: str | None = None
    warnings: tuple[Finding, ...] = ()
    files_left_out: dict[str, str] = {}
    columns_left_out: dict[str, str] = {}
