"""The true model of synthetic logs: the probability of a click as a known function of the features.

Letters: B examples, F fields, D features, H hidden units. Every feature d has one *effect* v[d]; the model depends on
one number per field, so that a locally connected network with one unit per field can represent it::

    z[f]       = v[feature of field f]                                    per field: mean 0, variance 1 over the log
    linear     = sum_f a[f] z[f]                                          mean 0, variance 1
    hidden[h]  = tanh(sum of c[f] z[f] over the fields f of group h)      less its mean; each field is in one group
    network    = hidden[0] hidden[1] + hidden[2] hidden[3] + ...          over its standard deviation
    logit      = bias + scale (sqrt(1 - q) linear + sqrt(q) network)      q: fraction of the network, 0 if linear

Fields are drawn independently, so the two factors of a product are independent and the product has mean zero given any
one feature: a sum over features cannot explain it. The fraction q therefore determines what a logistic regression must
miss, and `linear` is the best that it can do. `scale` and `bias` are solved for, so that the best possible AUC and the
click-through rate are the requested ones.

The model can be learned from a few examples per feature because frequent features make up most of the log, rare ones
have small effects, few fields matter much, and the network consists of a few smooth functions of sums. With 158 fields,
200,000 features and 800,000 training examples, a plain network with one unit per field came within .008 of the best
AUC, and a logistic regression within .004 of its own bound, both with an L2 penalty. Tried before: a skew of 1.2,
a[f]^2 spanning exp(-5), eight hidden units, q = .35; the same network, without a penalty, stayed .08 below the best.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "Truth",
    "auc_of_probabilities",
    "draw_effects",
    "draw_features",
    "feature_counts",
    "feature_probabilities",
    "plant",
    "sigmoid",
    "standardised",
]

Floats = npt.NDArray[np.float64]

_MIN_FEATURES = 2
_TAIL = 0.01
"""Share of the draws that take any feature of the field alike: the long tail of ids, seen a few times at most."""
_MAX_HIDDEN = 4
_GAIN = 1.0
"""Standard deviation of the sum inside tanh: into the bend, short of a step."""
_NETWORK_SHARE = 0.17
"""q. At a best possible AUC of .80 it leaves the best sum over features .02 to .03 below."""
_FALL_OFF = 12.0
"""The strengths a[f]^2 of the fields span exp(-12): the strongest twelfth of the fields carries about two thirds."""
_FADING_PROBABILITY = 1e-3
"""The effect of a feature with this probability has half the variance that a frequent one has."""
_CALIBRATION_EXAMPLES = 1 << 15


def feature_counts(num_fields: int, num_features: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Distribute D features over F fields, at least two each: many small fields, and a few with most of the features.

    Examples
    --------
    >>> counts = feature_counts(6, 1000, np.random.default_rng(0))
    >>> sorted(counts.tolist()), int(counts.sum())
    ([2, 2, 3, 35, 218, 740], 1000)
    """
    position = rng.random(num_fields) ** 2

    def counts(width: float) -> npt.NDArray[np.int64]:
        floored: npt.NDArray[np.int64] = np.floor(_MIN_FEATURES * np.exp(position * width)).astype(np.int64)
        return floored

    dealt = counts(_solve(lambda width: float(counts(width).sum()), num_features, 0.0, 40.0))
    dealt[np.argmax(position)] += num_features - dealt.sum()
    return dealt


def draw_features(uniform: Floats, count: int, skew: float) -> npt.NDArray[np.int64]:
    """Map uniform numbers to features 0 .. count - 1 of a field, with probabilities about proportional to (r +
    1)^-skew.

    It inverts the distribution function of the density x^-skew on [1, count + 1), in which feature r has the interval
    [r + 1, r + 2), so no table of size D is needed. One draw in a hundred is uniform over the features.

    Parameters
    ----------
    uniform
        In [0, 1).
    count
        Features of the field, >= 1.
    skew
        Exponent, >= 0; 0 is the uniform distribution, and real ids are between 1 and 2.

    Examples
    --------
    >>> draw_features(np.array([0.005, 0.01, 0.5, 0.99]), 100, 1.0).tolist()
    [50, 0, 8, 95]
    """
    zipf = np.maximum(uniform - _TAIL, 0.0) / (1.0 - _TAIL)
    log_top, power = np.log(count + 1.0), 1.0 - skew
    log_x = zipf * log_top if power == 0 else np.log1p(zipf * np.expm1(power * log_top)) / power
    features = np.where(uniform < _TAIL, uniform * (count / _TAIL), np.exp(log_x) - 1.0)
    return np.minimum(features.astype(np.int64), count - 1)


