"""The loss of logistic regression and its derivative, from logits: what autograd would say, in one pass."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["logistic_errors"]

Floats = npt.NDArray[np.floating]


@njit(cache=True, nogil=True)
def logistic_errors(
    sums: Floats, bias: float, labels: npt.NDArray[np.int32], weights: npt.NDArray[np.float32], errors: Floats
) -> tuple[float, float]:
    """Write the derivative of the mean logloss by each example's logit, and return the mean and the derivatives' sum.

    With ``z[b] = sums[b] + bias`` and W the sum of the weights::

        loss      = sum over b of  weight[b] (log(1 + exp(z[b])) - y[b] z[b]) / W
        errors[b] = weight[b] (sigmoid(z[b]) - y[b]) / W

    Parameters
    ----------
    sums
        (B, 1): what the features add up to.
    bias
        Added to each; the sum that is returned is its gradient.
    labels
        (B,) 0 or 1.
    weights
        (B,), or (0,) where all are 1.
    errors
        (B, 1), written.
    """
    num_examples = np.uint64(len(labels))
    weighted = len(weights) > 0
    total = float(num_examples)
    if weighted:
        total = 0.0
        for b in range(num_examples):
            total += weights[b]
    share = 1.0 / total if total > 0 else 0.0
    loss = slope = 0.0
    for b in range(num_examples):
        z = np.float64(sums[b, 0]) + bias
        small = math.exp(-abs(z))  # never overflows
        probability = (1.0 if z >= 0 else small) / (1.0 + small)
        weight = weights[b] * share if weighted else share
        loss += weight * (max(z, 0.0) + math.log1p(small) - labels[b] * z)
        error = weight * (probability - labels[b])
        slope += error
        errors[b, 0] = error
    return loss, slope
