"""The content of a training's report: plain figures, which `report.training` draws and ``report.json`` records."""

from __future__ import annotations

import msgspec

from fieldwise.metrics import Metrics
from fieldwise.metrics.curves import Curves
from fieldwise.metrics.intervals import Estimate
from fieldwise.metrics.slices import Slice

__all__ = [
    "DataLine",
    "DifferenceLine",
    "EpochPoint",
    "FieldValues",
    "ModelLine",
    "Named",
    "PartFigures",
    "ProgressPoint",
    "ReportContent",
    "TrialLine",
    "ValueRates",
]


class Named(msgspec.Struct, frozen=True):
    """A figure of something with a name, such as the importance of a field."""

    name: str
    estimate: Estimate


class DataLine(msgspec.Struct, frozen=True, kw_only=True):
    """A field: its type and features, and what is missing and unseen of it in the evaluated rows and in training, in
    [0, 1] (`jobs.predict.coverage.FieldCoverage`); None where no part is evaluated.
    """

    name: str
    type: str
    features: int
    missing: float | None = None
    training_missing: float | None = None
    unseen: float | None = None
    training_unseen: float | None = None


class EpochPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A point of a learning curve: the mean training loss, and on valid the logloss and the metric that decides."""

    epoch: int
    loss: float
    logloss: float | None
    value: float | None
    l2: float | None = None


class ModelLine(msgspec.Struct, frozen=True, kw_only=True):
    """A model in the tables, with its learning curve (`jobs.result.Result`). `note` says what is special about it."""

    label: str
    parameters: int | None
    biases: int | None
    valid: Metrics | None
    test: Metrics | None
    seconds_per_epoch: float | None = None
    pretrain_seconds: float | None = None
    epochs: int | None = None
    best_epoch: int | None = None
    examples_per_second: float | None = None
    history: list[EpochPoint] = []
    note: str = ""


class ValueRates(msgspec.Struct, frozen=True, kw_only=True):
    """The examples with one value of a field, or of one day.

    Attributes
    ----------
    observed, predicted
        The label rate with Wilson's interval, and the mean probability.
    auc, logloss
        Of these examples alone; no AUC where a label occurs less than twice, and none of both without weight.
    """

    name: str
    examples: int
    observed: Estimate
    predicted: float
    auc: Estimate | None
    logloss: Estimate | None


class FieldValues(msgspec.Struct, frozen=True):
    """The most frequent values of a field, or ten ranges of a number."""

    field: str
    values: list[ValueRates]


class PartFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of the saved model on the test rows, or on valid if there are none.

    Attributes
    ----------
    part
        ``test`` or ``valid``.
    metrics, by_probability
        As `jobs.evaluate.Evaluation` has them.
    auc, logloss
        The same with intervals; None for more than two classes, as are `curves`.
    importance
        Of each field, the AUC that is lost when its values are exchanged between the rows; the largest first.
    values
        Of the most important fields.
    days
        By the time of ``data.time``.
    notes
        What could not be measured, and why.
    """

    part: str
    metrics: Metrics
    by_probability: list[Slice]
    auc: Estimate | None
    logloss: Estimate | None
    curves: Curves | None
    importance: list[Named] = []
    values: list[FieldValues] = []
    days: list[ValueRates] = []
    notes: list[str] = []


class ProgressPoint(msgspec.Struct, frozen=True, kw_only=True):
    """What training was like at some second: where, how fast, in how many bytes of memory."""

    seconds: float
    stage: str
    examples_per_second: float | None
    memory: int | None


class DifferenceLine(msgspec.Struct, frozen=True, kw_only=True):
    """A model less the one it is compared with, in one metric; see `jobs.compare.differences.Difference`."""

    model: str
    metric: str
    estimate: Estimate
    p_value: float
    verdict: str


class TrialLine(msgspec.Struct, frozen=True, kw_only=True):
    """A trial of a search; `value` is its metric on valid, None where there is none."""

    number: int
    state: str
    value: float | None
    settings: str


class ReportContent(msgspec.Struct, frozen=True, kw_only=True):
    """Everything in a report.

    Attributes
    ----------
    title, model
        Of the page, and the label of the model that `figures` are of.
    label, positive, classes
        The label's column, the class that probabilities are of, and all classes.
    parts, rows_read, rows_rejected, reading
        Examples, rows read and rows rejected of each part; of all; and what else should be known of how the log was
        read, in lines.
    models
        The lines of the tables.
    stop_on
        The metric by which the epoch was chosen.
    figures
        None where there are no rows but those that were trained on.
    differences, against, level
        Of a comparison.
    trials, best
        Of a search.
    moments
        Speed and memory, in order.
    config
        As TOML.
    facts
        Versions, machine, seeds, checksums: a group, and in it names and values.
    """

    title: str
    model: str
    label: str
    positive: str | None
    classes: list[str]
    parts: dict[str, tuple[int, int, int]]
    rows_read: int
    rows_rejected: int
    reading: list[str]
    fields: list[DataLine]
    num_features: int
    models: list[ModelLine]
    stop_on: str
    figures: PartFigures | None
    moments: list[ProgressPoint]
    warnings: list[str]
    config: str
    facts: dict[str, dict[str, str]]
    differences: list[DifferenceLine] = []
    against: str = ""
    level: float = 0.05
    trials: list[TrialLine] = []
    best: int | None = None
