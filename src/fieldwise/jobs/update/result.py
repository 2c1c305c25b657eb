"""What an update says of a day, and what is kept of it."""

from __future__ import annotations

from typing import Any

import msgspec

from fieldwise.data.read_report import ReadReport
from fieldwise.jobs.update.day import DaySummary
from fieldwise.jobs.update.drift import FieldDrift
from fieldwise.metrics import Metrics

__all__ = [
    "DayRecord",
    "FeatureCounts",
    "Figures",
    "HeldOutFigures",
    "LabelCounts",
    "RowCounts",
    "Skew",
    "UpdateResult",
    "WaitingCounts",
]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The metrics that a model is followed by from day to day; None where they are undefined.

    Attributes
    ----------
    num_examples
        Of how many.
    calibration
        Predictions over clicks.
    """

    num_examples: int
    auc: float | None
    logloss: float | None
    normalized_entropy: float | None
    calibration: float | None

    @classmethod
    def of(cls, metrics: Metrics) -> Figures:
        """Return those of all metrics."""
        return cls(
            num_examples=metrics.num_examples,
            auc=metrics.auc,
            logloss=metrics.logloss,
            normalized_entropy=metrics.normalized_entropy,
            calibration=metrics.calibration_ratio,
        )


class HeldOutFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The same held-out examples, answered by the new version and by the one in use."""

    new: Figures
    old: Figures


class FeatureCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Features that have an id after a day, those of them that are new, and those that left; rows of the table."""

    living: int = 0
    new: int = 0
    left: int = 0
    rows: int = 0


class RowCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a day: read, learned from (with those held out earlier), rejected, and held out for the gate."""

    read: int = 0
    used: int = 0
    rejected: int = 0
    held_out: int = 0


class WaitingCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Rows whose labels come later: ``read + waited = ready + waiting + closed + outlived + repeated + passed``.

    Attributes
    ----------
    read
        Of the log.
    waited
        Those that waited from before.
    ready
        With a label: what `RowCounts` tells of, rejected ones among them.
    waiting
        Those that wait now.
    early
        Of them, those that were learned from as no click yet, by this update.
    closed
        Rows that were learned from early, and whose window has closed without a click.
    outlived
        Other rows whose window has closed without a label; they are left out.
    repeated
        Rows that were known: learned from, or waiting, or with an identifier that another row of the log has.
    passed
        Rows from before the horizon: two windows before the newest. They were learned from, or come too late.
    unidentified
        Of the ready ones, those without an identifier, which no label can find.
    """

    read: int = 0
    waited: int = 0
    ready: int = 0
    waiting: int = 0
    early: int = 0
    closed: int = 0
    outlived: int = 0
    repeated: int = 0
    passed: int = 0
    unidentified: int = 0


class LabelCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Labels that came late: ``read = used + known + unknown + twice + contradictory + unreadable``.

    Attributes
    ----------
    read
        Rows of the file.
    used
        Labels of rows that were read or waited.
    known
        Labels of rows that were learned from with the same label before.
    unknown
        Labels of no row that is known.
    twice
        Rows that say again what another one says.
    contradictory
        Rows of identifiers with two labels, and labels other than the one that was learned: none of them is used.
    unreadable
        Rows without an identifier, or without one of the model's classes.
    """

    read: int = 0
    used: int = 0
    known: int = 0
    unknown: int = 0
    twice: int = 0
    contradictory: int = 0
    unreadable: int = 0


class Skew(msgspec.Struct, frozen=True, kw_only=True):
    """What was answered beside what the same version says of the row as it was logged.

    Attributes
    ----------
    rows
        Rows that the version in use had answered, and that were compared.
    largest
        The largest difference of the probabilities.
    """

    rows: int
    largest: float


class DayRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A day, as it is kept.

    Attributes
    ----------
    summary
        Its rows in figures, among them the digests by which it is known.
    version
        The version that came of it; None where nothing was learned.
    base
        The version that it went on from; None where nothing was learned.
    published
        Whether that was put to use.
    current
        The version in use after it.
    head
        The version that the next update goes on from: not `version` where that was refused, so that later versions
        have not learned from this day.
    reasons
        Why not.
    warnings
        What is unusual about it.
    progressive
        Of its rows, each predicted before it was learned from.
    by_hour
        The same by hour of the day (UTC), where the model knows of a time.
    by_slice
        The same by the values of fields that the gate looks at.
    held_out, features, rows
        See there.
    drift
        Of the fields whose bins or scales are kept.
    waiting, labels, skew
        See there; None where no labels come later, or nothing could be compared.
    """

    summary: DaySummary
    version: int | None = None
    base: int | None = None
    published: bool = False
    current: int
    head: int
    reasons: list[str] = []
    warnings: list[str] = []
    progressive: Figures | None = None
    by_hour: dict[str, Figures] = {}
    by_slice: dict[str, dict[str, Figures]] = {}
    held_out: HeldOutFigures | None = None
    features: FeatureCounts = FeatureCounts()
    rows: RowCounts = RowCounts()
    drift: dict[str, FieldDrift] = {}
    waiting: WaitingCounts | None = None
    labels: LabelCounts | None = None
    skew: Skew | None = None

    @property
    def is_lost(self) -> bool:
        """Whether a version learned from it that nothing goes on from."""
        return self.version is not None and self.head != self.version

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; what days are compared by, in short."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        summary = plain.pop("summary")
        unseen = {name: field["unseen"] for name, field in summary["fields"].items()}
        return {"day": self.summary.day, **plain, "unseen": unseen}


class UpdateResult(msgspec.Struct, frozen=True, kw_only=True):
    """What an update has done.

    Attributes
    ----------
    record
        Of the day.
    repeated
        Whether the day had been given before, so that nothing was done.
    lost
        Whether it was, and the version that the next update goes on from has not learned from it.
    read
        What of its log was read, and why rows were rejected; None where it had been given before, or nothing was read.
        It is not kept: it quotes cells.
    """

    record: DayRecord
    repeated: bool = False
    lost: bool = False
    read: ReadReport | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        read = msgspec.to_builtins(self.read)
        return {**self.record.as_dict(), "repeated": self.repeated, "lost": self.lost, "read": read}
