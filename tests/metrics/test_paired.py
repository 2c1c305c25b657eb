"""Paired differences, against scipy, scikit-learn and simulated worlds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import log_loss, roc_auc_score

from fieldwise.errors import DataError
from fieldwise.metrics import delong, evaluate_predictions, paired_auc, paired_gauc, paired_logloss
from fieldwise.metrics.student import holm, student_p_value


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def world(num_examples, seed, noise=(0.8, 0.8), num_seeds=1, seed_noise=0.0):
    """Labels, and for two models the probabilities of every training seed."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, 1, num_examples)
    labels = (rng.random(num_examples) < sigmoid(truth)).astype(int)
    models = []
    for scale in noise:
        own = truth + rng.normal(0, scale, num_examples)
        models.append([sigmoid(own + seed_noise * rng.normal(0, 1, num_examples)) for _ in range(num_seeds)])
    return labels, *models


@pytest.mark.parametrize("degrees", [1, 2, 2.7, 5, 30, 1000, 1e6])
def test_the_p_value_is_that_of_students_distribution(degrees):
    for t in (0.0, 0.01, 0.5, 1.0, 1.96, 4.3, 30.0):
        assert student_p_value(t, degrees) == pytest.approx(2 * stats.t.sf(t, degrees), rel=1e-8, abs=1e-300)


def test_with_one_seed_it_is_delongs_test():
    labels, a, b = world(500, seed=0, noise=(0.5, 1.0))
    result, expected = paired_auc(labels, a, b), delong(labels, a[0], b[0])
    assert result[:2] == pytest.approx((expected.difference, expected.standard_error))
    assert result.p_value == pytest.approx(expected.p_value)
    assert result.low == pytest.approx(expected.difference - 1.959964 * expected.standard_error)
    assert (result.seeds_share, result.method) == (0.0, "delong")


def test_two_seeds_alike_say_no_more_than_one():
    labels, a, b = world(500, seed=1, noise=(0.5, 1.0))
    assert paired_auc(labels, a * 2, b * 2) == paired_auc(labels, a, b)


def test_seeds_that_disagree_widen_the_interval_by_students_t():
    labels, a, b = world(4000, seed=2, num_seeds=3, seed_noise=0.3)
    result = paired_auc(labels, a, b)
    of_seeds = [roc_auc_score(labels, x) - roc_auc_score(labels, y) for x, y in zip(a, b, strict=True)]
    assert result.difference == pytest.approx(np.mean(of_seeds))
    of_seeds_alone = np.var(of_seeds, ddof=1) / 3
    assert result.seeds_share == pytest.approx(of_seeds_alone / result.standard_error**2)
    degrees = result.standard_error**4 * 2 / of_seeds_alone**2
    assert result.high - result.difference == pytest.approx(result.standard_error * stats.t.ppf(0.975, degrees))


def test_the_bootstrap_of_a_weighted_auc_agrees_with_delong_where_all_weights_are_one():
    labels, a, b = world(800, seed=3, noise=(0.5, 1.0), num_seeds=2)
    exact, resampled = paired_auc(labels, a, b), paired_auc(labels, a, b, np.ones(800))
    assert resampled.method == "bootstrap"
    assert resampled.difference == pytest.approx(exact.difference)
    assert resampled.standard_error == pytest.approx(exact.standard_error, rel=0.1)


def test_weights_count_as_so_many_examples_in_the_difference():
    labels, a, b = world(300, seed=4, noise=(0.5, 1.0))
    weights = np.arange(300) % 3 + 1
    many = np.repeat(np.arange(300), weights)
    expected = roc_auc_score(labels[many], a[0][many]) - roc_auc_score(labels[many], b[0][many])
    assert paired_auc(labels, a, b, weights).difference == pytest.approx(expected)
    loss = log_loss(labels, a[0], sample_weight=weights) - log_loss(labels, b[0], sample_weight=weights)
    assert paired_logloss(labels, a, b, weights).difference == pytest.approx(loss)


