"""Metrics for several labels of two classes each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import msgspec
import numpy as np
import numpy.typing as npt

from fieldwise.kernels.joint_labels import MISSING_LABEL, label_states
from fieldwise.metrics.binary import BinaryMetrics
from fieldwise.metrics.columns import ColumnArrays
from fieldwise.metrics.result import Metrics

__all__ = ["JointMetrics"]


class JointMetrics:
    """Accumulates the predictions of a model of several labels, and computes the metrics of each.

    Every label has those of the examples that say something of it, as `BinaryMetrics` has them.

    Parameters
    ----------
    labels
        The names of the L labels.
    cutoff
        See `BinaryMetrics`.

    Examples
    --------
    >>> metrics = JointMetrics(["click", "conversion"])
    >>> p = np.array([[0.1, 0.01], [0.6, 0.1], [0.7, 0.5]])
    >>> metrics.update(p, np.array([0, 1, 5]))  # neither, a click alone, both (`kernels.joint_labels`)
    >>> result = metrics.compute()
    >>> result.auc, {name: each.label_rate for name, each in result.labels.items()}
    (1.0, {'click': 0.6666666666666666, 'conversion': 0.3333333333333333})
    """

    def __init__(self, labels: Sequence[str], cutoff: int = 10) -> None:
        self._each = {label: BinaryMetrics(cutoff) for label in labels}

    def update(
        self,
        probabilities: npt.NDArray[np.floating[Any]],
        labels: npt.NDArray[np.integer[Any]],
        weights: npt.NDArray[Any] | None = None,
        groups: npt.NDArray[Any] | None = None,
    ) -> None:
        """Add B examples: probabilities (B, L) of the labels, and their codes (B,); else as `BinaryMetrics.update`."""
        for number, metrics in enumerate(self._each.values()):
            states = label_states(labels, number)
            known = states != MISSING_LABEL
            metrics.update(
                probabilities[known, number],
                states[known],
                None if weights is None else weights[known],
                None if groups is None else groups[known],
            )

    def add_columns(self, columns: ColumnArrays) -> None:
        """Add examples returned by the `columns` of another accumulator of these labels."""
        for number, metrics in enumerate(self._each.values()):
            own = {name: array for name, array in columns.items() if name.startswith(f"{number}.")}
            metrics.add_columns({name.partition(".")[2]: array for name, array in own.items()})

    def merge(self, other: Self) -> None:
        """Add the examples of another accumulator of these labels, which is not changed."""
        self.add_columns(other.columns())

    def columns(self) -> ColumnArrays:
        """Return all examples as arrays that another process can pass to `add_columns`."""
        return {
            f"{number}.{name}": array
            for number, metrics in enumerate(self._each.values())
            for name, array in metrics.columns().items()
        }

    def compute(self) -> Metrics:
        """Return the metrics of the first label, with those of each in `Metrics.labels`."""
        of_labels = {label: metrics.compute() for label, metrics in self._each.items()}
        return msgspec.structs.replace(next(iter(of_labels.values())), labels=of_labels)
