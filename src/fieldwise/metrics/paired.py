"""Paired comparison of two models: the difference of a metric on the same examples, with a confidence interval.

With S training seeds, d_s the difference of a metric between models a and b trained with seed s, and d the mean of
d_s::

    standard_error^2 = var(d) over test examples + (sample variance of d_s) / S        second term if S > 1

The first term is DeLong's for the unweighted AUC of two classes (with placements averaged over the seeds, which gives
the variance of the mean difference). Otherwise it is estimated by a bootstrap that resamples the same examples for both
models and all seeds. The interval and the p-value use Student's t with the degrees of freedom of Welch and
Satterthwaite, so the interval is wide if a few seeds disagree.

Examples are treated as independent, although the impressions of one user are not; GAUC resamples whole groups.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993; for DeLong's test see `metrics.delong`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, sqrt
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.errors import DataError
from fieldwise.kernels.auc import concordance, group_aucs, lexsort, pack
from fieldwise.metrics.columns import label_column
from fieldwise.metrics.delong import placements
from fieldwise.metrics.loss import logloss
from fieldwise.metrics.student import student_p_value, student_quantile

__all__ = ["Paired", "paired_auc", "paired_folds", "paired_gauc", "paired_logloss"]

Floats = npt.NDArray[np.float64]
Probabilities = npt.NDArray[np.floating[Any]]

_REPLICATES, _SEED = 1000, 0
_MAX_UNITS = 10_000
_LARGE = 1_000_000
"""With more examples, the bootstrap of an AUC, which is linear in their number, uses a fifth of the replicates."""


class Paired(NamedTuple):
    """The difference of a metric between two models, a minus b, and its significance.

    Attributes
    ----------
    difference
        Mean over the seeds.
    standard_error
        Includes the sampling of test examples and, with several seeds, the variation between seeds.
    low, high
        Confidence interval of the difference, at confidence 1 - level.
    p_value
        Two-sided, for the hypothesis that there is no difference.
    seeds_share
        Fraction of the squared standard error that is due to the seeds, 0 to 1; 0 with one seed, for which the
        variation of training is unknown.
    method
        How the variance over test examples was estimated: ``delong`` or ``bootstrap``; ``folds``: from the folds alone.
    """

    difference: float
    standard_error: float
    low: float
    high: float
    p_value: float
    seeds_share: float
    method: str


def paired_auc(
    labels: npt.ArrayLike,
    a: Sequence[Probabilities],
    b: Sequence[Probabilities],
    weights: npt.ArrayLike | None = None,
    *,
    level: float = 0.05,
) -> Paired:
    """Compare AUCs, by DeLong's test for two classes without weights and by a bootstrap otherwise.

    Parameters
    ----------
    labels
        (B,) integer classes, each of which occurs at least twice.
    a, b
        The probabilities of the two models for each training seed, (B,) or (B, O) each.
    weights
        (B,) example weights, >= 0; 1 by default.
    level
        One minus the confidence of the interval, in (0, 1).

    Raises
    ------
    DataError
        A label is not a class, or a class occurs less than twice.

    Examples
    --------
    >>> labels = np.array([0, 0, 0, 1, 1, 1])
    >>> a, b = np.array([0.1, 0.2, 0.4, 0.3, 0.7, 0.9]), np.array([0.1, 0.7, 0.2, 0.3, 0.2, 0.9])
    >>> result = paired_auc(labels, [a], [b])
    >>> [round(figure, 4) for figure in result[:2]], result.method
    ([0.1667, 0.3043], 'delong')
    """
    num_classes = 2 if a[0].ndim == 1 else a[0].shape[1]
    classes = label_column(labels, len(a[0]), num_classes)
    counts = np.bincount(classes, minlength=num_classes)
    if counts.min() < 2:
        raise DataError(
            "too few examples to compare AUCs",
            expected="at least two of each label",
            got=", ".join(map(str, counts)),
        )
    if num_classes == 2 and weights is None:
        positive = classes == 1
        v = np.empty((len(a), counts[1]))
        w = np.empty((len(a), counts[0]))
        for s, (of_a, of_b) in enumerate(zip(a, b, strict=True)):
            (v_a, w_a), (v_b, w_b) = (placements(each[positive], each[~positive]) for each in (of_a, of_b))
            v[s], w[s] = v_a - v_b, w_a - w_b
        variance = v.mean(axis=0).var(ddof=1) / counts[1] + w.mean(axis=0).var(ddof=1) / counts[0]
        return _combined(v.mean(axis=1), float(variance), level, "delong")
    ranked = [[_Ranked(each, classes, num_classes) for each in models] for models in (a, b)]
    ones = np.ones(len(classes)) if weights is None else np.asarray(weights, dtype=np.float64)
    of_seeds = np.array([x.auc(ones) - y.auc(ones) for x, y in zip(*ranked, strict=True)])
    rng = np.random.default_rng(_SEED)
    replicates = []
    for _ in range(_REPLICATES if len(classes) <= _LARGE else _REPLICATES // 5):
        drawn = np.bincount(rng.integers(len(classes), size=len(classes)), minlength=len(classes)) * ones
        replicates.append(np.mean([x.auc(drawn) - y.auc(drawn) for x, y in zip(*ranked, strict=True)]))
    return _combined(of_seeds, float(np.nanvar(replicates, ddof=1)), level, "bootstrap")


def paired_logloss(
    labels: npt.ArrayLike,
    a: Sequence[Probabilities],
    b: Sequence[Probabilities],
    weights: npt.ArrayLike | None = None,
    *,
    level: float = 0.05,
) -> Paired:
    """Compare loglosses by a bootstrap; a negative difference means that a is better.

    Parameters
    ----------
    labels, a, b, weights, level
        As for `paired_auc`; classes may be absent.

    Raises
    ------
    DataError
        A label is not a class.

    Examples
    --------
    >>> a, b = np.array([0.2, 0.9, 0.1]), np.array([0.4, 0.6, 0.3])
    >>> round(paired_logloss(np.array([0, 1, 0]), [a], [b]).difference, 4)
    -0.3148
    """
    num_classes = 2 if a[0].ndim == 1 else a[0].shape[1]
    classes = label_column(labels, len(a[0]), num_classes)
    ones = np.ones(len(classes)) if weights is None else np.asarray(weights, dtype=np.float64)
    losses = [_losses(of_a, classes) - _losses(of_b, classes) for of_a, of_b in zip(a, b, strict=True)]
    return _ratios(np.array(losses) * ones, ones, level)


def paired_gauc(
    labels: npt.ArrayLike,
    groups: npt.ArrayLike,
    a: Sequence[Probabilities],
    b: Sequence[Probabilities],
    weights: npt.ArrayLike | None = None,
    *,
    level: float = 0.05,
) -> Paired:
    """Compare GAUCs, for two classes, by a bootstrap over the groups.

    Parameters
    ----------
    labels
        (B,) 0 or 1.
    groups
        (B,) integers, the group of each example; at least two groups must contain both labels.
    a, b, weights, level
        As for `paired_auc`, with (B,) probabilities.

    Raises
    ------
    DataError
        A label is not 0 or 1, or fewer than two groups contain both labels.
    """
    positive = label_column(labels, len(a[0]), 2) == 1
    ones = np.ones(len(positive)) if weights is None else np.asarray(weights, dtype=np.float64)
    column = np.asarray(groups).astype(np.uint64)

    def of_groups(probabilities: Probabilities) -> tuple[Floats, Floats]:
        keys = pack(np.ascontiguousarray(probabilities), positive)
        order = lexsort(keys, column)
        aucs, sums = group_aucs(column[order], keys[order], ones[order])
        known = ~np.isnan(aucs)
        return aucs[known], sums[known]

    differences, sums = [], np.empty(0)
    for of_a, of_b in zip(a, b, strict=True):
        (auc_a, sums), (auc_b, _) = of_groups(of_a), of_groups(of_b)
        differences.append(auc_a - auc_b)
    if len(sums) < 2:
        raise DataError("too few groups to compare GAUCs", expected="two groups with both labels", got=len(sums))
    return _ratios(np.array(differences) * sums, sums, level)


def paired_folds(a: Sequence[float], b: Sequence[float], *, level: float = 0.05) -> Paired:
    """Compare a metric of two models over the same folds of a log, by Student's t.

    Folds share training rows, so the interval is rather too narrow (Bengio and Grandvalet, JMLR 5, 2004).

    Parameters
    ----------
    a, b
        The metric of each model on each fold, two or more.
    level
        As for `paired_auc`.

    Examples
    --------
    >>> found = paired_folds([0.71, 0.74, 0.75], [0.70, 0.72, 0.72])
    >>> round(found.difference, 4), round(found.low, 4), round(found.p_value, 3)
    (0.02, -0.0048, 0.074)
    """
    return _combined(np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64), 0.0, level, "folds")


class _Ranked:
    """The examples sorted by the probability of each class, so that the AUC can be computed for many weightings."""

    def __init__(self, probabilities: Probabilities, classes: npt.NDArray[np.int32], num_classes: int) -> None:
        columns = [probabilities] if num_classes == 2 else list(probabilities.T)
        self.orders, self.keys = [], []
        for number, column in enumerate(columns):
            keys = pack(np.ascontiguousarray(column), classes == (1 if num_classes == 2 else number))
            order = lexsort(keys)
            self.orders.append(order)
            self.keys.append(keys[order])

    def auc(self, weights: Floats) -> float:
        aucs = []
        for order, keys in zip(self.orders, self.keys, strict=True):
            doubled, positive, negative = concordance(keys, weights[order])
            aucs.append(doubled / (2 * positive * negative) if positive and negative else np.nan)
        return float(np.mean(aucs))


def _losses(probabilities: Probabilities, classes: npt.NDArray[np.int32]) -> Floats:
    if probabilities.ndim == 1:
        own = np.where(classes == 1, probabilities, 1 - probabilities)
    else:
        own = np.take_along_axis(probabilities, classes[:, None], axis=1)[:, 0]
    return logloss(own.astype(np.float64), probabilities.dtype)


def _ratios(numerators: Floats, weights: Floats, level: float) -> Paired:
    """Compare by a bootstrap of ``sum numerators / sum weights``, (S, U) and (U,), over U units.

    More than 10,000 units are first summed into 10,000 random groups, which preserves the variance of sums of
    identically distributed units and bounds the cost.
    """
    rng = np.random.default_rng(_SEED)
    of_seeds = numerators.sum(axis=1) / weights.sum()
    mean, units = numerators.mean(axis=0), weights
    if len(units) > _MAX_UNITS:
        place = rng.integers(_MAX_UNITS, size=len(units))
        mean = np.bincount(place, mean, minlength=_MAX_UNITS).astype(np.float64)
        units = np.bincount(place, units, minlength=_MAX_UNITS).astype(np.float64)
    replicates = np.empty(_REPLICATES)
    for number in range(_REPLICATES):
        drawn = np.bincount(rng.integers(len(units), size=len(units)), minlength=len(units))
        total = drawn @ units
        replicates[number] = drawn @ mean / total if total else np.nan
    return _combined(of_seeds, float(np.nanvar(replicates, ddof=1)), level, "bootstrap")


def _combined(of_seeds: Floats, test_variance: float, level: float, method: str) -> Paired:
    """Combine the variance over test examples with that over seeds."""
    difference, num_seeds = float(of_seeds.mean()), len(of_seeds)
    seeds_variance = float(of_seeds.var(ddof=1)) / num_seeds if num_seeds > 1 else 0.0
    variance = test_variance + seeds_variance
    if variance <= 0:  # all examples agree on the difference: it is 0, or certain
        return Paired(difference, 0.0, difference, difference, 1.0 if difference == 0 else 0.0, 0.0, method)
    degrees = variance**2 * (num_seeds - 1) / seeds_variance**2 if seeds_variance > 0 else inf
    error = sqrt(variance)
    half = error * student_quantile(level, degrees)
    p_value = student_p_value(difference / error, degrees)
    return Paired(difference, error, difference - half, difference + half, p_value, seeds_variance / variance, method)
