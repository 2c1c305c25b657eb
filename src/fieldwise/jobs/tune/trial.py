"""What a search tried, and what it came to: the records of `jobs.tune.tune`."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from fieldwise.data.read_report import ReadReport
from fieldwise.metrics import Metrics

__all__ = ["Trial", "Tuning"]


class Trial(msgspec.Struct, kw_only=True):
    """One configuration that was tried.

    Attributes
    ----------
    number
        From 0 on; 0 is the configuration itself.
    values
        What it has at each key of the space.
    metrics
        The validation metric after each epoch, turned so that more is better.
    state
        ``running``, ``done``, ``pruned`` (broken off), or ``failed`` (it diverged, or did not fit in memory).
    value
        The best of `metrics`; None before the first epoch.
    note
        Why it failed.
    """

    number: int
    values: dict[str, Any]
    metrics: list[float] = []
    state: Literal["running", "done", "pruned", "failed"] = "running"
    note: str = ""

    @property
    def value(self) -> float | None:
        """The best metric over the epochs."""
        return max(self.metrics) if self.metrics else None


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """What a search came to.

    Attributes
    ----------
    folder, config
        Of the search, and the file with the best configuration.
    metric
        The validation metric it was chosen by (``train.stop_on``).
    trials
        All of them.
    best
        The number of the best.
    valid, test
        Metrics of the best; test is None where there is no such part.
    seconds
        What all trials took.
    label, classes, positive
        The column, its classes in the model's order, and the one of two that a probability is of.
    read
        What of the log was not used, and why.
    """

    folder: str
    config: str
    metric: str
    trials: list[Trial]
    best: int
    valid: Metrics
    test: Metrics | None
    seconds: float
    read: ReadReport
    label: str | None = None
    classes: list[str] = []
    positive: str | None = None

    @property
    def warnings(self) -> list[str]:
        """What people should know before they use the best model."""
        of_test = [] if self.test is None else self.test.warnings("test")
        return self.valid.warnings("valid") + of_test

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return {**plain, "warnings": self.warnings}
