"""Several models trained on one log: the result of a comparison."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from fieldwise.data.read_report import ReadReport
from fieldwise.jobs.compare.differences import Difference, SeedSummary
from fieldwise.jobs.result import Result
from fieldwise.metrics.own import goodness
from fieldwise.metrics.result import short_repr
from fieldwise.outcome import Outcome

__all__ = ["Comparison"]


class Comparison(Outcome, msgspec.Struct, frozen=True, kw_only=True):
    """Several models trained on one log: their results, and the significance of their differences.

    Attributes
    ----------
    folder
        The folder of the comparison.
    data
        A summary of the log (`prepare.Prepared.summary`).
    seeds
        The training seeds.
    models
        The result of each model with the first seed.
    spreads
        Mean and standard deviation of the metrics of each model over the seeds.
    part
        The part on which differences are tested: ``test``, or ``valid`` if there is no test part (which is optimistic
        for models selected on it); None if there is neither, or only one model.
    against
        The reference model of the differences: the given one, or the best on valid.
    level
        Significance level: corrected p-values below it are called ``better`` or ``worse``.
    differences
        Each other model minus `against`, by metric.
    read
        Which rows, files and columns of the log were not used, and why.
    folds
        The folds, with ``data.folds``: `models` are then those of the first fold, and `spreads` and `differences` are
        over the folds, each in its subfolder ``fold-N``; else None.
    """

    folder: str
    data: dict[str, Any]
    seeds: list[int]
    models: list[Result]
    spreads: list[SeedSummary]
    part: Literal["test", "valid"] | None
    against: str | None
    level: float
    differences: list[Difference]
    read: ReadReport
    folds: int | None = None

    def __repr__(self) -> str:
        return short_repr(self, ("folder", "seeds", "models", "part", "against"))

    def _repr_html_(self) -> str:
        from fieldwise.jobs.report.lines import comparison_html

        return comparison_html(self)

    @property
    def best(self) -> int:
        """Which of `models` has the highest validation AUC: the test rows choose nothing."""
        return max(range(len(self.models)), key=lambda place: goodness(self.models[place].valid, "auc") or -1.0)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**super().as_dict(), "models": [model.as_dict() for model in self.models]}
