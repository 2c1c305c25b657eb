"""The result of a run: a trained model, evaluated."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import msgspec

from fieldwise.data.read_report import ReadReport
from fieldwise.distributed.traffic import Traffic
from fieldwise.events import EpochEnd
from fieldwise.metrics import Metrics
from fieldwise.metrics.result import short_repr
from fieldwise.outcome import Outcome

__all__ = ["Epoch", "FoldMetric", "MemberResult", "Result", "TreesResult"]


class MemberResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one member of a stack reaches alone.

    Attributes
    ----------
    model
        Its kind.
    weights
        How much its logit counts in that of the stack, one number for each of its heads (`models.stack`).
    valid, test
        Its metrics; None where there is no such part.
    seconds
        What it took: sampling, or all epochs and the logistic regression before them, of all trained members together;
        None in runs of versions that did not record it.
    auc_lost, logloss_lost
        What the stack would lose on valid without it, the others weighed anew; None where that is not known.
    """

    model: str
    weights: list[float]
    valid: Metrics | None
    test: Metrics | None
    seconds: float | None = None
    auc_lost: float | None = None
    logloss_lost: float | None = None


class TreesResult(msgspec.Struct, frozen=True, kw_only=True):
    """A stack of what was trained and of trees beside it (``train.trees``), which is in no bundle.

    Attributes
    ----------
    model
        The kinds of its members.
    valid, test
        Its metrics; None where there is no such part.
    members
        What each reaches alone; the trees come last.
    """

    model: str
    valid: Metrics
    test: Metrics | None
    members: list[MemberResult]


class FoldMetric(msgspec.Struct, frozen=True, kw_only=True):
    """A metric over the test parts of all folds.

    Attributes
    ----------
    mean
        Over the folds.
    low, high
        The 95 % interval of the mean, by Student's t. Folds share training rows, so it is rather too narrow.
    of_folds
        The metric of each.
    """

    mean: float
    low: float
    high: float
    of_folds: list[float]


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """One epoch of training; where logistic regression is solved, one penalty, `l2`, or, where `own`, those of fields'
    own.

    Attributes
    ----------
    epoch
        From 1.
    loss
        The mean over the training examples, while they were learned from.
    seconds, examples_per_second
        Of training, without validation and the compiling of kernels.
    valid
        The metrics at its end; None where there is no such part.
    """

    epoch: int
    loss: float
    seconds: float
    examples_per_second: float
    valid: Metrics | None
    l2: float | None = None
    own: bool = False

    @classmethod
    def list_of(cls, epochs: Iterable[EpochEnd]) -> list[Epoch]:
        """Return the epochs that have a loss: sweeps of a sampler have none."""
        return [
            cls(**{name: getattr(each, name) for name in cls.__struct_fields__})
            for each in epochs
            if math.isfinite(each.loss)
        ]


class Result(Outcome, msgspec.Struct, frozen=True, kw_only=True):
    """One trained model, evaluated.

    Attributes
    ----------
    model, units
        The kind, and K (None where no unit is locally connected).
    parameters, biases
        Weights; and biases and normalisation apart.
    valid, test
        Metrics of the weights that were kept; None where there is no such part.
    members
        What each member of a stack reaches alone; empty where the model is one.
    pretrain_seconds
        Training of the logistic regression that it began with, and sampling of a member of a stack; None where there
        was neither. (Of a Bayesian factorisation machine alone, a sweep is an epoch.)
    seconds_per_epoch, examples_per_second
        Training alone, without validation and the compiling of kernels.
    epochs, best_epoch
        Epochs trained, and the one whose weights were kept, 0 where they are the initial model's. Of logistic
        regression that was solved, an epoch is a penalty.
    kept
        ``lr`` where no weights of the model were better on valid, by more than noise (`training.noise`), than the
        logistic regression that it started from, which is what was saved then, and what the metrics are of; else None.
    folds
        Metrics over the folds of ``data.folds``, on rows that none of their models was trained on; the model itself has
        learned from all rows, and is measured on none.
    left_out
        Members that ``train.minutes`` has left out.
    with_trees
        What trees would add, where ``train.trees`` asks for them; the bundle has none.
    l2
        The best penalty of all fields, where logistic regression was solved; else None.
    penalties
        Where logistic regression was solved and penalties of fields' own were better: those of each, by its name.
    workers
        What each of several workers did and sent, since they were last started; None for one process.
    label, classes, positive
        The column, its classes in the model's order, and the one of two that a probability is of; empty in runs of
        versions that did not record it.
    labels
        The columns of several labels that were learned together, the first of which `label` is; empty for one. Metrics
        of each are in `Metrics.labels`.
    read
        What of the log was not used, and why; None in runs of versions that did not record it.
    history
        The learning curve; empty where the model was sampled, and in runs of versions that did not record it.
    """

    model: str
    units: int | None
    parameters: int
    biases: int
    valid: Metrics | None
    test: Metrics | None
    pretrain_seconds: float | None
    seconds_per_epoch: float
    epochs: int
    best_epoch: int
    examples_per_second: float
    folder: str
    workers: list[Traffic] | None = None
    read: ReadReport | None = None
    label: str | None = None
    classes: list[str] = []
    positive: str | None = None
    labels: list[str] = []
    members: list[MemberResult] = []
    l2: float | None = None
    penalties: dict[str, float] = {}
    kept: str | None = None
    history: list[Epoch] = []
    left_out: list[str] = []
    folds: dict[str, FoldMetric] = {}
    with_trees: TreesResult | None = None

    @property
    def warnings(self) -> list[str]:
        """Warnings about the model."""
        parts = {"valid": self.valid, "test": self.test}
        return [text for name, metrics in parts.items() if metrics is not None for text in metrics.warnings(name)]

    def __repr__(self) -> str:
        """Return what was trained and how good it is; the learning curve and more are attributes."""
        names = ("model", "kept", "units", "parameters", "epochs", "best_epoch", "valid", "test", "folder")
        return short_repr(self, names)

    def _repr_html_(self) -> str:
        from fieldwise.jobs.report.lines import result_html

        return result_html(self)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**super().as_dict(), "warnings": self.warnings}
