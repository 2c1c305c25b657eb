"""Calibration: monotone maps from the logits of a model to probabilities.

With z the logit of label 1 and r the fraction of the negatives that training used (``train.negative_rate``)::

    z' = z + log r                      exact: keeping a fraction r of the negatives multiplies the odds by 1 / r
    none         p = sigmoid(z')
    temperature  p = sigmoid(slope z' + intercept)      fitted to logloss on the validation rows; slope > 0
    isotonic     p = the non-decreasing function of z' with the least squared error on the validation rows, linearly
                 interpolated between its steps

For more than two classes, ``temperature`` scales all logits, ``softmax(slope z)``; the other maps need two classes.

The first two preserve the order of the examples and therefore the AUC. An isotonic map is constant where the order on
the validation rows was wrong; the resulting ties count one half in the AUC, which may change slightly.

Source: J. Platt, Probabilistic outputs for support vector machines, 1999; Zadrozny and Elkan, Transforming classifier
scores into accurate multiclass probability estimates, KDD 2002; Guo et al., On calibration of modern neural networks,
ICML 2017; He et al., Practical lessons from predicting clicks on ads at Facebook, 2014, section 6.3 (down-sampling).
"""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from fieldwise.kernels.isotonic import isotonic

__all__ = ["Calibration", "Method", "sigmoid"]

Method = Literal["none", "temperature", "isotonic"]
Floats = npt.NDArray[np.float64]

_MAX_STEPS = 100
_SMALLEST_SLOPE = 1e-3


class Calibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A map from logits to probabilities, stored in a bundle as plain data.

    Attributes
    ----------
    offset
        log r, at most 0.
    slope, intercept
        Temperature scaling, slope > 0; 1 and 0 if there is none.
    knots, levels
        Isotonic map: increasing values of z', and the non-decreasing probability in [0, 1] at each; empty if there is
        none.

    Raises
    ------
    ValueError
        The parameters do not define a monotone map.

    Examples
    --------
    >>> half = Calibration.of_negative_rate(0.5)  # odds of 1 with half of the negatives are odds of 1/2 with all
    >>> half.probabilities(np.array([0.0])).round(4)
    array([0.3333])
    """

    offset: float = 0.0
    slope: float = 1.0
    intercept: float = 0.0
    knots: tuple[float, ...] = ()
    levels: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Check that the map is monotone."""
        finite = all(map(math.isfinite, (self.offset, self.slope, self.intercept, *self.knots, *self.levels)))
        rising = all(a < b for a, b in zip(self.knots, self.knots[1:], strict=False))
        rising = rising and all(a <= b for a, b in zip(self.levels, self.levels[1:], strict=False))
        inside = all(0 <= level <= 1 for level in self.levels)
        if not (finite and rising and inside and self.slope > 0 and len(self.knots) == len(self.levels)):
            raise ValueError("a calibration must be finite and non-decreasing, with levels in [0, 1]")

    @classmethod
    def of_negative_rate(cls, rate: float) -> Calibration:
        """Return the correction for training on a fraction of the negatives, 0 < rate <= 1."""
        return cls(offset=math.log(rate))

    @property
    def is_none(self) -> bool:
        """Whether this is the plain sigmoid (or softmax) of the logits."""
        return self == Calibration()

    def probabilities(self, logits: npt.NDArray[np.floating[Any]]) -> Floats:
        """Return the probabilities of B examples.

        Parameters
        ----------
        logits
            (B,) logits of label 1, or (B, O) logits of O classes.

        Returns
        -------
        ndarray
            (B,) or (B, O) float64.
        """
        if logits.ndim == 2:
            shifted = self.slope * (logits - logits.max(axis=1, keepdims=True)).astype(np.float64)
            exponentials = np.exp(shifted)
            return exponentials / exponentials.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]
        corrected = logits.astype(np.float64)
        if self.offset:
            corrected += self.offset
        if self.knots:
            return np.interp(corrected, self.knots, self.levels)
        if self.slope != 1.0 or self.intercept:  # each operation is a microsecond of a row that is alone
            corrected *= self.slope
            corrected += self.intercept
        return sigmoid(corrected)

    def fitted(
        self,
        method: Method,
        logits: npt.NDArray[np.floating[Any]],
        labels: npt.NDArray[np.integer[Any]],
        weights: npt.NDArray[np.floating[Any]] | None = None,
    ) -> Calibration:
        """Return a calibration with the same offset and a map fitted to validation rows.

        If fewer than two classes occur, or if `method` is ``none``, only the offset is kept.

        Parameters
        ----------
        method
            ``none``, ``temperature`` or ``isotonic``; only the first two for more than two classes.
        logits
            (B,) uncorrected logits z of label 1, or (B, O) logits of O classes.
        labels
            (B,) integer classes.
        weights
            (B,) example weights, >= 0; 1 by default.

        Examples
        --------
        >>> logits, labels = np.array([-3.0, -1.0, 1.0, 3.0] * 5), np.array([0, 1, 0, 1] * 5)
        >>> Calibration().fitted("temperature", logits, labels).slope < 1  # the model was overconfident
        True
        """
        base = Calibration(offset=self.offset)
        ones = np.ones(len(labels)) if weights is None else weights.astype(np.float64)
        seen = np.bincount(labels, weights=ones, minlength=2)
        if method == "none" or (seen > 0).sum() < 2:
            return base
        if logits.ndim == 2:
            return msgspec.structs.replace(base, slope=_fit_softmax(logits.astype(np.float64), labels, ones))
        corrected = logits.astype(np.float64) + self.offset
        if method == "isotonic":
            knots, levels = _fit_isotonic(corrected, labels, ones)
            return msgspec.structs.replace(base, knots=tuple(knots.tolist()), levels=tuple(levels.tolist()))
        slope, intercept = _fit_sigmoid(corrected, labels, ones)
        return msgspec.structs.replace(base, slope=slope, intercept=intercept)