def feature_probabilities(count: int, skew: float) -> Floats:
    """Return the probabilities (count,) of the features in `draw_features`.

    Examples
    --------
    >>> feature_probabilities(4, 1.0).round(3).tolist()
    [0.429, 0.252, 0.179, 0.14]
    """
    log_edges = np.log(np.arange(1, count + 2, dtype=np.float64))
    power = 1.0 - skew
    below = log_edges if power == 0 else np.expm1(power * log_edges) / power
    probabilities: Floats = (1.0 - _TAIL) * np.diff(below / below[-1]) + _TAIL / count
    return probabilities


def draw_effects(count: int, skew: float, rng: np.random.Generator) -> Floats:
    """Draw the effects (count,) of the features of a field: over its examples, mean 0 and variance 1; rare features
    have small ones.

    Examples
    --------
    >>> effect, p = draw_effects(50, 1.0, np.random.default_rng(0)), feature_probabilities(50, 1.0)
    >>> abs(float(p @ effect)) < 1e-12, round(float(p @ effect**2), 12)
    (True, 1.0)
    """
    probability = feature_probabilities(count, skew)
    effect = rng.standard_normal(count) * np.sqrt(probability / (probability + _FADING_PROBABILITY))
    return standardised(effect, probability)


def standardised(effect: Floats, probability: Floats) -> Floats:
    """Return effects of features with these probabilities, shifted and scaled to mean 0 and variance 1."""
    centred = effect - probability @ effect
    scaled: Floats = centred / np.sqrt(probability @ centred**2)
    return scaled


class Truth(NamedTuple):
    """The true model of a synthetic log.

    Its input is accumulated field by field, so that memory holds one field of a chunk at a time, and in a fixed order,
    so that a log does not depend on the linear algebra library.

    Attributes
    ----------
    base
        (F + 1,) the first feature of each field.
    effects
        (D,) v.
    linear_weights
        (F,) a.
    group
        (F,) the hidden unit that each field belongs to.
    hidden_weights
        (F,) c.
    hidden_mean
        (H,) means of the tanh; H is even, and 0 for a linear model.
    network_std
        Standard deviation of the sum of products.
    share
        q.
    scale, bias
        Of the logit.
    """

    base: npt.NDArray[np.int64]
    effects: npt.NDArray[np.float32]
    linear_weights: Floats
    group: npt.NDArray[np.int64]
    hidden_weights: Floats
    hidden_mean: Floats
    network_std: float
    share: float
    scale: float
    bias: float

    def no_fields(self, num_examples: int) -> Floats:
        """Return the initial sums (1 + H, B): the linear part, then the argument of each tanh."""
        return np.zeros((1 + len(self.hidden_mean), num_examples))

    def add_field(self, sums: Floats, field: int, features: npt.NDArray[np.int64]) -> None:
        """Add the features (B,) of a field, numbered from 0 within the field, to the sums."""
        z = self.effects[self.base[field] + features]
        sums[0] += self.linear_weights[field] * z
        if len(self.hidden_mean):
            sums[1 + self.group[field]] += self.hidden_weights[field] * z

    def logit(self, sums: Floats) -> Floats:
        """Return the true logit (B,) from the sums over all fields."""
        return self.bias + self.scale * self.mixed(sums)

    def mixed(self, sums: Floats) -> Floats:
        """Return the weighted sum of the linear part and the network, with variance 1."""
        mixed: Floats = np.sqrt(1.0 - self.share) * sums[0]
        if len(self.hidden_mean):
            mixed += np.sqrt(self.share) / self.network_std * self.products(sums)
        return mixed

    def products(self, sums: Floats) -> Floats:
        """Return the sum of products of pairs of hidden units."""
        hidden = np.tanh(sums[1:]) - self.hidden_mean[:, None]
        products: Floats = (hidden[0::2] * hidden[1::2]).sum(axis=0)
        return products


