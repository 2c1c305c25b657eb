r"""Confidence intervals of a share, an AUC and a logloss, at 95 %.

For n examples with weights w, labels y and probabilities p::

    share     Wilson's interval: (s + z^2 / 2n -+ z sqrt(s (1 - s) / n + z^2 / 4n^2)) / (1 + z^2 / n)
    logloss   l -+ z sqrt(sum w^2 (l_i - l)^2) / sum w
    AUC       a -+ z sqrt(sum+ w^2 (V_i - a)^2 / W+^2 m / (m - 1) + sum- w^2 (V_i - a)^2 / W-^2 n / (n - 1))

with z = 1.96, l_i the loss of an example, V_i its placement: the share of the weight of the other label that it is
ranked correctly against. Without weights the last one is DeLong's (`metrics.delong`).

Source: Wilson, Journal of the American Statistical Association 22, 1927; DeLong, DeLong and Clarke-Pearson, Biometrics
44, 1988.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fieldwise.metrics.loss import logloss

__all__ = ["Estimate", "Z", "auc_estimate", "logloss_estimate", "wilson"]

Z = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""

Floats = npt.NDArray[np.floating[Any]]


class Estimate(msgspec.Struct, frozen=True):
    """A figure, and the ends of its 95 % confidence interval."""

    value: float
    low: float
    high: float


def wilson(share: float, count: float) -> Estimate:
    """Return the interval of a share seen among `count` > 0 examples; unlike the normal one it stays in [0, 1].

    Examples
    --------
    >>> found = wilson(0.0, 10)
    >>> found.low, round(found.high, 4)
    (0.0, 0.2775)
    """
    inverse = Z**2 / count
    middle = (share + inverse / 2) / (1 + inverse)
    half = Z * sqrt(max(share * (1 - share), 0.0) / count + inverse / (4 * count)) / (1 + inverse)
    return Estimate(share, min(max(middle - half, 0.0), share), max(min(middle + half, 1.0), share))


def logloss_estimate(
    labels: npt.NDArray[np.integer[Any]], probabilities: Floats, weights: Floats | None = None
) -> Estimate | None:
    """Return the logloss of B examples of two classes; all arrays are (B,). None where none has any weight.

    Examples
    --------
    >>> found = logloss_estimate(np.array([1, 0]), np.array([0.5, 0.5]))
    >>> round(found.value, 4), round(found.high - found.low, 4)
    (0.6931, 0.0)
    """
    p = probabilities.astype(np.float64)
    losses = logloss(np.where(labels == 1, p, 1 - p), probabilities.dtype)
    w = np.ones(len(losses)) if weights is None else weights.astype(np.float64)
    if not w.any():
        return None
    mean = float(w @ losses / w.sum())
    half = Z * sqrt(float(((w * (losses - mean)) ** 2).sum())) / float(w.sum())
    return Estimate(mean, mean - half, mean + half)


def auc_estimate(
    labels: npt.NDArray[np.integer[Any]], probabilities: Floats, weights: Floats | None = None
) -> Estimate | None:
    """Return the AUC of B examples and its interval, cut to [0, 1]; the equation is the module's.

    None where there are fewer than two examples of a class, or their weights are all zero.

    Parameters
    ----------
    labels
        (B,): 1 for the positive class, anything else for the negative one.
    probabilities
        (B,): only their order counts.
    weights
        (B,), not negative; 1 for every example unless given.

    Examples
    --------
    >>> found = auc_estimate(np.array([0, 0, 0, 1, 1, 1]), np.array([0.1, 0.2, 0.4, 0.3, 0.7, 0.9]))
    >>> round(found.value, 4), round(found.low, 4), found.high
    (0.8889, 0.5809, 1.0)
    """
    positive = labels == 1
    num_positive = int(np.count_nonzero(positive))
    if min(num_positive, len(labels) - num_positive) < 2:
        return None
    w = np.ones(len(labels)) if weights is None else weights.astype(np.float64)
    if not w[positive].any() or not w[~positive].any():
        return None
    above = _placements(probabilities[positive], probabilities[~positive], w[~positive])
    below = 1 - _placements(probabilities[~positive], probabilities[positive], w[positive])
    auc = float(w[positive] @ above / w[positive].sum())
    variance = _variance(above, w[positive], auc) + _variance(below, w[~positive], auc)
    half = Z * sqrt(variance)
    return Estimate(auc, max(auc - half, 0.0), min(auc + half, 1.0))


def _placements(own: Floats, others: Floats, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the share of the weight of `others` below each of `own`, ties counted half."""
    order = np.argsort(others)
    ordered, sums = others[order], np.concatenate([[0.0], np.cumsum(weights[order])])
    twice = sums[np.searchsorted(ordered, own, side="left")] + sums[np.searchsorted(ordered, own, side="right")]
    found: npt.NDArray[np.float64] = twice / (2 * sums[-1])
    return found


def _variance(placed: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], auc: float) -> float:
    """Return the part of one label in the variance of an AUC."""
    spread = float(((weights * (placed - auc)) ** 2).sum()) / float(weights.sum()) ** 2
    return spread * len(placed) / (len(placed) - 1)
