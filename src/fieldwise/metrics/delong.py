"""DeLong's test for the difference between two AUCs on the same examples.

With m examples of label 1 and n of label 0, the *placement* of an example is the fraction of the examples with the
other label that it is ranked correctly against, ties counted half: V_i for label 1, W_j for label 0. Then AUC = mean V
= mean W, and for two models a and b on the same examples::

    var(AUC_a - AUC_b) = var(V_a - V_b) / m + var(W_a - W_b) / n            (sample variances)

which is the usual formula with its covariance matrices multiplied out.

Source: DeLong, DeLong and Clarke-Pearson, Biometrics 44, 1988; placements by sorting: Sun and Xu, IEEE Signal
Processing Letters 21, 2014.
"""

from __future__ import annotations

from math import erfc, sqrt
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.errors import DataError
from fieldwise.metrics.columns import label_column

__all__ = ["DeLong", "delong", "placements"]

Floats = npt.NDArray[np.float64]


class DeLong(NamedTuple):
    """Two AUCs on the same examples, and the significance of their difference.

    Attributes
    ----------
    auc_a, auc_b
        In [0, 1].
    difference
        auc_a - auc_b.
    standard_error
        Of the difference; its 95 % confidence interval is difference -+ 1.96 standard_error.
    p_value
        Two-sided, for the hypothesis that the AUCs are equal.
    """

    auc_a: float
    auc_b: float
    difference: float
    standard_error: float
    p_value: float


def delong(labels: npt.ArrayLike, probabilities_a: npt.ArrayLike, probabilities_b: npt.ArrayLike) -> DeLong:
    """Compare the AUCs of two models on the same examples by DeLong's test, in O(B log B).

    The normal approximation requires some tens of examples of each label. Weights are not supported, because the
    variance formula assumes identically distributed examples.

    Parameters
    ----------
    labels
        (B,) 0 or 1, at least two of each.
    probabilities_a, probabilities_b
        (B,) probabilities or logits; only their order matters.

    Raises
    ------
    ValueError
        The shapes differ.
    DataError
        A label is not 0 or 1, a probability is NaN, or a label occurs less than twice.

    Examples
    --------
    >>> labels = np.array([0, 0, 0, 1, 1, 1])
    >>> result = delong(labels, np.array([0.1, 0.2, 0.4, 0.3, 0.7, 0.9]), np.array([0.1, 0.7, 0.2, 0.3, 0.2, 0.9]))
    >>> [round(figure, 4) for figure in result]
    [0.8889, 0.7222, 0.1667, 0.3043, 0.5839]
    """
    a, b = np.asarray(probabilities_a), np.asarray(probabilities_b)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"both `probabilities` must have the same shape (B,), got {a.shape} and {b.shape}")
    positive = label_column(labels, len(a), num_classes=2) == 1
    num_positive = int(positive.sum())
    if min(num_positive, len(a) - num_positive) < 2:
        raise DataError(
            "too few examples to compare AUCs",
            expected="at least two of label 1 and two of label 0",
            got=f"{num_positive} and {len(a) - num_positive}",
        )
    if np.isnan(a).any() or np.isnan(b).any():
        raise DataError("a probability is NaN", expected="numbers")

    v_a, w_a = placements(a[positive], a[~positive])
    v_b, w_b = placements(b[positive], b[~positive])
    auc_a, auc_b = float(v_a.mean()), float(v_b.mean())
    difference = float((v_a - v_b).mean())
    standard_error = sqrt((v_a - v_b).var(ddof=1) / len(v_a) + (w_a - w_b).var(ddof=1) / len(w_a))
    if standard_error > 0:
        p_value = erfc(abs(difference) / standard_error / sqrt(2))
    else:  # all placements differ by the same amount: the difference is 0, or certain
        p_value = 1.0 if difference == 0 else 0.0
    return DeLong(auc_a, auc_b, difference, standard_error, p_value)


def placements(positive: npt.NDArray[Any], negative: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    """Return the fraction of negatives below each positive, and of positives above each negative, ties counted half.

    Parameters
    ----------
    positive, negative
        (m,) and (n,) probabilities or logits.

    Examples
    --------
    >>> v, w = placements(np.array([0.2, 0.9]), np.array([0.1, 0.2]))
    >>> v.tolist(), w.tolist()
    ([0.75, 1.0], [1.0, 0.75])
    """
    return _share_below(positive, np.sort(negative)), 1 - _share_below(negative, np.sort(positive))


def _share_below(values: npt.NDArray[Any], others: npt.NDArray[Any]) -> Floats:
    doubled = np.searchsorted(others, values, side="left") + np.searchsorted(others, values, side="right")
    return doubled / (2 * len(others))
