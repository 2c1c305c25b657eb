from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from tests.reference import metrics as reference

from fieldwise.errors import DataError
from fieldwise.metrics import MulticlassMetrics, evaluate_predictions

quick = settings(max_examples=40)


@st.composite
def predictions(draw):
    """Rows of small fractions (many ties, zeros and ones), labels, weights or none."""
    num_classes = draw(st.integers(3, 5))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    size = draw(st.integers(0, 60))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    probabilities = (rng.multinomial(4, np.full(num_classes, 1 / num_classes), size) / 4).astype(dtype)
    weights = rng.choice([0.0, 0.5, 1.0, 3.0], size) if draw(st.booleans()) else None
    return probabilities, rng.integers(0, num_classes, size), weights, num_classes


@quick
@given(data=predictions())
def test_every_metric_agrees_with_scikit_learn_or_its_definition(data):
    probabilities, labels, weights, num_classes = data
    result = evaluate_predictions(probabilities, labels, weights, num_classes=num_classes)
    w = np.ones(len(labels)) if weights is None else weights
    if not w.any():
        assert result.auc is result.logloss is result.accuracy is None
        return
    eps = float(np.finfo(probabilities.dtype).eps)
    p = probabilities.astype(np.float64)
    own = p[np.arange(len(labels)), labels].clip(eps, 1 - eps)
    logloss = (w * -np.log(own)).sum() / w.sum()
    assert result.logloss == pytest.approx(logloss, rel=1e-9)
    assert result.accuracy == pytest.approx(accuracy_score(labels, p.argmax(axis=1), sample_weight=w), rel=1e-9)
    present = np.unique(labels[w > 0])
    if len(present) > 1:
        assert result.normalized_entropy == pytest.approx(logloss / reference.entropy(labels, w), rel=1e-9)
    else:
        assert result.undefined["normalized_entropy"] == f"only label {present[0]} occurs"
    if len(present) == num_classes:
        aucs = [roc_auc_score(labels == c, p[:, c], sample_weight=w) for c in range(num_classes)]
        assert result.auc == pytest.approx(np.mean(aucs), abs=1e-9)
    else:
        assert result.auc is None
        assert result.undefined["auc"].startswith("no example has label ")


def test_many_examples_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), 20_000)
    labels = (probabilities.cumsum(axis=1) > rng.random((20_000, 1))).argmax(axis=1)
    result = evaluate_predictions(probabilities, labels, num_classes=4)
    assert result.auc == pytest.approx(roc_auc_score(labels, probabilities, multi_class="ovr"), abs=1e-9)
    assert result.logloss == pytest.approx(log_loss(labels, probabilities), abs=1e-9)
    assert result.sum_weights == 20_000


@quick
@given(data=predictions(), seed=st.integers(0, 99))
def test_order_updates_and_merges_change_no_bit(data, seed):
    probabilities, labels, weights, num_classes = data
    order = np.random.default_rng(seed).permutation(len(labels))
    first, second = MulticlassMetrics(num_classes), MulticlassMetrics(num_classes)
    for metrics, part in ((first, order[::2]), (second, order[1::2])):
        metrics.update(probabilities[part], labels[part], None if weights is None else weights[part])
    first.merge(second)
    assert first.compute() == evaluate_predictions(probabilities, labels, weights, num_classes=num_classes)


def test_order_changes_no_bit_of_sums_over_many_weights():
    rng = np.random.default_rng(0)
    probabilities = rng.multinomial(8, [0.2, 0.3, 0.5], 5000) / 8
    labels, weights = rng.integers(0, 3, 5000), rng.random(5000)
    order = rng.permutation(5000)
    expected = evaluate_predictions(probabilities, labels, weights, num_classes=3)
    assert evaluate_predictions(probabilities[order], labels[order], weights[order], num_classes=3) == expected


def test_what_the_caller_writes_into_its_arrays_later_does_not_count():
    probabilities, labels, weights = np.eye(3), np.arange(3), np.ones(3)
    metrics = MulticlassMetrics(3)
    metrics.update(probabilities, labels, weights)
    probabilities[:], labels[:], weights[:] = 0, 0, 0
    assert metrics.compute() == evaluate_predictions(np.eye(3), np.arange(3), np.ones(3), num_classes=3)


def test_what_two_classes_have_and_more_do_not_says_so():
    result = evaluate_predictions(np.eye(3), np.arange(3), groups=np.arange(3), num_classes=3)
    assert result.auc == result.accuracy == 1.0
    assert set(result.undefined.values()) == {"defined for two classes only"}
    assert {"gauc", "pr_auc", "calibration_ratio", "calibration_error", "label_rate"} < set(result.undefined)


def test_a_class_without_examples_leaves_the_auc_undefined():
    result = evaluate_predictions(np.eye(4)[:2], np.arange(2), num_classes=4)
    assert result.undefined["auc"] == "no example has label 2 or 3"


@pytest.mark.parametrize(
    ("error", "probabilities", "labels", "message"),
    [
        (DataError, np.full((2, 3), 0.5), [0, 1], "do not sum to 1\n  where: example 0 of the update\n.*\n  got: 1.5"),
        (DataError, [[1.0, 0.0, np.nan]], [0], "a probability is out of range\n.*\n.*\n  got: nan"),
        (DataError, np.eye(3), [0, 1, 3], "expected: an integer from 0 to 2\n  got: 3"),
        (ValueError, np.eye(2), [0, 1], r"must have shape \(B, 3\), got \(2, 2\)"),
        (ValueError, np.zeros(2), [0, 1], r"must have shape \(B, 3\), got \(2,\)"),
        (ValueError, np.eye(3), [0, 1], r"`labels` must have shape \(3,\)"),
    ],
)
def test_wrong_input_is_refused(error, probabilities, labels, message):
    with pytest.raises(error, match=message):
        evaluate_predictions(probabilities, labels, num_classes=3)


def test_groups_of_another_length_are_refused_although_there_is_no_gauc():
    with pytest.raises(ValueError, match="`groups` must have shape"):
        evaluate_predictions(np.eye(3), np.arange(3), groups=[1], num_classes=3)


def test_the_number_of_classes_must_fit():
    with pytest.raises(ValueError, match="`num_classes` must be at least 3, got 1"):
        evaluate_predictions(np.eye(3), np.arange(3), num_classes=1)
    with pytest.raises(ValueError, match="`other` must have 3 classes, got 4"):
        MulticlassMetrics(3).merge(MulticlassMetrics(4))
