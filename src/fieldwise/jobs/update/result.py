"""What an update says of a day, and what is kept of it."""

from __future__ import annotations

from typing import Any

import msgspec

from fieldwise.jobs.update.day import DaySummary
from fieldwise.jobs.update.drift import FieldDrift
from fieldwise.metrics import Metrics

__all__ = ["DayRecord", "FeatureCounts", "Figures", "HeldOutFigures", "RowCounts", "UpdateResult"]


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
    held_out, features, rows
        See there.
    drift
        Of the fields whose bins or scales are kept.
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
    held_out: HeldOutFigures | None = None
    features: FeatureCounts = FeatureCounts()
    rows: RowCounts = RowCounts()
    drift: dict[str, FieldDrift] = {}

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
    """

    record: DayRecord
    repeated: bool = False
    lost: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**self.record.as_dict(), "repeated": self.repeated, "lost": self.lost}
