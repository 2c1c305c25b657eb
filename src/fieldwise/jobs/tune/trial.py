"""The records of a hyperparameter search: trials and the final result."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from fieldwise.data.read_report import ReadReport
from fieldwise.jobs.result import FoldMetric
from fieldwise.metrics import Metrics
from fieldwise.metrics.result import short_repr
from fieldwise.outcome import Outcome

__all__ = ["Trial", "Tuning"]


class Trial(msgspec.Struct, kw_only=True):
    """One trial of a search.

    Attributes
    ----------
    number
        From 0; trial 0 is the given configuration.
    values
        Its hyperparameters by key.
    metrics
        The validation metric after each epoch, negated if lower is better; with folds the mean over those done,
        after each.
    state
        ``running``, ``done``, ``pruned``, or ``failed`` (it diverged or did not fit in memory).
    kept
        The validation metric of the model that was kept, once training is done; also negated. It is above all `metrics`
        where that is an initial model, or one within the first epoch.
    value
        `kept`, or else the maximum of `metrics`; None before the first epoch.
    note
        Why it failed.
    """

    number: int
    values: dict[str, Any]
    metrics: list[float] = []
    state: Literal["running", "done", "pruned", "failed"] = "running"
    note: str = ""
    kept: float | None = None

    @property
    def value(self) -> float | None:
        """The metric of the model that was kept, or the best over the epochs so far."""
        if self.kept is not None:
            return self.kept
        return max(self.metrics) if self.metrics else None


class Tuning(Outcome, msgspec.Struct, frozen=True, kw_only=True):
    """The result of a hyperparameter search.

    Attributes
    ----------
    folder, config
        The folder of the search, and the file with the best configuration.
    metric
        The validation metric that was optimized (``train.stop_on``).
    trials
        All trials.
    best
        The number of the best trial.
    valid, test
        Metrics of the best trial; `test` is None if there is no test part, and both are None with folds.
    folds
        With ``data.folds``: metrics of the best trial over the test parts of all folds, by name.
    seconds
        Total time of all trials.
    label, classes, positive
        The label column, its classes in the order of the model, and the positive class of two.
    read
        Which rows, files and columns of the log were not used, and why.
    """

    folder: str
    config: str
    metric: str
    trials: list[Trial]
    best: int
    valid: Metrics | None
    test: Metrics | None
    seconds: float
    read: ReadReport
    folds: dict[str, FoldMetric] = {}
    label: str | None = None
    classes: list[str] = []
    positive: str | None = None
    labels: list[str] = []

    @property
    def warnings(self) -> list[str]:
        """Warnings about the best model."""
        parts = {"valid": self.valid, "test": self.test}
        return [text for part, metrics in parts.items() if metrics is not None for text in metrics.warnings(part)]

    def __repr__(self) -> str:
        """Return what was found; the trials are an attribute."""
        return short_repr(self, (name for name in self.__struct_fields__ if name not in ("trials", "read")))

    def _repr_html_(self) -> str:
        from fieldwise.jobs.report.lines import search_html

        return search_html(self)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**super().as_dict(), "warnings": self.warnings}
