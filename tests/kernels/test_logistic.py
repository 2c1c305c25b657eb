"""The loss of logistic regression and its derivative."""

from __future__ import annotations

import numpy as np
import pytest
from tests.helpers import make_batch, make_layout
from tests.reference import logistic as reference
from tests.reference import table as dense
from tests.reference.batches import random_fields

from fieldwise.kernels.logistic import linear_errors, logistic_errors
from fieldwise.kernels.threads import num_threads, set_num_threads


@pytest.mark.parametrize("weighted", [False, True])
def test_errors_are_the_slopes_of_the_loss(weighted):
    rng = np.random.default_rng(0)
    sums, labels = rng.normal(size=(50, 1)) * 3, rng.integers(0, 2, 50).astype(np.int32)
    weights = rng.random(50).astype(np.float32) * (rng.random(50) < 0.8)
    errors = np.full((50, 1), np.nan)
    share = 1 / (weights.sum(dtype=float) if weighted else 50)
    loss, slope = logistic_errors(sums, 0.3, labels, weights if weighted else weights[:0], share, errors)
    expected_loss, expected = reference.logistic_errors(sums, 0.3, labels, weights if weighted else np.ones(50))
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    np.testing.assert_allclose(errors[:, 0], expected, rtol=1e-5, atol=1e-9)
    assert slope == pytest.approx(errors.sum(), rel=1e-9)


def test_large_logits_neither_overflow_nor_lose_the_loss():
    sums, labels = np.array([[800.0], [-800.0], [800.0], [-800.0]]), np.array([1, 0, 0, 1], dtype=np.int32)
    errors = np.empty((4, 1))
    loss, slope = logistic_errors(sums, 0.0, labels, np.empty(0, np.float32), 1 / len(labels), errors)
    assert loss == pytest.approx(400.0)
    assert errors[:, 0].tolist() == [0.0, 0.0, 0.25, -0.25]
    assert slope == 0.0


def test_no_example_and_no_weight_cost_nothing():
    layout = make_layout(["single"], [3])
    for size, weights in ((0, None), (1, np.zeros(1, np.float32))):
        batch, errors = make_batch(["single"], [[[(0, 1.0)]] * size]), np.full((size, 1), np.nan)
        found = linear_errors(np.ones((3, 1)), batch, layout, 1.0, np.ones(size, np.int32), weights, 0.0, errors)
        assert (*found[:2], errors.tolist()) == (0.0, 0.0, [[0.0]] * size)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_batch_gives_the_loss_of_its_sums_and_the_same_bits_for_any_number_of_threads(weighted):
    forms, sizes = ["single", "value", "bag", "single"], [7, 2, 5, 60]
    rng, size = np.random.default_rng(1), 9_000
    fields = random_fields(rng, forms, sizes, size)
    batch, layout, table = make_batch(forms, fields), make_layout(forms, sizes), rng.normal(size=(sum(sizes), 1))
    labels = rng.integers(0, 2, size).astype(np.int32)
    weights = rng.random(size).astype(np.float32) if weighted else None
    got, before = [], num_threads()
    try:
        for threads in (1, 3):
            set_num_threads(threads)
            errors = np.full((size, 1), np.nan)
            total = size if weights is None else weights.sum(dtype=float)
            loss, slope, sums = linear_errors(table, batch, layout, 0.2, labels, weights, total, errors)
            got.append((loss, slope, sums.tolist(), errors.tolist()))
    finally:
        set_num_threads(before)
    assert got[0] == got[1]
    z = dense.gather(dense.encode(fields, sizes), table, 0)[1][:, 0] + 0.2
    share = np.full(size, 1 / size) if weights is None else weights / weights.sum(dtype=float)
    slopes = share * (1 / (1 + np.exp(-z)) - labels)
    assert got[0][0] == pytest.approx(np.sum(share * (np.logaddexp(0, z) - labels * z)), rel=1e-9)
    assert got[0][1] == pytest.approx(slopes.sum(), abs=1e-12)
    np.testing.assert_allclose(np.array(got[0][2])[:, 0], z - 0.2, rtol=1e-12)
    np.testing.assert_allclose(np.array(got[0][3])[:, 0], slopes, rtol=1e-7, atol=1e-15)


def test_what_is_not_a_number_stays_so():
    errors = np.empty((2, 1))
    labels = np.zeros(2, np.int32)
    loss, _ = logistic_errors(
        np.array([[np.nan], [0.0]]), 0.0, labels, np.empty(0, np.float32), 1 / len(labels), errors
    )
    assert np.isnan(loss)
    loss, _ = logistic_errors(
        np.array([[np.inf], [0.0]]), 0.0, labels, np.empty(0, np.float32), 1 / len(labels), errors
    )
    assert not np.isfinite(loss)