def test_more_than_two_classes_are_compared_one_against_the_rest():
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 3, 600)
    a, b = (np.exp(rng.normal(0, 1, (600, 3)) + scale * np.eye(3)[labels]) for scale in (1.5, 1.0))
    a, b = a / a.sum(axis=1, keepdims=True), b / b.sum(axis=1, keepdims=True)
    result = paired_auc(labels, [a], [b])
    assert result.difference == pytest.approx(
        roc_auc_score(labels, a, multi_class="ovr") - roc_auc_score(labels, b, multi_class="ovr")
    )
    assert 0 < result.p_value < 0.01
    assert paired_logloss(labels, [a], [b]).difference == pytest.approx(log_loss(labels, a) - log_loss(labels, b))


def test_the_standard_error_of_the_logloss_is_that_of_a_mean_of_paired_differences():
    labels, a, b = world(30_000, seed=6, noise=(0.5, 0.7))
    own = [np.where(labels == 1, p[0], 1 - p[0]) for p in (a, b)]
    differences = np.log(own[1]) - np.log(own[0])
    result = paired_logloss(labels, a, b)
    assert result.difference == pytest.approx(differences.mean())
    assert result.standard_error == pytest.approx(differences.std() / np.sqrt(30_000), rel=0.1)


def test_gauc_is_resampled_by_group():
    labels, a, b = world(3000, seed=7, noise=(0.5, 1.5))
    groups = np.arange(3000) % 150
    result = paired_gauc(labels, groups, a, b)
    of_models = [evaluate_predictions(p[0], labels, groups=groups).gauc for p in (a, b)]
    assert result.difference == pytest.approx(of_models[0] - of_models[1])
    of_groups = []
    for group in range(150):
        rows = groups == group
        of_groups.append(roc_auc_score(labels[rows], a[0][rows]) - roc_auc_score(labels[rows], b[0][rows]))
    assert result.standard_error == pytest.approx(np.std(of_groups) / np.sqrt(150), rel=0.1)


def test_models_that_differ_by_chance_are_called_different_as_often_as_the_level_says():
    """Three seeds each, whose noise is as large as that of the examples: without Student's t it is more often."""
    p_values = [
        paired_auc(*world(300, seed=seed, noise=(0.4, 0.4), num_seeds=3, seed_noise=1.0)).p_value for seed in range(400)
    ]
    assert 0.01 < np.mean(np.array(p_values) < 0.05) < 0.075


def test_intervals_hold_the_true_difference_as_often_as_they_say():
    _, large_a, large_b = big = world(400_000, seed=10**6, noise=(0.5, 0.9))
    truth = roc_auc_score(big[0], large_a[0]) - roc_auc_score(big[0], large_b[0])
    results = [paired_auc(*world(400, seed=seed, noise=(0.5, 0.9))) for seed in range(300)]
    held = np.mean([result.low <= truth <= result.high for result in results])
    assert 0.91 < held < 0.985


def test_holms_correction_is_no_smaller_than_the_p_values_and_keeps_their_order():
    p_values = list(np.random.default_rng(0).random(20) ** 3)
    corrected = holm(p_values)
    assert all(x >= y for x, y in zip(corrected, p_values, strict=True))
    assert np.argsort(corrected, kind="stable")[0] == np.argmin(p_values)
    assert corrected[int(np.argmin(p_values))] == pytest.approx(min(1, 20 * min(p_values)))


def test_labels_that_hardly_occur_are_refused():
    with pytest.raises(DataError, match="at least two of each label"):
        paired_auc(np.array([0, 0, 1]), [np.array([0.1, 0.2, 0.3])], [np.array([0.1, 0.2, 0.3])])


def test_equal_models_differ_by_nothing():
    labels, a, _ = world(100, seed=8)
    assert paired_auc(labels, a, a)[:5] == (0.0, 0.0, 0.0, 0.0, 1.0)
