"""Statistics of a comparison: mean and standard deviation over seeds, and which differences are significant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from fieldwise.bundle import open_bundle
from fieldwise.data.batches import Batches
from fieldwise.data.cache import Cache
from fieldwise.errors import DataError
from fieldwise.jobs.result import Result
from fieldwise.kernels.joint_labels import MISSING_LABEL, label_states
from fieldwise.metrics import Metrics, Paired, paired_auc, paired_folds, paired_gauc, paired_logloss
from fieldwise.metrics.student import holm
from fieldwise.models.load import load_model
from fieldwise.training.score import predict_batches

__all__ = ["Contender", "Difference", "SeedSummary", "differences", "spreads"]

_BATCH = 8192
_METRICS = ("auc", "gauc", "logloss", "normalized_entropy", "pr_auc", "calibration_ratio", "calibration_error")
Probabilities = npt.NDArray[np.floating[Any]]


class SeedSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Statistics of a model over the training seeds.

    Attributes
    ----------
    model
        The model as in the argument `models` of `compare`; also the name of its folder.
    parameters, seconds_per_epoch, epochs
        Means over the seeds.
    mean, deviation
        Mean and sample standard deviation (None with one seed) of each metric, by part; metrics that are undefined for
        some seed are omitted.
    """

    model: str
    parameters: float
    seconds_per_epoch: float
    epochs: float
    mean: dict[str, dict[str, float]]
    deviation: dict[str, dict[str, float | None]]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """The difference between two models, `model` minus `against`, in one metric (`metrics.paired.Paired`).

    Attributes
    ----------
    model, against, metric, part
        The models, the metric, and the part on which it is computed.
    difference, standard_error, low, high, p_value, seeds_share, method
        See `metrics.paired.Paired`. The interval is not corrected for multiple comparisons.
    corrected_p_value
        Corrected by Holm's method for the number of models compared in this metric.
    verdict
        ``better`` or ``worse`` if `corrected_p_value` is below the level, otherwise ``not distinguishable``.
    """

    model: str
    against: str
    metric: str
    part: str
    difference: float
    standard_error: float
    low: float
    high: float
    p_value: float
    corrected_p_value: float
    seeds_share: float
    method: str
    verdict: Literal["better", "worse", "not distinguishable"]


class Contender(NamedTuple):
    """A model and its runs, one per seed."""

    name: str
    runs: Sequence[Result]

    def goodness(self) -> float:
        """Return the mean validation AUC, by which the best model is chosen: the test rows stay unseen."""
        values = [run.valid.auc for run in self.runs if run.valid is not None and run.valid.auc is not None]
        return fmean(values) if values else -1.0

    def probabilities(self, cache: Cache) -> list[Probabilities]:
        """Return the probabilities of the rows of a part, in the order of the cache, for each seed."""
        return [_predict(Path(run.folder), cache) for run in self.runs]


def spreads(contenders: Sequence[Contender]) -> list[SeedSummary]:
    """Return the statistics of each model over its seeds."""
    return [_spread(contender) for contender in contenders]


def differences(
    contenders: Sequence[Contender], against: str, cache: Cache, part: str, level: float
) -> list[Difference]:
    """Compare every model with a reference model on the rows of a part: AUC, logloss and, if there are groups, GAUC."""
    columns = _columns(cache)
    reference = next(contender for contender in contenders if contender.name == against).probabilities(cache)
    found: dict[str, list[tuple[str, Paired]]] = {}
    for contender in contenders:
        if contender.name == against:
            continue
        rows = _Compared(*columns, contender.probabilities(cache), reference)
        for number, name in enumerate(contenders[0].runs[0].labels or [""]):
            for metric, result in (rows.of_label(number) if name else rows).pairs(level):
                found.setdefault(f"{metric}:{name}".rstrip(":"), []).append((contender.name, result))
    return [
        _difference(name, against, metric, part, result, corrected, level)
        for metric, results in found.items()
        for (name, result), corrected in zip(results, holm([result.p_value for _, result in results]), strict=True)
    ]


