from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from tests.reference import metrics as reference

from fieldwise.errors import DataError
from fieldwise.metrics import delong


def two_models(num_examples, seed, noise=(1.0, 1.5), digits=6):
    rng = np.random.default_rng(seed)
    labels = np.arange(num_examples) % 3 == 0
    shared = labels + rng.normal(0, 1, num_examples)
    return labels, *(np.round(shared + rng.normal(0, scale, num_examples), digits) for scale in noise)


@settings(max_examples=60)
@given(size=st.integers(6, 40), seed=st.integers(0, 10_000), digits=st.integers(0, 3))
def test_it_is_the_covariance_formula_over_every_pair_ties_included(size, seed, digits):
    labels, a, b = two_models(size, seed, digits=digits)
    *expected, p_value = reference.delong(labels, a, b)
    got = delong(labels, a, b)
    assert got[:4] == pytest.approx(expected, abs=1e-7)  # the square root of a variance of 1e-17
    if expected[3] > 1e-7:
        assert got.p_value == pytest.approx(p_value, rel=1e-6)


def test_its_standard_error_is_that_of_resampled_examples():
    labels, a, b = two_models(600, seed=1)
    rng = np.random.default_rng(2)
    rows = np.concatenate([rng.choice(np.flatnonzero(labels == y), (300, (labels == y).sum())) for y in (0, 1)], axis=1)
    differences = [roc_auc_score(labels[i], a[i]) - roc_auc_score(labels[i], b[i]) for i in rows]
    assert delong(labels, a, b).standard_error == pytest.approx(np.std(differences), rel=0.15)


def test_models_that_differ_by_chance_only_give_uniform_p_values():
    p_values = [delong(*two_models(300, seed, noise=(1.0, 1.0))).p_value for seed in range(300)]
    np.testing.assert_allclose(np.quantile(p_values, [0.05, 0.5, 0.95]), [0.05, 0.5, 0.95], atol=0.06)


def test_a_clear_difference_has_a_small_p_value():
    result = delong(*two_models(3_000, seed=0, noise=(0.1, 3.0)))
    assert result.difference == pytest.approx(result.auc_a - result.auc_b)
    assert result.difference > 0
    assert result.p_value < 1e-6


def test_swapping_the_models_turns_the_sign_only():
    labels, a, b = two_models(200, seed=3)
    there, back = delong(labels, a, b), delong(labels, b, a)
    assert (back.auc_a, back.auc_b) == (there.auc_b, there.auc_a)
    assert back.difference == -there.difference
    assert back[3:] == there[3:]


def test_the_same_order_of_examples_is_no_difference():
    labels, a, _ = two_models(200, seed=4)
    result = delong(labels, a, np.arctan(a))
    assert (result.difference, result.standard_error, result.p_value) == (0.0, 0.0, 1.0)


def test_right_everywhere_against_wrong_everywhere_is_certain():
    labels = np.array([0, 0, 1, 1])
    result = delong(labels, labels / 2, -labels / 2)
    assert tuple(result) == (1.0, 0.0, 1.0, 0.0, 0.0)


@pytest.mark.parametrize("labels", [[], [0, 0, 1], [0, 1, 1], [1, 1]])
def test_fewer_than_two_examples_of_a_label_are_refused(labels):
    probabilities = np.linspace(0, 1, len(labels))
    with pytest.raises(DataError, match="at least two of label 1 and two of label 0"):
        delong(labels, probabilities, probabilities)


def test_wrong_input_is_refused():
    labels = [0, 0, 1, 1]
    with pytest.raises(DataError, match="a probability is NaN"):
        delong(labels, [0.1, 0.2, 0.3, np.nan], [0.1, 0.2, 0.3, 0.4])
    with pytest.raises(DataError, match="got: 2"):
        delong([0, 0, 1, 2], [0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4])
    with pytest.raises(ValueError, match=r"same shape \(B,\), got \(4,\) and \(3,\)"):
        delong(labels, [0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3])
