"""Confidence intervals, against scipy and the definitions written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from fieldwise.metrics.intervals import Z, auc_estimate, logloss_estimate, wilson


@given(st.integers(1, 500), st.data())
def test_wilsons_interval_is_scipys(count, data):
    clicks = data.draw(st.integers(0, count))
    found = wilson(clicks / count, count)
    expected = binomtest(clicks, count).proportion_ci(0.95, method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= found.low <= found.value <= found.high <= 1


@given(st.integers(0, 1000), st.sampled_from([1, 3]))
def test_the_interval_of_an_auc_is_delongs_over_every_pair_ties_included(seed, digits):
    rng = np.random.default_rng(seed)
    labels = np.append(rng.integers(0, 2, 30), [0, 0, 1, 1])
    probabilities = rng.random(34).round(digits)
    clicks, others = probabilities[labels == 1], probabilities[labels == 0]
    pairs = (clicks[:, None] > others) + 0.5 * (clicks[:, None] == others)
    error = np.sqrt(pairs.mean(axis=1).var(ddof=1) / len(clicks) + pairs.mean(axis=0).var(ddof=1) / len(others))
    found = auc_estimate(labels, probabilities)
    assert found.value == pytest.approx(pairs.mean())
    assert found.low == pytest.approx(max(pairs.mean() - Z * error, 0))
    assert found.high == pytest.approx(min(pairs.mean() + Z * error, 1))


def test_weights_are_repetitions_of_the_auc_and_the_logloss():
    labels, probabilities = np.array([0, 1, 0, 1, 1]), np.array([0.2, 0.3, 0.4, 0.6, 0.9])
    weights = np.array([3, 1, 2, 2, 1])
    often = np.repeat(np.arange(5), weights)
    for estimate in (auc_estimate, logloss_estimate):
        weighted = estimate(labels, probabilities, weights.astype(np.float64))
        assert weighted.value == pytest.approx(estimate(labels[often], probabilities[often]).value)
        assert weighted.high - weighted.low > 0


def test_the_interval_of_a_logloss_is_that_of_a_mean():
    rng = np.random.default_rng(0)
    labels, probabilities = rng.integers(0, 2, 400), rng.uniform(0.01, 0.99, 400)
    losses = -np.log(np.where(labels == 1, probabilities, 1 - probabilities))
    found = logloss_estimate(labels, probabilities)
    assert found.value == pytest.approx(losses.mean())
    assert found.high - found.value == pytest.approx(Z * losses.std() / 20)


def test_an_auc_that_few_examples_cannot_tell_has_no_interval():
    assert auc_estimate(np.array([0, 0, 1]), np.array([0.1, 0.2, 0.3])) is None
    assert auc_estimate(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.4]), np.array([1.0, 1, 0, 0])) is None


def test_examples_that_all_weigh_nothing_have_neither_auc_nor_logloss():
    labels, probabilities = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.4])
    assert auc_estimate(labels, probabilities, np.zeros(4)) is None
    assert logloss_estimate(labels, probabilities, np.zeros(4)) is None
    assert logloss_estimate(labels[:0], probabilities[:0]) is None
