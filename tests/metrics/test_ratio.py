"""Calibration with its interval."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from fieldwise.metrics.ratio import calibration_by, dispersion_between


def test_for_equal_probabilities_the_interval_is_wilsons() -> None:
    for num_clicks, num_examples in ((0, 50), (1, 50), (30, 100), (100, 100), (700, 10_000)):
        labels = (np.arange(num_examples) < num_clicks).astype(np.int32)
        found = calibration_by(np.zeros(num_examples, np.int64), 1, labels, np.full(num_examples, 0.2), level=0.01)
        expected = binomtest(num_clicks, num_examples).proportion_ci(0.99, method="wilson")
        np.testing.assert_allclose(found.low[0], 0.2 / expected.high, rtol=1e-9)
        np.testing.assert_allclose(1 / found.high[0], expected.low / 0.2, rtol=1e-9, atol=1e-12)


def test_the_interval_holds_the_true_ratio_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    truth = rng.beta(1, 9, size=3_000)
    slices = np.repeat(np.arange(3), [100, 900, 2_000])
    held = np.zeros(3)
    for _ in range(1_000):
        labels = rng.random(3_000) < truth
        found = calibration_by(slices, 3, labels, 0.7 * truth, level=0.1)
        held += (found.low <= 0.7) & (found.high >= 0.7)
    assert (np.abs(held / 1_000 - 0.9) < 0.04).all(), held  # four standard deviations are .038


def test_a_weight_of_two_says_less_than_two_examples() -> None:
    labels, probabilities = np.tile([1, 0, 0, 0], 50), np.tile([0.4, 0.2, 0.1, 0.3], 50)
    zeros = np.zeros(200, np.int64)
    once = calibration_by(zeros, 1, labels, probabilities)
    weighted = calibration_by(zeros, 1, labels, probabilities, np.full(200, 2.0))
    twice = calibration_by(np.zeros(400, np.int64), 1, np.tile(labels, 2), np.tile(probabilities, 2))
    for one, other in zip(once[1:], weighted[1:], strict=True):
        np.testing.assert_allclose(one, other)
    assert twice.ratio == once.ratio
    assert once.low < twice.low < twice.high < once.high


def test_probabilities_that_no_ratio_explains_have_an_interval_all_the_same() -> None:
    found = calibration_by(np.zeros(100, np.int64), 1, np.ones(100), np.tile([0.1, 0.9], 50))
    assert np.isfinite(found.low[0])
    assert np.isfinite(found.high[0])


def dispersion(slices, days, labels, probabilities, weights) -> float:
    """The definition, cell by cell."""
    cells = {}
    for s, d, y, p, w in zip(slices, days, labels, probabilities, weights, strict=True):
        clicks, predicted, variance = cells.get((s, d), (0.0, 0.0, 0.0))
        cells[s, d] = clicks + w * y, predicted + w * p, variance + w * w * p * (1 - p)
    cells = {place: sums for place, sums in cells.items() if sums[2] >= 1}
    total, seen = 0.0, {s for s, _ in cells}
    for s in seen:
        own = [sums for (other, _), sums in cells.items() if other == s]
        ratio = sum(clicks for clicks, _, _ in own) / sum(predicted for _, predicted, _ in own)
        total += sum((clicks - ratio * predicted) ** 2 / (ratio * variance) for clicks, predicted, variance in own)
    return total / (len(cells) - len(seen))


def test_slices_that_differ_between_days_are_told_from_those_that_chance_moves() -> None:
    rng = np.random.default_rng(0)
    slices, days = rng.integers(0, 12, 6_000), rng.integers(0, 5, 6_000)
    weights, p = rng.uniform(0.5, 2, 6_000), rng.uniform(0.05, 0.5, 6_000)
    moved = p * rng.uniform(0.3, 1.7, (12, 5))[slices, days]
    still, moving = ((rng.random(6_000) < each).astype(int) for each in (p, moved))
    expected = dispersion(slices, days, moving, p, weights)
    assert expected > 3
    assert dispersion_between(slices, days, moving, p, weights) == pytest.approx(expected, rel=1e-9)
    assert dispersion(slices, days, still, p, weights) == pytest.approx(1, abs=0.4)
    assert dispersion_between(slices, days, still, p, weights) == 1.0
    wide, narrow = (calibration_by(slices, 12, moving, p, weights, dispersion=phi) for phi in (expected, 1.0))
    assert np.all((wide.low < narrow.low) & (wide.high > narrow.high))
    unknown = calibration_by(slices, 12, moving, p, weights, dispersion=np.inf)
    assert np.array_equal(unknown.ratio, narrow.ratio)
    assert not unknown.low.any()
    assert np.isinf(unknown.high).all()
