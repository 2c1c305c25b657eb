"""The loss of logistic regression and its derivative."""

from __future__ import annotations

import numpy as np
import pytest
from tests.reference import logistic as reference

from fieldwise.kernels.logistic import logistic_errors


@pytest.mark.parametrize("weighted", [False, True])
def test_errors_are_the_slopes_of_the_loss(weighted):
    rng = np.random.default_rng(0)
    sums, labels = rng.normal(size=(50, 1)) * 3, rng.integers(0, 2, 50).astype(np.int32)
    weights = rng.random(50).astype(np.float32) * (rng.random(50) < 0.8)
    errors = np.full((50, 1), np.nan)
    loss, slope = logistic_errors(sums, 0.3, labels, weights if weighted else weights[:0], errors)
    expected_loss, expected = reference.logistic_errors(sums, 0.3, labels, weights if weighted else np.ones(50))
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    np.testing.assert_allclose(errors[:, 0], expected, rtol=1e-5, atol=1e-9)
    assert slope == pytest.approx(errors.sum(), rel=1e-9)


def test_large_logits_neither_overflow_nor_lose_the_loss():
    sums, labels = np.array([[800.0], [-800.0], [800.0], [-800.0]]), np.array([1, 0, 0, 1], dtype=np.int32)
    errors = np.empty((4, 1))
    loss, slope = logistic_errors(sums, 0.0, labels, np.empty(0, np.float32), errors)
    assert loss == pytest.approx(400.0)
    assert errors[:, 0].tolist() == [0.0, 0.0, 0.25, -0.25]
    assert slope == 0.0


def test_no_example_and_no_weight_cost_nothing():
    none = np.empty(0, np.float32)
    assert logistic_errors(np.empty((0, 1)), 1.0, np.empty(0, np.int32), none, np.empty((0, 1))) == (0.0, 0.0)
    errors = np.empty((1, 1))
    assert logistic_errors(np.ones((1, 1)), 0.0, np.ones(1, np.int32), np.zeros(1, np.float32), errors) == (0.0, 0.0)
    assert errors[0, 0] == 0.0


def test_what_is_not_a_number_stays_so():
    errors = np.empty((2, 1))
    labels = np.zeros(2, np.int32)
    loss, _ = logistic_errors(np.array([[np.nan], [0.0]]), 0.0, labels, np.empty(0, np.float32), errors)
    assert np.isnan(loss)
    loss, _ = logistic_errors(np.array([[np.inf], [0.0]]), 0.0, labels, np.empty(0, np.float32), errors)
    assert not np.isfinite(loss)