def plant(
    counts: npt.NDArray[np.int64],
    skew: float,
    *,
    network: bool,
    best_auc: float,
    click_rate: float,
    rng: np.random.Generator,
) -> Truth:
    """Draw a true model at random, and calibrate it on examples drawn for the purpose.

    Parameters
    ----------
    counts
        (F,) features per field, each >= 2.
    skew
        Exponent of the feature probabilities, >= 0.
    network
        Whether the model has products of hidden units in addition to its linear part; requires two fields.
    best_auc
        The AUC of the true probabilities, between .5 and 1.
    click_rate
        The mean of the true probabilities, between 0 and 1.
    """
    num_fields = len(counts)
    base = np.concatenate([[0], np.cumsum(counts)])
    effects = np.empty(base[-1], dtype=np.float32)
    for field, count in enumerate(counts.tolist()):
        effects[base[field] : base[field + 1]] = draw_effects(count, skew, rng)

    rank = rng.permutation(num_fields)
    strength = np.exp(-_FALL_OFF * rank / num_fields)
    num_hidden = min(_MAX_HIDDEN, num_fields // 2 * 2) if network else 0
    group = rank % max(num_hidden, 1)  # by strength in turn, so that every unit reads a strong field
    group_strength = np.bincount(group, strength)[group]
    signs = rng.choice([-1.0, 1.0], size=(2, num_fields))
    truth = Truth(
        base=base,
        effects=effects,
        linear_weights=signs[0] * np.sqrt(strength / strength.sum()),
        group=group,
        hidden_weights=_GAIN * signs[1] * np.sqrt(strength / group_strength),
        hidden_mean=np.zeros(num_hidden),
        network_std=1.0,
        share=_NETWORK_SHARE if network else 0.0,
        scale=1.0,
        bias=0.0,
    )

    sums = truth.no_fields(_CALIBRATION_EXAMPLES)
    for field, count in enumerate(counts.tolist()):
        truth.add_field(sums, field, draw_features(rng.random(_CALIBRATION_EXAMPLES), count, skew))
    if network:
        truth = truth._replace(hidden_mean=np.tanh(sums[1:]).mean(axis=1))
        truth = truth._replace(network_std=float(truth.products(sums).std()))
    mixed = truth.mixed(sums)

    def bias(scale: float) -> float:
        return _solve(lambda bias: float(sigmoid(bias + scale * mixed).mean()), click_rate, -100.0, 100.0)

    def auc(scale: float) -> float:
        return auc_of_probabilities(mixed, sigmoid(bias(scale) + scale * mixed))

    scale = _solve(auc, best_auc, 0.0, 50.0)
    return truth._replace(scale=scale, bias=bias(scale))


def sigmoid(logit: Floats) -> Floats:
    """Return 1 / (1 + exp(-logit)) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * logit))


def auc_of_probabilities(ordering: npt.NDArray[Any], click: npt.NDArray[Any]) -> float:
    """Return the AUC of a ranking of examples, of which example b is a click with probability ``click[b]``.

    With labels 0 and 1 this is the AUC of a log; with true probabilities it is the expected AUC, without the noise of
    sampled labels. NaN if there are only clicks, or none.

    Examples
    --------
    >>> auc_of_probabilities(np.array([0.1, 0.4, 0.3]), np.array([0, 1, 0]))
    1.0
    """
    order = np.argsort(ordering, kind="stable")
    ordered = ordering[order]
    runs = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))  # of equal examples, whose pairs count half
    clicks = np.asarray(click, dtype=np.float64)[order]
    positive, negative = np.add.reduceat(clicks, runs), np.add.reduceat(1.0 - clicks, runs)
    below = np.cumsum(negative) - 0.5 * negative
    pairs = positive.sum() * negative.sum()
    return float(positive @ below / pairs) if pairs > 0 else float("nan")


def _solve(function: Callable[[float], float], target: float, low: float, high: float) -> float:
    """Return where an increasing function meets its target, by bisection."""
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if function(middle) < target else (low, middle)
    return low
