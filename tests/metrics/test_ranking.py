"""Ranking inside groups: NDCG, reciprocal rank, hit rate and recall."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score
from tests.reference import metrics as reference

from fieldwise.metrics import BinaryMetrics, Metrics, evaluate_predictions

NAMES = ("ndcg", "mrr", "hit_rate", "recall")


def computed(probabilities, labels, groups, cutoff, dtype=np.float32):
    metrics = BinaryMetrics(cutoff)
    metrics.update(np.array(probabilities, dtype), np.array(labels), None, np.array(groups))
    return metrics.compute()


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.integers(0, 1)),
        min_size=1,
        max_size=7,
    ),
    st.integers(1, 9),
    st.sampled_from([np.float32, np.float64]),
)
def test_they_are_the_mean_over_all_orders_of_equal_probabilities(rows, cutoff, dtype):
    groups, probabilities, labels = zip(*rows, strict=True)
    result = computed(probabilities, labels, groups, cutoff, dtype)
    expected, num_groups = reference.ranking(groups, probabilities, labels, cutoff)
    assert result.ranked_groups == num_groups
    assert result.cutoff == cutoff
    if expected is None:
        assert [getattr(result, name) for name in NAMES] == [None] * 4
        assert {result.undefined[name] for name in NAMES} == {"no group has label 1"}
    else:
        np.testing.assert_allclose([getattr(result, name) for name in NAMES], expected, rtol=1e-12)


@pytest.mark.parametrize("cutoff", [1, 5, 10, 1000])
def test_ndcg_is_that_of_scikit_learn(cutoff):
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 40, 2000)
    probabilities = rng.integers(0, 30, 2000).astype(np.float32) / 32
    labels = (rng.random(2000) < 0.2).astype(int)
    result = computed(probabilities, labels, groups, cutoff)
    each = [
        ndcg_score([labels[groups == group]], [probabilities[groups == group]], k=cutoff)
        for group in np.unique(groups)
        if labels[groups == group].any()
    ]
    assert result.ndcg == pytest.approx(np.mean(each), rel=1e-9)
    assert result.ranked_groups == len(each)


def test_the_best_order_is_perfect_and_one_probability_for_all_is_chance():
    groups, labels = np.repeat([1, 2], 50), np.tile(np.arange(50) < 1, 2).astype(int)
    best = computed(np.where(labels == 1, 0.9, 0.1), labels, groups, 10)
    assert [getattr(best, name) for name in NAMES] == [1.0] * 4
    flat = computed(np.full(100, 0.5), labels, groups, 10)
    assert flat.hit_rate == pytest.approx(0.2)
    assert flat.recall == pytest.approx(0.2)
    assert flat.mrr == pytest.approx(np.mean(1 / np.arange(1, 51)))


def test_the_order_of_the_examples_and_how_they_are_divided_do_not_matter():
    rng = np.random.default_rng(1)
    columns = (rng.random(500).astype(np.float32).round(1), rng.integers(0, 2, 500), None, rng.integers(0, 20, 500))
    whole, parts = BinaryMetrics(), BinaryMetrics()
    whole.update(*columns)
    order = rng.permutation(500)
    for some in np.array_split(order, 7):
        one = BinaryMetrics()
        one.update(*(None if column is None else column[some] for column in columns))
        parts.merge(one)
    assert whole.compute() == parts.compute()


def test_without_groups_there_is_no_ranking():
    result = evaluate_predictions(np.array([0.1, 0.9]), np.array([0, 1]))
    assert result.ndcg is None
    assert result.undefined["recall"] == "there are no groups"


def test_a_cutoff_of_nothing_is_refused():
    with pytest.raises(ValueError, match="`cutoff` must be 1 or more, got 0"):
        BinaryMetrics(0)


def test_results_of_earlier_versions_are_read():
    import msgspec

    plain = msgspec.to_builtins(Metrics.of(9, 9.0, {"logloss": 0.25}))
    for name in (*NAMES, "ranked_groups", "cutoff"):
        del plain[name]
    assert msgspec.convert(plain, Metrics).logloss == 0.25


def test_a_cutoff_beyond_all_groups_takes_no_memory():
    result = computed([0.5, 0.25], [1, 0], [1, 1], 2_000_000_000)
    assert (result.ndcg, result.cutoff) == (1.0, 2_000_000_000)
