from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.reference import auc as of_groups
from tests.reference import metrics as reference

from fieldwise.kernels.auc import (
    average_precision,
    concordance,
    group_aucs,
    grouped_auc,
    lexsort,
    pack,
    unpack,
    unweighted,
)

quick = settings(max_examples=60)
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
LENGTH = st.shared(st.integers(0, 50), key="length")
TIED = st.sampled_from([0.0, 5e-324, 1e-40, 0.25, 0.5, 1.0])


@st.composite
def examples(draw, max_size=30):
    size = draw(st.integers(0, max_size))
    probabilities = draw(hnp.arrays(np.float64, size, elements=TIED | st.floats(0, 1)))
    labels = draw(hnp.arrays(np.bool_, size))
    weights = draw(hnp.arrays(np.float64, size, elements=st.sampled_from([0.0, 0.5, 1.0, 3.0])))
    return probabilities, labels, weights


@DTYPES
@quick
@given(data=examples())
def test_keys_hold_probability_and_label_and_sort_as_the_probabilities_do(dtype, data):
    probabilities, labels, _ = data
    probabilities = probabilities.astype(dtype)
    keys = pack(probabilities, labels)
    double = dtype == np.float64
    assert keys.tolist() == [of_groups.key(*each, double) for each in zip(probabilities, labels, strict=True)]
    back, positive = unpack(keys)
    np.testing.assert_array_equal(back, probabilities)
    np.testing.assert_array_equal(positive, labels)
    np.testing.assert_array_equal(unpack(np.sort(keys))[0], np.sort(probabilities))


@DTYPES
def test_minus_zero_is_zero(dtype):
    label = np.array([True])
    assert pack(np.array([-0.0], dtype), label) == pack(np.array([0.0], dtype), label)


@quick
@given(
    first=hnp.arrays(np.uint64, LENGTH, elements=st.integers(0, 3) | st.integers(0, 2**64 - 1)),
    second=hnp.arrays(np.uint32, LENGTH, elements=st.integers(0, 3) | st.integers(0, 2**32 - 1)),
)
def test_lexsort_is_numpys(first, second):
    np.testing.assert_array_equal(lexsort(first, second, few=0), np.lexsort((first, second)))
    np.testing.assert_array_equal(lexsort(second, few=0), np.argsort(second, kind="stable"))


def test_lexsort_is_numpys_on_many_values():
    values = np.random.default_rng(0).integers(0, 2**64, 20_000, dtype=np.uint64)
    np.testing.assert_array_equal(lexsort(values, few=0), np.argsort(values))
    np.testing.assert_array_equal(lexsort(values), np.argsort(values))


@DTYPES
@quick
@given(data=examples())
def test_concordance_counts_every_pair(dtype, data):
    probabilities, labels, weights = data
    probabilities = probabilities.astype(dtype)
    keys = pack(probabilities, labels)
    order = np.argsort(keys)
    got = concordance(keys[order], weights[order])
    np.testing.assert_allclose(got, reference.concordance(probabilities, labels, weights), rtol=1e-14)
    ones = unweighted(len(keys))
    assert concordance(keys[order], ones) == reference.concordance(probabilities, labels, ones.tolist())


def test_concordance_of_integers_is_exact_beyond_the_integers_of_a_double():
    probabilities, labels = [0.1, 0.2, 0.2, 0.9], [False, False, True, True]
    weights = [2**29 + 1, 2**29 + 3, 2**29 + 5, 2**29 + 7]
    keys = pack(np.array(probabilities), np.array(labels))
    expected = reference.concordance(probabilities, labels, weights)
    assert expected[0] > 2**53
    assert concordance(keys, np.array(weights)) == expected


@quick
@given(data=examples())
def test_average_precision_adds_up_every_threshold(data):
    probabilities, labels, weights = data
    keys = pack(probabilities, labels)
    order = np.argsort(keys)
    if weights[labels].any():
        got = average_precision(keys[order], weights[order])
        assert got == pytest.approx(reference.average_precision(probabilities, labels, weights), rel=1e-12)
    if labels.any():
        got = average_precision(keys[order], unweighted(len(keys)))
        assert got == pytest.approx(reference.average_precision(probabilities, labels, [1] * len(keys)), rel=1e-12)


@quick
@given(data=examples(), seed=st.integers(0, 9))
def test_grouped_auc_looks_at_every_group_by_itself(data, seed):
    probabilities, labels, weights = data
    groups = np.random.default_rng(seed).integers(2**64 - 4, 2**64, len(labels), dtype=np.uint64, endpoint=False)
    keys = pack(probabilities, labels)
    order = np.lexsort((keys, groups))
    weighted_auc, weight, left_out, num_groups, num_left_out = grouped_auc(groups[order], keys[order], weights[order])
    assert weight + left_out == weights.sum()
    if weights.any():
        gauc, *rest = reference.gauc(groups, probabilities, labels, weights)
        assert [num_groups, num_left_out, left_out / weights.sum()] == pytest.approx(rest, abs=1e-12)
        assert (gauc is None) == (num_groups == 0)
        assert gauc is None or weighted_auc / weight == pytest.approx(gauc, rel=1e-12)
    aucs, sums = group_aucs(groups[order], keys[order], weights[order])
    expected = of_groups.group_aucs(groups.tolist(), probabilities, labels, weights)
    np.testing.assert_allclose(aucs, [np.nan if auc is None else auc for auc, _ in expected], rtol=1e-12)
    assert sums.tolist() == [total for _, total in expected]
