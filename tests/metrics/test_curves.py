"""ROC and precision-recall curves, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import auc, precision_recall_curve, roc_auc_score, roc_curve

from fieldwise.metrics.curves import curves


def examples(count, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    return labels, np.clip(0.5 * rng.random(count) + 0.3 * labels, 0, 1).round(2), rng.integers(1, 4, count) / 2


def test_few_examples_have_every_point_of_scikit_learns_curves():
    labels, probabilities, weights = examples(40)
    found = curves(labels, probabilities, weights)
    false, true, _ = roc_curve(labels, probabilities, sample_weight=weights, drop_intermediate=False)
    assert found.false_positive_rate == pytest.approx(false)
    assert found.true_positive_rate == pytest.approx(true)
    precision, recall, _ = precision_recall_curve(labels, probabilities, sample_weight=weights)
    ours = set(zip(np.round(found.recall, 9), np.round(found.precision, 9), strict=True))
    assert ours <= set(zip(np.round(recall, 9), np.round(precision, 9), strict=True))
    assert found.recall[-1] == 1


def test_many_examples_keep_the_area_with_few_points():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 50_000)
    probabilities = rng.random(50_000) * 0.7 + 0.3 * labels
    found = curves(labels, probabilities)
    assert len(found.false_positive_rate) < 250
    area = auc(found.false_positive_rate, found.true_positive_rate)
    assert area == pytest.approx(roc_auc_score(labels, probabilities), abs=1e-3)


def test_the_histogram_holds_every_example_of_a_label_once():
    labels, probabilities, weights = examples(300)
    found = curves(labels, probabilities, weights)
    assert (sum(found.positive), sum(found.negative)) == pytest.approx((1, 1))
    assert found.edges[0] == probabilities.min()
    assert found.edges[-1] == pytest.approx(probabilities.max())


@pytest.mark.parametrize("labels", [[1, 1], [0, 0]])
def test_one_label_alone_has_no_curves(labels):
    assert curves(np.array(labels), np.array([0.1, 0.9])) is None
    assert curves(np.array([0, 1]), np.array([0.1, 0.9]), np.array([1.0, 0.0])) is None


def test_one_probability_for_all_is_chance():
    found = curves(np.array([0, 1, 1]), np.full(3, 0.5))
    assert (found.false_positive_rate, found.true_positive_rate) == ([0, 1], [0, 1])