def differences_over_folds(contenders: Sequence[Contender], against: str, level: float) -> list[Difference]:
    """Compare every model with a reference model over folds, a run each: AUC and logloss of the test part."""
    summaries = {contender.name: contender.runs for contender in contenders}
    found = []
    for metric in ("auc", "logloss"):
        values = {
            name: [value for run in runs if run.test is not None and (value := getattr(run.test, metric)) is not None]
            for name, runs in summaries.items()
        }
        whole = {name: each for name, each in values.items() if len(each) == len(summaries[name])}
        if against not in whole:
            continue
        pairs = {name: paired_folds(each, whole[against], level=level) for name, each in whole.items()}
        del pairs[against]
        corrected = holm([pair.p_value for pair in pairs.values()])
        found += [
            _difference(name, against, metric, "test", pair, p_value, level)
            for (name, pair), p_value in zip(pairs.items(), corrected, strict=True)
        ]
    return found


class _Compared(NamedTuple):
    """What two models said of the same rows, for each seed."""

    labels: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32] | None
    groups: npt.NDArray[np.uint64] | None
    own: list[Probabilities]
    reference: list[Probabilities]

    def of_label(self, number: int) -> _Compared:
        """Return what the rows say of one of several labels, those that say nothing of it left out."""
        states = label_states(self.labels, number)
        known = states != MISSING_LABEL
        weights, groups = (None if column is None else column[known] for column in (self.weights, self.groups))
        own, reference = ([each[known, number] for each in of_seeds] for of_seeds in (self.own, self.reference))
        return _Compared(states[known], weights, groups, own, reference)

    def pairs(self, level: float) -> Iterator[tuple[str, Paired]]:
        """Yield what can be compared: a metric that these rows do not define is left out."""
        labels, weights, groups, own, reference = self
        with suppress(DataError):  # a label hardly occurs: the reason stands in the tables of metrics
            yield "auc", paired_auc(labels, own, reference, weights, level=level)
        yield "logloss", paired_logloss(labels, own, reference, weights, level=level)
        if groups is not None and own[0].ndim == 1:
            with suppress(DataError):
                yield "gauc", paired_gauc(labels, groups, own, reference, weights, level=level)


def _difference(
    name: str, against: str, metric: str, part: str, result: Paired, corrected: float, level: float
) -> Difference:
    verdict: Literal["better", "worse", "not distinguishable"] = "not distinguishable"
    if corrected < level:
        verdict = "better" if (result.difference > 0) != metric.startswith("logloss") else "worse"
    return Difference(
        model=name,
        against=against,
        metric=metric,
        part=part,
        corrected_p_value=corrected,
        verdict=verdict,
        **result._asdict(),
    )


def _spread(contender: Contender) -> SeedSummary:
    runs = contender.runs
    parts: dict[str, list[Metrics]] = {}
    for run in runs:
        for name, metrics in (("valid", run.valid), ("test", run.test)):
            for label, each in metrics.by_label().items() if metrics is not None else ():
                parts.setdefault(f"{name} {label}".strip(), []).append(each)
    mean: dict[str, dict[str, float]] = {}
    deviation: dict[str, dict[str, float | None]] = {}
    for part, of_part in parts.items():
        for metric in _METRICS if of_part else ():
            values = [value for metrics in of_part if (value := getattr(metrics, metric)) is not None]
            if len(values) == len(runs):
                mean.setdefault(part, {})[metric] = fmean(values)
                deviation.setdefault(part, {})[metric] = stdev(values) if len(values) > 1 else None
    return SeedSummary(
        model=contender.name,
        parameters=fmean(run.parameters for run in runs),
        seconds_per_epoch=fmean(run.seconds_per_epoch for run in runs),
        epochs=fmean(run.epochs for run in runs),
        mean=mean,
        deviation=deviation,
    )


def _predict(run: Path, cache: Cache) -> Probabilities:
    model = load_model(open_bundle(run))
    batches = Batches(cache, _BATCH, shuffle=False)
    return np.concatenate(list(predict_batches(model, (examples.batch for examples in batches.epoch(0)))))


def _columns(
    cache: Cache,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32] | None, npt.NDArray[np.uint64] | None]:
    """Return labels, weights and groups of all rows."""
    # Of each batch only these columns are kept: the features of a whole part may be far larger than they are.
    parts = [(each.labels, each.weights, each.groups) for each in Batches(cache, _BATCH, shuffle=False).epoch(0)]
    labels, weights, groups = (
        None if column[0] is None else np.concatenate(column) for column in map(list, zip(*parts, strict=True))
    )
    assert labels is not None, "models can only be compared on labelled examples"
    return labels, weights, groups
