"""Metrics of click models: exact, weighted, mergeable, and independent of the order of the examples.

`BinaryMetrics`, `MulticlassMetrics` and, for several labels, `JointMetrics` accumulate examples over any number of
updates and merges; `compute` returns `Metrics`, in which an undefined metric is None and has a reason.
`evaluate_predictions` does this in one call. `delong` and the functions of `paired` compare two models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldwise.errors import DataError
from fieldwise.metrics.binary import BinaryMetrics
from fieldwise.metrics.delong import DeLong, delong
from fieldwise.metrics.joint import JointMetrics
from fieldwise.metrics.multiclass import MulticlassMetrics
from fieldwise.metrics.paired import Paired, paired_auc, paired_folds, paired_gauc, paired_logloss
from fieldwise.metrics.result import Metrics

__all__ = [
    "Accumulator",
    "BinaryMetrics",
    "DeLong",
    "JointMetrics",
    "Metrics",
    "MulticlassMetrics",
    "Paired",
    "accumulator",
    "delong",
    "evaluate_predictions",
    "paired_auc",
    "paired_folds",
    "paired_gauc",
    "paired_logloss",
]


Accumulator = BinaryMetrics | JointMetrics | MulticlassMetrics


def accumulator(num_classes: int, labels: Sequence[str] = (), cutoff: int = 10) -> Accumulator:
    """Return what accumulates the predictions of a model of a label with so many classes, or of several labels."""
    if labels:
        return JointMetrics(labels, cutoff)
    return BinaryMetrics(cutoff) if num_classes == 2 else MulticlassMetrics(num_classes)


def evaluate_predictions(
    probabilities: npt.ArrayLike,
    labels: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
    num_classes: int = 2,
) -> Metrics:
    """Compute the metrics of B examples.

    All columns may be numpy arrays, lists, Arrow arrays, or pandas or polars series.

    Parameters
    ----------
    probabilities
        (B,) probabilities of label 1, in [0, 1]; or (B, O) for O > 2 classes, with rows that sum to 1 within 1e-3.
        float32 or float64.
    labels
        (B,) 0 or 1; or 0 to O - 1.
    weights
        (B,) example weights, 0 or from 1e-100 to 1e100; 1 by default.
    groups
        (B,) integers or texts, the groups of GAUC; two classes only.
    num_classes
        O, >= 2.

    Returns
    -------
    Metrics
        Undefined metrics are None.

    Raises
    ------
    TypeError
        A column has an unsupported type.
    ValueError
        The shapes or types of the columns do not match.
    DataError
        A value is out of range; the message names the example.

    Examples
    --------
    >>> import numpy as np
    >>> result = evaluate_predictions(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]))
    >>> result.auc, round(result.logloss, 6), round(result.pr_auc, 6)
    (0.75, 0.472288, 0.833333)
    """
    metrics = BinaryMetrics() if num_classes == 2 else MulticlassMetrics(num_classes)
    metrics.update(
        _numbers("probabilities", probabilities),
        _numbers("labels", labels),
        None if weights is None else _numbers("weights", weights),
        None if groups is None else _group_numbers(groups),
    )
    return metrics.compute()


def _array(name: str, values: Any) -> npt.NDArray[Any]:
    column = np.asarray(values)
    if column.ndim == 0:
        raise TypeError(f"`{name}` must be an array, a list or a series, not {type(values).__qualname__}")
    return column


def _numbers(name: str, values: Any) -> npt.NDArray[Any]:
    """Return a column as numbers; nullable columns of other libraries arrive as objects."""
    column = _array(name, values)
    if column.dtype == object:
        try:
            column = np.array([float(value) for value in column.ravel()]).reshape(column.shape)
        except (TypeError, ValueError) as error:
            raise DataError("the column contains values that are not numbers", where=name, got=error) from None
    return column


def _group_numbers(values: Any) -> npt.NDArray[Any]:
    column = _array("groups", values)
    if column.dtype.kind in "OUST":  # only equality counts
        return np.unique(column.astype(str), return_inverse=True)[1]
    return column
