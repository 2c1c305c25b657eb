"""Calibration with its interval: the sum of predictions over the clicks, and how far chance alone may move it.

For B examples with weights w, probabilities p and labels y, let Y = sum w y, P = sum w p, A = sum w^2 p and
C = sum w^2 p^2. If a model predicts r times too many clicks, a click has the probability p / r, so

    (Y - P / r)^2 <= z^2 (A / r - C / r^2)

holds with the confidence that belongs to z. The r for which it holds are the interval (Wilson's, for examples that
differ): it stays right for few clicks, and with none it is open above. Clicks are taken as independent.

Source: E. B. Wilson, Probable inference, JASA 22, 1927.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Calibration", "calibration_by"]

Floats = npt.NDArray[np.float64]


class Calibration(NamedTuple):
    """The calibration of S slices, each (S,).

    Attributes
    ----------
    examples
        Number of them.
    ratio, low, high
        Predictions over clicks, and their interval; infinite without clicks, NaN without examples.
    """

    examples: npt.NDArray[np.int64]
    ratio: Floats
    low: Floats
    high: Floats


def calibration_by(
    slices: npt.NDArray[np.integer],
    num_slices: int,
    labels: npt.ArrayLike,
    probabilities: npt.NDArray[np.floating],
    weights: npt.ArrayLike | None = None,
    *,
    level: float = 0.05,
) -> Calibration:
    """Return the calibration of every slice, in O(B + num_slices).

    Parameters
    ----------
    slices
        (B,) the slice of each example, 0 to num_slices - 1.
    num_slices
        S, >= 1.
    labels, probabilities, weights
        (B,) y, p and w >= 0; w is 1 by default.
    level
        One minus the confidence of each interval, in (0, 1).

    Examples
    --------
    Of 100 examples with the probability .1, ten are clicks, or none:

    >>> slices, labels = np.repeat([0, 1], 100), np.tile(np.arange(100) < 10, 2) & (np.arange(200) < 100)
    >>> found = calibration_by(slices, 2, labels, np.full(200, 0.1))
    >>> [[round(float(each), 3) for each in figures] for figures in found[1:]]
    [[1.0, inf], [0.574, 2.703], [1.811, inf]]
    """
    y, p = np.asarray(labels, dtype=np.float64), probabilities.astype(np.float64)
    w = np.ones(len(p)) if weights is None else np.asarray(weights, dtype=np.float64)
    clicks, predicted, a, c = (
        np.bincount(slices, each, num_slices) for each in (w * y, w * p, w * w * p, w * w * p * p)
    )
    z2 = NormalDist().inv_cdf(1 - level / 2) ** 2
    # In s = 1 / r it is s^2 (P^2 + z^2 C) - s (2 Y P + z^2 A) + Y^2 <= 0.
    square, half = predicted**2 + z2 * c, clicks * predicted + z2 * a / 2
    root = np.sqrt(np.maximum(half**2 - square * clicks**2, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        return Calibration(
            np.bincount(slices, minlength=num_slices),
            predicted / clicks,
            square / (half + root),
            np.where(clicks > 0, square / (half - root), np.where(predicted > 0, np.inf, np.nan)),
        )
