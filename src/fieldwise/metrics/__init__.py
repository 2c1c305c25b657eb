"""Metrics of click models over all examples at once: exact, weighted, mergeable, and the same in any order.

`BinaryMetrics` and `MulticlassMetrics` take examples in any number of updates and merges; `compute` returns `Metrics`,
in which a metric that is not defined is None, with a reason. `evaluate_predictions` does it in one call; `delong`
and the functions of `paired` compare two models.
"""

from __future__ import annotations

import numpy.typing as npt

from fieldwise.metrics.binary import BinaryMetrics
from fieldwise.metrics.delong import DeLong, delong
from fieldwise.metrics.multiclass import MulticlassMetrics
from fieldwise.metrics.paired import Paired, paired_auc, paired_gauc, paired_logloss
from fieldwise.metrics.result import Metrics

__all__ = [
    "BinaryMetrics",
    "DeLong",
    "Metrics",
    "MulticlassMetrics",
    "Paired",
    "delong",
    "evaluate_predictions",
    "paired_auc",
    "paired_gauc",
    "paired_logloss",
]


def evaluate_predictions(
    probabilities: npt.ArrayLike,
    labels: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
    num_classes: int = 2,
) -> Metrics:
    """Return the metrics of B examples; parameters and errors are those of the accumulators' `update`.

    Examples
    --------
    >>> import numpy as np
    >>> result = evaluate_predictions(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]))
    >>> result.auc, round(result.logloss, 6), round(result.pr_auc, 6)
    (0.75, 0.472288, 0.833333)
    """
    metrics = BinaryMetrics() if num_classes == 2 else MulticlassMetrics(num_classes)
    metrics.update(probabilities, labels, weights, groups)
    return metrics.compute()
