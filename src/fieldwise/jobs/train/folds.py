"""Cross-validation of small logs (``data.folds``): a model for each fold, and from them how to train on all rows.

With a few thousand clicks or less, a tenth of the rows says little of a model, and a tenth of them is missed in
training. Each fold is tested once, by a model that was trained without it and without the next, which chose its epoch,
penalty and stacking weights. Where a time is named (``data.time``) folds follow one another, and the model has learned
from the rows before its fold alone: an expanding window. The final model takes the medians of those, and all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from pathlib import Path
from statistics import fmean, median, stdev
from typing import NamedTuple

import msgspec

from fieldwise.config import Config
from fieldwise.jobs.result import FoldMetric, Result
from fieldwise.jobs.run import RUN_NAME, read_result
from fieldwise.metrics import Metrics
from fieldwise.metrics.student import student_quantile

__all__ = ["CrossValidated", "cross_validated", "fold_metric", "over_folds"]

_METRICS = ("auc", "logloss", "pr_auc", "gauc")


class CrossValidated(NamedTuple):
    """How to train on all rows, what counts of each head of a stack (none of a model alone), and the folds' metrics."""

    config: Config
    stacking_weights: list[float]
    metrics: dict[str, FoldMetric]


def cross_validated(config: Config, folder: Path, train: Callable[[Config, Path], Result]) -> CrossValidated:
    """Train a model for each fold of a log, each a run in `folder`, and return how to train on all rows.

    Parameters
    ----------
    config
        With ``data.folds``, and the kind of the model.
    folder
        Finished runs in it are left alone.
    train
        Trains a configuration into a run folder.
    """
    replace = msgspec.structs.replace
    assert config.data.folds is not None, "there are folds"
    results, penalties = [], []
    for fold in range(config.data.folds):
        run = folder / str(fold)
        results.append(train(config.changed("data", fold=fold), run))
        lr = run / "pretrain"
        penalties.append(results[-1].l2 if not (lr / RUN_NAME).exists() else getattr(read_result(lr), "l2", None))
    if sum(result.kept is not None for result in results) > len(results) / 2:
        config = config.changed("model", kind="lr")
    found = [l2 for l2 in penalties if l2 is not None]
    if found and config.pretrain.table.l2 is None:
        table = replace(config.pretrain.table, l2=float(median(found)))
        config = config.changed("pretrain", table=table)
    epochs = [result.best_epoch for result in results if result.best_epoch and result.kept is None]
    if epochs and config.model.kind not in ("lr", "bayesian-fm"):
        config = replace(config, train=replace(config.train, epochs=max(round(median(epochs)), 1)))
    weighed = [[weight for member in result.members for weight in member.weights] for result in results]
    weighed = [weights for weights in weighed if weights]
    weights = [fmean(of_head) for of_head in zip(*weighed, strict=True)]
    config = config.changed("data", folds=None)  # all rows train, those of the initial model, too
    metrics = [result.test for result in results if result.test is not None]
    return CrossValidated(config, weights, over_folds(metrics))


def over_folds(tests: Sequence[Metrics]) -> dict[str, FoldMetric]:
    """Return each metric that is defined in all folds."""
    found = {}
    for name in _METRICS:
        values = [value for test in tests if (value := getattr(test, name)) is not None]
        if len(values) == len(tests):
            found[name] = fold_metric(values)
    return found


def fold_metric(values: Sequence[float]) -> FoldMetric:
    """Return the mean of two or more values and its 95 % interval.

    Examples
    --------
    >>> found = fold_metric([0.70, 0.74, 0.72])
    >>> round(found.mean, 4), round(found.low, 4), round(found.high, 4)
    (0.72, 0.6703, 0.7697)
    """
    half = student_quantile(0.05, len(values) - 1) * stdev(values) / sqrt(len(values))
    mean = fmean(values)
    return FoldMetric(mean=mean, low=mean - half, high=mean + half, of_folds=list(values))
