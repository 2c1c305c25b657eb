"""Two versions compared on the held-out examples of several days, of which the newer ones count more.

An example of day d, a days before the newest one, counts with its own weight u_b times the factor of its day::

    f_d = 2^(-a / half_life),        the newest day's at most so large that its examples are the share `newest` of all

Effects drift, so an old day says less of tomorrow than a new one: a version that has followed them is a little worse on
the days of last week than one that still remembers them. The newest day says most, but not all: the new version has
learned from the rest of it, and it may be what is wrong. The differences new - old are::

    AUC         sum W_d (AUC_new,d - AUC_old,d) / sum W_d,                W_d = f_d min(clicks, others of day d)
    logloss     sum f_d u_b (loss_new,b - loss_old,b) / sum f_d u_b

AUCs are taken within days, which differ in level. With var_d DeLong's variance on day d (a bootstrap's with weights),
and x_b the differences of losses, of mean x, the squared standard errors are::

    AUC         sum W_d^2 var_d / (sum W_d)^2
    logloss     sum (f_d u_b)^2 (x_b - x)^2 / (sum f_d u_b)^2
"""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.metrics.loss import logloss
from fieldwise.metrics.paired import paired_auc

__all__ = ["Difference", "auc_difference", "by_age", "logloss_difference"]

Floats = npt.NDArray[np.float64]
Probabilities = npt.NDArray[np.floating[Any]]


class Difference(NamedTuple):
    """A difference new - old, and its standard error."""

    value: float
    error: float

    def interval(self, level: float) -> tuple[float, float]:
        """Return where it lies with the confidence 1 - level, both ends."""
        half = NormalDist().inv_cdf(1 - level / 2) * self.error if level < 1 else 0.0
        return self.value - half, self.value + half


def by_age(
    days: npt.NDArray[np.int64], half_life: float, newest: float, weights: npt.NDArray[np.floating[Any]] | None = None
) -> tuple[Floats, Floats]:
    """Return the factor of each example's day, f_d (B,), and the weight with which it counts, f_d u_b (B,).

    Parameters
    ----------
    days
        (B,) the number of each example's day.
    half_life
        In days, > 0.
    newest
        The share of the newest day at most, in (0, 1]. Where there is no other it counts alone.
    weights
        (B,) u >= 0; 1 by default.

    Examples
    --------
    >>> by_age(np.array([1, 3, 4, 4, 4, 4]), half_life=1, newest=0.5)[1].tolist()
    [0.125, 0.5, 0.15625, 0.15625, 0.15625, 0.15625]
    """
    own = np.ones(len(days)) if weights is None else np.asarray(weights, dtype=np.float64)
    age = days.max(initial=0) - days
    factors = np.exp2(-age / half_life)
    others = float(np.sum((factors * own)[age > 0]))
    total = float(np.sum(own[age == 0]))
    if others and newest < 1 and total:
        factors[age == 0] = min(1.0, others * newest / (1 - newest) / total)
    return factors, factors * own


def auc_difference(
    labels: npt.NDArray[np.integer[Any]],
    days: npt.NDArray[np.int64],
    factors: Floats,
    new: Probabilities,
    old: Probabilities,
    weights: npt.NDArray[np.floating[Any]] | None = None,
) -> Difference | None:
    """Return the difference of AUC, or None where no day has two examples of each label that count.

    Examples
    --------
    >>> labels, days = np.array([0, 0, 1, 1] * 2), np.repeat([1, 2], 4)
    >>> new, old = np.array([0.1, 0.3, 0.2, 0.4] * 2), np.array([0.1, 0.2, 0.3, 0.4] * 2)
    >>> auc_difference(labels, days, np.ones(8), new, old)
    Difference(value=-0.25, error=0.25)
    """
    counted = np.ones(len(labels), dtype=bool) if weights is None else np.asarray(weights) > 0
    found = []
    for day in np.unique(days):
        rows = np.flatnonzero((days == day) & counted)
        clicks = int(np.count_nonzero(labels[rows]))
        rarer = min(clicks, len(rows) - clicks)
        if rarer >= 2:
            own = None if weights is None else weights[rows]
            of_day = paired_auc(labels[rows], [new[rows]], [old[rows]], own)
            found.append((factors[rows[0]] * rarer, of_day.difference, of_day.standard_error))
    if not found:
        return None
    shares, differences, errors = np.array(found).T
    shares /= shares.sum()
    return Difference(float(shares @ differences), sqrt(float(shares**2 @ errors**2)))


def logloss_difference(
    labels: npt.NDArray[np.integer[Any]], counts: Floats, new: Probabilities, old: Probabilities
) -> Difference:
    """Return the difference of logloss; `counts` (B,) is the weight of each example.

    Examples
    --------
    >>> labels, new, old = np.array([1, 0, 1, 0]), np.full(4, 0.5), np.array([0.8, 0.2, 0.8, 0.2])
    >>> [round(each, 4) for each in logloss_difference(labels, np.ones(4), new, old)]
    [0.47, 0.0]
    """
    losses = [logloss(np.where(labels == 1, p, 1 - p).astype(np.float64), p.dtype) for p in (new, old)]
    differences, total = losses[0] - losses[1], float(counts.sum())
    value = float(counts @ differences) / total
    return Difference(value, sqrt(float(counts**2 @ (differences - value) ** 2)) / total)
