"""Logloss, and the entropy by which it is normalized."""

from __future__ import annotations

from math import fsum, log

import numpy as np
import numpy.typing as npt

__all__ = ["entropy", "logloss"]


def logloss(own: npt.NDArray[np.float64], given_as: npt.DTypeLike) -> npt.NDArray[np.float64]:
    """Return -log(p) for the probabilities p that a model assigned to the true labels.

    p is first clipped to [eps, 1 - eps], as in scikit-learn, with eps that of `given_as`: a probability of exactly 0
    costs 15.9 in float32, 36.0 in float64.

    Parameters
    ----------
    own
        (B,) probabilities of the true labels, in [0, 1].
    given_as
        The float type in which the model returned them.

    Examples
    --------
    >>> logloss(np.array([0.5, 0.0]), np.float32).round(4)
    array([ 0.6931, 15.9424])
    """
    eps = float(np.finfo(given_as).eps)
    loss: npt.NDArray[np.float64] = -np.log(own.clip(eps, 1 - eps))
    return loss


def entropy(*class_weights: float) -> float:
    """Return the entropy -sum p log p, in nats, of classes with p proportional to the given positive weights.

    Examples
    --------
    >>> round(entropy(1, 1), 4), round(entropy(1, 99), 4)
    (0.6931, 0.056)
    """
    total = fsum(class_weights)
    return -fsum(weight / total * log(weight / total) for weight in class_weights)
