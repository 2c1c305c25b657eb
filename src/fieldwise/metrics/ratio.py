"""Calibration with its interval: the sum of predictions over the clicks, and how far chance alone may move it.

For B examples with weights w, probabilities p and labels y, let Y = sum w y, P = sum w p, A = sum w^2 p and
C = sum w^2 p^2. If a model predicts r times too many clicks, a click has the probability p / r, so

    (Y - P / r)^2 <= z^2 (A / r - C / r^2)

holds with the confidence that belongs to z. The r for which it holds are the interval (Wilson's, for examples that
differ): it stays right for few clicks, and with none it is open above. Clicks are taken as independent.

Where a slice differs from day to day by more than chance they are not: weather, a sale, a broken page. With Y_sd and
P_sd of slice s on day d, V_sd = sum w^2 p (1 - p) and r_s = sum_d Y_sd / sum_d P_sd, the dispersion is::

    phi = sum_sd (Y_sd - r_s P_sd)^2 / (r_s V_sd)  /  (cells - slices)              cells with V_sd >= 1

is 1 where chance alone is at work. Where it is more than chance would make of it (z above 1.645 of chi squared's normal
approximation), z^2 above becomes z^2 phi: the variance of a quasi-Poisson model (McCullagh and Nelder, Generalized
Linear Models, 1989, 4.5).

Source: E. B. Wilson, Probable inference, JASA 22, 1927.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["CalibrationRatios", "calibration_by", "dispersion_between"]

Floats = npt.NDArray[np.float64]

_LEAST_VARIANCE = 1.0
_BY_CHANCE = 1.645


class CalibrationRatios(NamedTuple):
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
    dispersion: float = 1.0,
) -> CalibrationRatios:
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
    dispersion
        Of the clicks, phi >= 1; infinite where nothing is known of it.

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
    examples = np.bincount(slices, minlength=num_slices)
    if np.isinf(dispersion):
        with np.errstate(divide="ignore", invalid="ignore"):
            return CalibrationRatios(examples, predicted / clicks, np.zeros(num_slices), np.full(num_slices, np.inf))
    z2 = NormalDist().inv_cdf(1 - level / 2) ** 2 * dispersion
    # In s = 1 / r it is s^2 (P^2 + z^2 C) - s (2 Y P + z^2 A) + Y^2 <= 0.
    square, half = predicted**2 + z2 * c, clicks * predicted + z2 * a / 2
    root = np.sqrt(np.maximum(half**2 - square * clicks**2, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        return CalibrationRatios(
            examples,
            predicted / clicks,
            square / (half + root),
            np.where(clicks > 0, square / (half - root), np.where(predicted > 0, np.inf, np.nan)),
        )


def dispersion_between(
    slices: npt.NDArray[np.integer],
    days: npt.NDArray[np.integer],
    labels: npt.ArrayLike,
    probabilities: npt.NDArray[np.floating],
    weights: npt.ArrayLike | None = None,
) -> float:
    """Return by how much slices differ from day to day, phi: 1 where chance explains it, infinite where no slice is
    seen on two days.

    Parameters
    ----------
    slices, days
        (B,) integers, from 0 on.
    labels, probabilities, weights
        As for `calibration_by`.

    Examples
    --------
    Two slices on two days, 400 examples each with the probability .1; the first has 60 clicks, then 20:

    >>> slices, days = np.repeat([0, 0, 1, 1], 400), np.repeat([0, 1, 0, 1], 400)
    >>> clicks = np.concatenate([np.arange(400) < count for count in (60, 20, 40, 40)])
    >>> round(dispersion_between(slices, days, clicks, np.full(1600, 0.1)), 3)
    11.111
    >>> dispersion_between(slices, slices, clicks, np.full(1600, 0.1))
    inf
    """
    y, p = np.asarray(labels, dtype=np.float64), probabilities.astype(np.float64)
    w = np.ones(len(p)) if weights is None else np.asarray(weights, dtype=np.float64)
    shape = int(slices.max(initial=-1)) + 1, int(days.max(initial=-1)) + 1
    cells = slices.astype(np.int64) * shape[1] + days
    clicks, predicted, variance = (
        np.bincount(cells, each, shape[0] * shape[1]).reshape(shape) for each in (w * y, w * p, w * w * p * (1 - p))
    )
    counted = variance >= _LEAST_VARIANCE
    clicks, predicted, variance = (np.where(counted, each, 0.0) for each in (clicks, predicted, variance))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (clicks.sum(axis=1) / predicted.sum(axis=1))[:, np.newaxis]
        terms = (clicks - ratio * predicted) ** 2 / (ratio * variance)
    freedom = int(counted.sum()) - int(counted.any(axis=1).sum())
    if freedom < 1:
        return float("inf")
    total = float(np.where(counted & (ratio > 0), terms, 0.0).sum())
    return total / freedom if total - freedom > _BY_CHANCE * np.sqrt(2 * freedom) else 1.0
