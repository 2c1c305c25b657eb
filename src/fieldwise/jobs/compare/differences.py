"""What a comparison says of its models: mean and spread over seeds, and which differences are more than chance."""

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
from fieldwise.jobs.run import Result
from fieldwise.metrics import Metrics, Paired, paired_auc, paired_gauc, paired_logloss
from fieldwise.metrics.paired import holm
from fieldwise.models.load import load_model
from fieldwise.training.score import predict_batches

__all__ = ["Contender", "Difference", "Spread", "differences", "spreads"]

_BATCH = 8192
_METRICS = ("auc", "gauc", "logloss", "normalized_entropy", "pr_auc", "calibration_ratio", "calibration_error")
Probabilities = npt.NDArray[np.floating[Any]]


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """One model over the training seeds.

    Attributes
    ----------
    model
        As in `compare`'s `models`, and the name of its folder.
    parameters, seconds_per_epoch, epochs
        Means over the seeds.
    mean, deviation
        By part, then metric: the mean, and the sample standard deviation (None with one seed); metrics that are not
        defined with some seed are left out.
    """

    model: str
    parameters: float
    seconds_per_epoch: float
    epochs: float
    mean: dict[str, dict[str, float]]
    deviation: dict[str, dict[str, float | None]]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One model minus another, in one metric (`metrics.paired.Paired`).

    Attributes
    ----------
    model, against, metric, part
        What is compared.
    difference, standard_error, low, high, p_value, seeds_share, method
        See `metrics.paired.Paired`. The interval is of this difference alone.
    corrected_p_value
        By Holm's method for the number of models compared in this metric.
    verdict
        ``better``, ``worse`` or ``not distinguishable``: whether `corrected_p_value` is below the level, and for whom
        the difference speaks.
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
    """A model and its run for each seed."""

    name: str
    runs: Sequence[Result]

    def goodness(self) -> float:
        """Return the mean AUC on valid, by which the best is chosen: the test rows stay unseen."""
        values = [run.valid.auc for run in self.runs if run.valid is not None and run.valid.auc is not None]
        return fmean(values) if values else -1.0

    def probabilities(self, cache: Cache) -> list[Probabilities]:
        """Return the probabilities of a part's rows, in the order of the cache, for each seed."""
        return [_predict(Path(run.folder), cache) for run in self.runs]


def spreads(contenders: Sequence[Contender]) -> list[Spread]:
    """Return each model's figures over its seeds."""
    return [_spread(contender) for contender in contenders]


def differences(
    contenders: Sequence[Contender], against: str, cache: Cache, part: str, level: float
) -> list[Difference]:
    """Compare every model with one of them on the rows of a part: AUC, logloss and, where there are groups, GAUC."""
    labels, weights, groups = _columns(cache)
    reference = next(contender for contender in contenders if contender.name == against).probabilities(cache)
    found: dict[str, list[tuple[str, Paired]]] = {"auc": [], "logloss": [], "gauc": []}
    for contender in contenders:
        if contender.name == against:
            continue
        own = contender.probabilities(cache)
        for metric, result in _pairs(labels, weights, groups, own, reference, level):
            found[metric].append((contender.name, result))
    return [
        _difference(name, against, metric, part, result, corrected, level)
        for metric, results in found.items()
        for (name, result), corrected in zip(results, holm([result.p_value for _, result in results]), strict=True)
    ]


def _pairs(
    labels: npt.NDArray[np.int32],
    weights: npt.NDArray[np.float32] | None,
    groups: npt.NDArray[np.uint64] | None,
    own: list[Probabilities],
    reference: list[Probabilities],
    level: float,
) -> Iterator[tuple[str, Paired]]:
    """Yield what can be compared: a metric that these rows do not define is left out."""
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
        verdict = "better" if (result.difference > 0) != (metric == "logloss") else "worse"
    return Difference(
        model=name,
        against=against,
        metric=metric,
        part=part,
        corrected_p_value=corrected,
        verdict=verdict,
        **result._asdict(),
    )


def _spread(contender: Contender) -> Spread:
    runs = contender.runs
    parts: dict[str, list[Metrics]] = {
        name: [metrics for run in runs if (metrics := getattr(run, name)) is not None] for name in ("valid", "test")
    }
    mean: dict[str, dict[str, float]] = {}
    deviation: dict[str, dict[str, float | None]] = {}
    for part, of_part in parts.items():
        for metric in _METRICS if of_part else ():
            values = [value for metrics in of_part if (value := getattr(metrics, metric)) is not None]
            if len(values) == len(runs):
                mean.setdefault(part, {})[metric] = fmean(values)
                deviation.setdefault(part, {})[metric] = stdev(values) if len(values) > 1 else None
    return Spread(
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
    assert labels is not None, "only labelled examples can be compared"
    return labels, weights, groups
