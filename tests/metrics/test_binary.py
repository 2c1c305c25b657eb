from __future__ import annotations

import json
from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import accuracy_score, average_precision_score, log_loss, roc_auc_score
from tests.reference import metrics as reference

from fieldwise.errors import DataError
from fieldwise.metrics import BinaryMetrics, Metrics, evaluate_predictions

quick = settings(max_examples=60)
GAUC = ("gauc", "gauc_groups", "gauc_groups_left_out", "gauc_share_left_out")
RANKING = ("ndcg", "mrr", "hit_rate", "recall", "ranked_groups")
NO_FIGURES = ("num_examples", "sum_weights", "undefined", "own", "cutoff", "labels")
FIGURES = [name for name in Metrics.__struct_fields__ if name not in NO_FIGURES]


@st.composite
def predictions(draw, dtypes=(np.float32, np.float64)):
    """Probabilities with ties and extremes, labels, weights or none, groups."""
    size = draw(st.integers(0, 40))
    dtype = draw(st.sampled_from(dtypes))
    tied = st.sampled_from([0.0, -0.0, 5e-324, 1e-40, 0.25, 0.5, 1.0])
    probabilities = draw(hnp.arrays(np.float64, size, elements=tied | st.floats(0, 1))).astype(dtype)
    labels = draw(hnp.arrays(np.int64, size, elements=st.integers(0, 1)))
    weights = draw(st.none() | hnp.arrays(np.float64, size, elements=st.sampled_from([0.0, 0.25, 1.0, 7.0])))
    groups = draw(hnp.arrays(np.uint64, size, elements=st.sampled_from([0, 1, 2**64 - 1])))
    return probabilities, labels, weights, groups


