"""Metrics for more than two classes."""

from __future__ import annotations

from math import fsum
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.auc import concordance, pack
from fieldwise.metrics.columns import (
    Accumulator,
    ColumnArrays,
    group_column,
    label_column,
    probability_column,
    sort_by,
    weight_column,
    weights_of,
)
from fieldwise.metrics.loss import entropy, logloss
from fieldwise.metrics.own import OWN, own_metrics
from fieldwise.metrics.result import Metrics

__all__ = ["MulticlassMetrics"]


class MulticlassMetrics(Accumulator):
    """Accumulates the predictions of a model with O > 2 classes and computes its AUC, logloss and accuracy.

    AUC is the unweighted mean of the one-vs-rest AUCs of the classes; it is undefined if a class does not occur. Takes
    4 O or 8 O bytes per example for float32 or float64, plus 4 for the label and 8 for the weight. `compute` sorts O
    times. As for `BinaryMetrics`, results do not depend on the order of the examples.

    Parameters
    ----------
    num_classes
        O, >= 3.

    Raises
    ------
    ValueError
        There are fewer than three classes.

    Examples
    --------
    >>> metrics = MulticlassMetrics(num_classes=3)
    >>> metrics.update(np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.5, 0.2, 0.3]]), np.array([0, 1, 2]))
    >>> result = metrics.compute()
    >>> result.auc, round(result.accuracy, 4), result.undefined["pr_auc"]
    (1.0, 0.6667, 'defined for two classes only')
    """

    def __init__(self, num_classes: int) -> None:
        if num_classes < 3:
            raise ValueError(f"`num_classes` must be at least 3, got {num_classes}; use BinaryMetrics for two classes")
        super().__init__(num_classes)

    def update(
        self,
        probabilities: npt.ArrayLike,
        labels: npt.ArrayLike,
        weights: npt.ArrayLike | None = None,
        groups: npt.ArrayLike | None = None,
    ) -> None:
        """Add B examples; all updates must have the same float type and the same optional columns.

        Parameters
        ----------
        probabilities
            (B, O) float32 or float64, in [0, 1]; each row sums to 1 within 1e-3.
        labels
            (B,) 0 to O - 1; integers or integral floats.
        weights
            (B,) example weights, 0 or from 1e-100 to 1e100; 1 by default.
        groups
            (B,) integers; validated but not used, since GAUC is defined for two classes only.

        Raises
        ------
        ValueError
            The shapes or types do not match, or the columns differ from those of earlier updates.
        DataError
            A probability, label or weight is out of range; the message names the example.
        """
        matrix = probability_column(probabilities, self._num_classes)
        classes = label_column(labels, len(matrix), self._num_classes)
        chunk: dict[str, npt.NDArray[Any]] = {"probabilities": matrix.copy(), "labels": classes}
        if weights is not None:
            chunk["weights"] = weight_column(weights, len(matrix))
        if groups is not None:
            group_column(groups, len(matrix))
        self.add_columns(chunk)

    def compute(self) -> Metrics:
        """Return the metrics of all examples so far; more examples may be added afterwards."""
        examples = self.columns()
        if not examples or not weights_of(examples).any():
            return Metrics.nothing(num_examples=len(examples.get("labels", ())))

        probabilities, labels, weights = examples["probabilities"], examples["labels"], weights_of(examples)
        class_weights = [_sum(weights[labels == c]) for c in range(self._num_classes)]
        present = [c for c, weight in enumerate(class_weights) if weight > 0]
        absent = [c for c, weight in enumerate(class_weights) if weight == 0]
        total = fsum(class_weights)
        own = np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0].astype(np.float64)
        mean_logloss = _sum(weights * logloss(own, probabilities.dtype)) / total
        figures: dict[str, float | str] = {
            "logloss": mean_logloss,
            "accuracy": _sum(weights * (probabilities.argmax(axis=1) == labels)) / total,
        }
        if absent:
            figures["auc"] = "no example has label " + " or ".join(map(str, absent))
        else:
            figures["auc"] = fsum(_one_against_rest(examples, c) for c in present) / self._num_classes
        if len(present) == 1:
            figures["normalized_entropy"] = f"only label {present[0]} occurs"
        else:
            figures["normalized_entropy"] = mean_logloss / entropy(*(class_weights[c] for c in present))
        found = {}
        if OWN:
            order = np.lexsort((weights, labels, *probabilities.T))
            found = own_metrics(probabilities[order], labels[order], weights[order])
        return Metrics.of(len(labels), total, figures, "defined for two classes only", found)


def _one_against_rest(examples: ColumnArrays, c: int) -> float:
    keys = pack(examples["probabilities"][:, c], examples["labels"] == c)
    weights = {name: examples[name] for name in ("weights",) if name in examples}
    ranked = sort_by({"keys": keys, **weights}, "weights", "keys")
    doubled, positive, negative = concordance(ranked["keys"], weights_of(ranked))
    return float(doubled / (2 * positive * negative))


def _sum(values: npt.NDArray[Any]) -> float:
    """Return the sum of the sorted values, which does not depend on the order of the examples."""
    return float(np.sort(values).sum())
