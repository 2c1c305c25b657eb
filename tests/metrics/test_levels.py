"""Predictions at the level of each group."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

from fieldwise.metrics.levels import levelled


def test_every_group_has_its_clicks_by_one_shift_of_the_logit() -> None:
    rng = np.random.default_rng(0)
    groups, weights = rng.integers(0, 5, 4_000), rng.exponential(size=4_000)
    p = rng.beta(1, 9, 4_000)
    labels = (rng.random(4_000) < p * (1 + groups) / 3).astype(int)
    found = levelled(p, labels, groups, weights)
    logit = np.log(p / (1 - p))
    for group in range(5):
        own = groups == group

        def excess(shift: float, own: np.ndarray = own) -> float:
            return float((weights[own] * (1 / (1 + np.exp(-logit[own] - shift)) - labels[own])).sum())

        shift = brentq(excess, -10, 10, xtol=1e-13)
        np.testing.assert_allclose(found[own], 1 / (1 + np.exp(-logit[own] - shift)), rtol=1e-9)


def test_levels_that_are_far_away_are_found_and_groups_of_one_label_stay() -> None:
    p = np.full(3_000, 1e-6)
    labels = np.concatenate([np.arange(1_000) < 990, np.zeros(1_000), np.ones(1_000)]).astype(int)
    found = levelled(p, labels, np.repeat([0, 1, 2], 1_000))
    np.testing.assert_allclose(found[:1_000], 0.99)
    np.testing.assert_allclose(found[1_000:], 1e-6)
    assert np.isfinite(levelled(np.array([0.0, 1.0]), np.array([1, 0]), np.array([0, 0]))).all()