def random_predictions(num_examples, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    probabilities = (1 / (1 + np.exp(rng.normal(2, 1.5, num_examples)))).astype(dtype)
    labels = rng.random(num_examples) < probabilities
    return probabilities, labels, rng.gamma(1.0, size=num_examples), rng.integers(0, 50, num_examples, dtype=np.uint64)


def accumulate(parts):
    metrics = BinaryMetrics()
    for part in parts:
        metrics.update(*part)
    return metrics


def take(columns, index):
    return tuple(None if column is None else column[index] for column in columns)


@quick
@given(data=predictions())
def test_every_metric_agrees_with_scikit_learn_or_its_definition(data):
    probabilities, labels, weights, groups = data
    result = evaluate_predictions(probabilities, labels, weights, groups)
    w = np.ones(len(labels)) if weights is None else weights
    if not w.any():
        assert all(getattr(result, name) is None for name in FIGURES)
        return
    eps = float(np.finfo(probabilities.dtype).eps)
    p = probabilities.astype(np.float64)
    positive, negative = w[labels == 1].sum(), w[labels == 0].sum()

    def agrees(name, expected):
        assert getattr(result, name) == pytest.approx(expected, abs=1e-9, rel=1e-9), name

    agrees("logloss", log_loss(labels, p.clip(eps, 1 - eps), sample_weight=w, labels=[0, 1]))
    agrees("accuracy", accuracy_score(labels, p > 0.5, sample_weight=w))
    agrees("label_rate", positive / w.sum())
    agrees("mean_probability", (w * p).sum() / w.sum())
    agrees("calibration_error", reference.calibration_error(p.tolist(), labels.tolist(), w.tolist(), 15))
    if positive:
        agrees("pr_auc", average_precision_score(labels, p, sample_weight=w))
        agrees("calibration_ratio", (w * p).sum() / positive)
    if positive and negative:
        agrees("auc", roc_auc_score(labels, p, sample_weight=w))
        agrees("normalized_entropy", reference.logloss(p, labels, w, eps) / reference.entropy(labels, w))
    expected = reference.gauc(groups.tolist(), p.tolist(), labels.tolist(), w.tolist())
    for name, figure in zip(GAUC, expected, strict=True):
        if figure is None:
            assert getattr(result, name) is None
        else:
            agrees(name, figure)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
def test_many_examples_agree_with_scikit_learn(dtype, weighted):
    probabilities, labels, weights, _ = random_predictions(150_000, dtype=dtype)
    weights = weights if weighted else None
    result = evaluate_predictions(probabilities, labels, weights)
    p = probabilities.astype(np.float64)
    assert result.auc == pytest.approx(roc_auc_score(labels, p, sample_weight=weights), abs=1e-9)
    assert result.pr_auc == pytest.approx(average_precision_score(labels, p, sample_weight=weights), abs=1e-9)
    assert result.logloss == pytest.approx(log_loss(labels, p, sample_weight=weights), abs=1e-9)


@quick
@given(data=predictions(), seed=st.integers(0, 99))
def test_order_updates_and_merges_change_no_bit(data, seed):
    rng = np.random.default_rng(seed)
    size = len(data[0])
    shuffled = take(data, rng.permutation(size))
    cuts = np.sort(rng.integers(0, size + 1, 3)).tolist()
    parts = [take(shuffled, slice(a, b)) for a, b in zip([0, *cuts], [*cuts, size], strict=True)]
    merged = accumulate(parts[2:])
    merged.merge(accumulate(parts[:2]))
    assert merged.compute() == evaluate_predictions(*data)


def test_order_changes_no_bit_of_sums_over_many_weights_and_blocks():
    data = random_predictions(100_000)
    tied = (np.round(data[0], 3), *data[1:])
    shuffled = take(tied, np.random.default_rng(1).permutation(len(tied[0])))
    assert evaluate_predictions(*shuffled) == evaluate_predictions(*tied)


def test_merging_leaves_the_other_as_it_is_and_computing_allows_more():
    data = random_predictions(100)
    first, second = accumulate([take(data, slice(0, 40))]), accumulate([take(data, slice(40, 100))])
    before = second.compute()
    first.compute()
    first.merge(second)
    assert second.compute() == before
    assert first.compute() == evaluate_predictions(*data)
    first.merge(first)
    assert first.compute().num_examples == 200


def test_what_the_caller_writes_into_its_arrays_later_does_not_count():
    data = random_predictions(50)
    copies = tuple(column.copy() for column in data)
    metrics = accumulate([copies])
    for column in copies:
        column[:] = 0
    assert metrics.compute() == evaluate_predictions(*data)


def test_weights_are_repetitions():
    probabilities, labels, _, groups = random_predictions(300)
    times = np.random.default_rng(2).integers(0, 4, 300)
    p, y, g = (np.repeat(column, times) for column in (probabilities, labels, groups))
    repeated = evaluate_predictions(p, y, groups=g)
    weighted = evaluate_predictions(probabilities, labels, times, groups)
    # A group with weights of zero only is left out, not absent; ranks do not know weights.
    for name in set(FIGURES) - {"gauc_groups_left_out", *RANKING}:
        assert getattr(weighted, name) == pytest.approx(getattr(repeated, name), rel=1e-12), name
    assert weighted.sum_weights == repeated.num_examples


def test_no_examples_leave_every_metric_undefined():
    result = evaluate_predictions(np.empty(0, np.float32), np.empty(0, np.int64))
    assert result.num_examples == 0
    assert result.sum_weights == 0.0
    assert result.undefined == dict.fromkeys(FIGURES, "there are no examples")
    assert all(getattr(result, name) is None for name in FIGURES)
    assert BinaryMetrics().compute() == result


def test_weights_of_zero_leave_every_metric_undefined():
    result = evaluate_predictions(np.array([0.1, 0.9]), np.array([0, 1]), np.zeros(2))
    assert result.num_examples == 2
    assert result.undefined == dict.fromkeys(FIGURES, "the weights sum to zero")


def test_one_example_of_label_0_has_a_logloss_and_no_auc():
    result = evaluate_predictions(np.array([0.25]), np.array([0]))
    assert result.logloss == pytest.approx(-log(0.75))
    assert result.calibration_error == 0.25
    assert result.undefined == {
        "auc": "only label 0 occurs",
        "normalized_entropy": "only label 0 occurs",
        "pr_auc": "no example has label 1",
        "calibration_ratio": "no example has label 1",
        **dict.fromkeys((*GAUC, *RANKING), "there are no groups"),
    }


def test_label_1_alone_has_an_average_precision_of_1():
    result = evaluate_predictions(np.array([0.25, 0.5]), np.array([1, 1]))
    assert result.pr_auc == 1.0
    assert result.undefined["auc"] == "only label 1 occurs"


def test_a_label_that_occurs_with_weight_zero_only_does_not_occur():
    result = evaluate_predictions(np.array([0.25, 0.5]), np.array([0, 1]), np.array([1.0, 0.0]))
    assert result.undefined["auc"] == "only label 0 occurs"


def test_groups_of_one_label_are_left_out_and_counted():
    groups = np.array([7, 7, 7, 8, 8, 9], np.uint64)
    result = evaluate_predictions(np.array([0.1, 0.2, 0.3, 0.5, 0.5, 0.9]), np.array([0, 1, 0, 1, 0, 1]), groups=groups)
    assert result.gauc == pytest.approx((3 * 0.5 + 2 * 0.5) / 5)
    assert (result.gauc_groups, result.gauc_groups_left_out) == (2, 1)
    assert result.gauc_share_left_out == pytest.approx(1 / 6)


def test_groups_that_all_hold_one_label_have_no_gauc():
    result = evaluate_predictions(np.array([0.1, 0.2]), np.array([0, 1]), groups=np.array([1, 2]))
    assert result.gauc is None
    assert result.undefined == {"gauc": "no group holds both labels"}
    assert (result.gauc_groups, result.gauc_groups_left_out, result.gauc_share_left_out) == (0, 2, 1.0)


@pytest.mark.parametrize(("dtype", "worst"), [(np.float32, 15.9424), (np.float64, 36.0437)])
def test_certainty_that_is_wrong_costs_the_logarithm_of_the_types_epsilon(dtype, worst):
    result = evaluate_predictions(np.array([0.0, 1.0], dtype), np.array([1, 0]))
    assert result.logloss == pytest.approx(worst, abs=1e-4)
    assert evaluate_predictions(np.array([0.0, 1.0], dtype), np.array([0, 1])).logloss == pytest.approx(0.0, abs=2e-7)


def test_a_constant_probability_has_an_auc_of_one_half_and_its_distance_from_the_rate_as_calibration_error():
    result = evaluate_predictions(np.full(100, 0.25), np.arange(100) < 40)
    assert result.auc == 0.5
    assert result.calibration_error == pytest.approx(0.15)
    assert result.calibration_ratio == pytest.approx(0.625)


def test_the_best_constant_guess_has_a_normalized_entropy_of_1():
    assert evaluate_predictions(np.full(100, 0.4), np.arange(100) < 40).normalized_entropy == pytest.approx(1.0)


@pytest.mark.parametrize("weight", [1e-100, 1e100])
def test_the_smallest_and_largest_weights_still_give_finite_figures(weight):
    result = evaluate_predictions(np.array([0.1, 0.6, 0.7]), [0, 1, 0], weights=[1, weight, 1], groups=[5, 5, 5])
    assert np.isfinite([getattr(result, name) for name in FIGURES]).all()
    assert result.auc == pytest.approx(0.5)


def test_the_result_is_json_with_null_and_reason():
    result = evaluate_predictions(np.array([0.25], np.float32), np.array([True]))
    read = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert read["auc"] is None
    assert read["undefined"]["auc"] == "only label 1 occurs"
    assert set(read) == set(Metrics.__struct_fields__)


@pytest.mark.parametrize("labels", [np.array([False, True]), np.array([0, 1], np.uint8), np.array([0.0, 1.0]), [0, 1]])
def test_labels_may_be_booleans_integers_or_integral_floats(labels):
    assert evaluate_predictions(np.array([0.1, 0.9]), labels).auc == 1.0


P, Y = np.array([0.25, 0.5]), np.array([0, 1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (np.array([0.1, np.nan]), Y),
            "a probability is out of range\n  where: example 1 of the update\n.*1\n  got: nan",
        ),
        ((np.array([-1e-9, 0.5]), Y), "where: example 0"),
        ((np.array([0.5, 1.0000001]), Y), "got: 1.0000001"),
        ((np.array([0.5, np.inf]), Y), "got: inf"),
        ((P, [0, 2]), "a label is not a class\n  where: example 1 of the update\n  expected: 0 or 1\n  got: 2"),
        ((P, [-1, 1]), "got: -1"),
        ((P, [0.5, 1]), "got: 0.5"),
        ((P, [np.nan, 1]), "got: nan"),
        ((P, Y, [1.0, np.nan]), "a weight is out of range\n  where: example 1 of the update"),
        ((P, Y, [-1, 1]), "got: -1"),
        ((P, Y, [1, 1e-101]), "got: 1e-101"),
        ((P, Y, [1, 1e101]), "got: 1e\\+101"),
        ((P, Y, [1, np.inf]), "expected: 0, or 1e-100 to 1e\\+100\n  got: inf"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_place(arguments, message):
    with pytest.raises(DataError, match=message):
        evaluate_predictions(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((P, [1]), r"`labels` must have shape \(2,\), got \(1,\)"),
        ((P, Y, [1.0]), r"`weights` must have shape \(2,\)"),
        ((P, Y, None, [1, 2, 3]), r"`groups` must have shape \(2,\)"),
        ((P, Y, None, [1.0, 2.0]), "`groups` must be integers, got float64"),
        ((P, ["a", "b"]), "`labels` must be numbers"),
        ((P[:, None], Y), r"`probabilities` must have shape \(B,\), got \(2, 1\)"),
        ((P.astype(np.float16), Y), "`probabilities` must be float32 or float64, got float16"),
        (([0, 1], Y), "got int64"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        evaluate_predictions(*arguments)


def test_updates_that_bring_other_columns_are_refused_and_change_nothing():
    metrics = accumulate([(P, Y)])
    with pytest.raises(ValueError, match=r"same columns .* expected keys uint64, got keys uint64, weights"):
        metrics.update(P, Y, [1, 1])
    with pytest.raises(ValueError, match="expected keys uint64, got keys uint32"):
        metrics.merge(accumulate([(P.astype(np.float32), Y)]))
    metrics.update(P[:0], Y[:0], [])
    assert metrics.compute().num_examples == 2