def sigmoid(z: Floats) -> Floats:
    """Return 1 / (1 + exp(-z))."""
    with np.errstate(over="ignore"):  # the inverse of what is beyond all floats is 0
        return 1.0 / (1.0 + np.exp(-z))


def _fit_sigmoid(z: Floats, labels: npt.NDArray[np.integer[Any]], weights: Floats) -> tuple[float, float]:
    """Return the slope and intercept with the least logloss, by Newton's method with step halving.

    If the model ranks worse than chance, the best slope would be negative and reverse the ranking; then the slope stays
    1 and only the intercept is fitted.
    """
    inputs = np.stack([z, np.ones_like(z)])
    found = _newton(inputs, labels, weights, np.array([1.0, 0.0]))
    if found[0] < _SMALLEST_SLOPE:
        found = np.array([1.0, float(_newton(inputs[1:], labels, weights, np.zeros(1), given=z)[0])])
    return float(found[0]), float(found[1])


def _newton(
    inputs: Floats,
    labels: npt.NDArray[np.integer[Any]],
    weights: Floats,
    start: Floats,
    given: Floats | float = 0.0,
) -> Floats:
    """Minimise the logloss of ``sigmoid(given + theta . inputs)`` over theta."""
    total = weights.sum()

    def loss(theta: Floats) -> float:
        z = given + theta @ inputs
        return float((weights * (np.logaddexp(0.0, z) - labels * z)).sum() / total)

    theta, value = start, loss(start)
    for _ in range(_MAX_STEPS):
        p = sigmoid(given + theta @ inputs)
        gradient = inputs @ (weights * (p - labels)) / total
        hessian = (inputs * (weights * p * (1 - p))) @ inputs.T / total
        step = np.linalg.solve(hessian + 1e-12 * np.eye(len(theta)), gradient)
        rate = 1.0
        while (after := loss(theta - rate * step)) > value and rate > 1e-6:
            rate /= 2
        if after >= value - 1e-14:
            break
        theta, value = theta - rate * step, after
    return theta


def _fit_softmax(z: Floats, labels: npt.NDArray[np.integer[Any]], weights: Floats) -> float:
    """Return the slope with the least logloss of ``softmax(slope z)``, which is convex, by Newton's method."""
    own = np.take_along_axis(z, labels[:, None].astype(np.int64), axis=1)[:, 0]
    slope = 1.0
    for _ in range(_MAX_STEPS):
        p = Calibration(slope=slope).probabilities(z)
        mean = (p * z).sum(axis=1)
        gradient = (weights * (mean - own)).sum()
        curvature = (weights * ((p * z**2).sum(axis=1) - mean**2)).sum()
        step = gradient / max(curvature, 1e-12)
        after = max(slope - step, slope / 2, _SMALLEST_SLOPE)
        if abs(after - slope) < 1e-12 * slope:
            break
        slope = min(after, 2 * slope)
    return float(slope)


def _fit_isotonic(z: Floats, labels: npt.NDArray[np.integer[Any]], weights: Floats) -> tuple[Floats, Floats]:
    """Return the first and the last z' of each step, and its level.

    Levels stay half an example away from 0 and 1, since no finite sample proves that an event is impossible.
    """
    values, place = np.unique(z, return_inverse=True)
    mass = np.bincount(place, weights=weights).astype(np.float64)
    positive = np.bincount(place, weights=weights * labels).astype(np.float64)
    kept = mass > 0
    values, mass, positive = values[kept], mass[kept], positive[kept]
    margin = 0.5 / (mass.sum() + 1.0)
    levels = isotonic(positive / mass, mass).clip(margin, 1 - margin)
    edge = np.r_[True, levels[1:] != levels[:-1]] | np.r_[levels[1:] != levels[:-1], True]
    return values[edge], levels[edge]
