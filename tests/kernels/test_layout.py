"""Batches joined, selected and without repeats, as plain lists say, whatever a batch is a view of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers import make_batch
from tests.reference import layout as reference
from tests.reference.batches import random_fields

from fieldwise.kernels.layout import Examples, join, select, without_repeats

FORMS, ROWS = ["single", "bag", "value", "bag"], [7, 4, 2, 2**32 - 1]
SIZES = st.integers(0, 6)


def drawn(seed, num_examples):
    return random_fields(np.random.default_rng(seed), FORMS, ROWS, num_examples)


def assert_same(found, expected):
    for name, one, other in zip(found._fields, found, expected, strict=True):
        assert one.dtype == other.dtype, name
        np.testing.assert_array_equal(one, other, err_msg=name)


@settings(max_examples=60)
@given(st.lists(SIZES, min_size=1, max_size=4), st.integers(0, 99))
def test_joined_batches_are_the_batch_of_all_their_examples(sizes, seed):
    parts = [drawn(seed + place, size) for place, size in enumerate(sizes)]
    assert_same(
        join([make_batch(FORMS, part) for part in parts]),
        make_batch(FORMS, reference.join(parts)),
    )


@settings(max_examples=60)
@given(SIZES, st.data())
def test_selected_examples_are_the_batch_of_them_alone(size, data):
    fields = drawn(size, size)
    kept = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    expected = make_batch(FORMS, reference.select(fields, kept))
    batch = make_batch(FORMS, fields)
    assert_same(select(batch, np.array(kept, bool)), expected)
    labels, groups = np.arange(size, dtype=np.int32), np.arange(size, dtype=np.uint64)
    some = Examples(batch, labels, None, groups).select(np.array(kept, bool))
    assert_same(some.batch, expected)
    assert some.labels.tolist() == some.groups.tolist() == [place for place, keep in enumerate(kept) if keep]
    assert some.weights is None


@settings(max_examples=60)
@given(st.lists(st.lists(st.tuples(st.integers(0, 3) | st.just(2**32 - 1), st.sampled_from([0.5, 1.0, -1.0])))))
def test_a_feature_that_a_bag_holds_several_times_is_there_once_with_its_sum(bags):
    fields = [[[(0, 1.0)]] * len(bags), bags, [bag[::-1] for bag in bags]]
    batch = make_batch(["single", "bag", "bag"], fields)
    once = without_repeats(batch)
    for line in range(2):
        for bag, begin, end in zip(bags, once.offsets[line], once.offsets[line, 1:], strict=False):
            pairs = list(zip(once.bag_ids[begin:end].tolist(), once.bag_weights[begin:end].tolist(), strict=True))
            assert dict(pairs) == reference.summed(bag)
            assert len(pairs) == len(dict(pairs))
    if all(len(reference.summed(bag)) == len(bag) for bag in bags):
        assert_same(once, batch)


@pytest.mark.parametrize("num_examples", [0, 3])
def test_a_batch_without_bags_is_joined_selected_and_left_as_it_is(num_examples):
    batch = make_batch(["single"], [[[(place, 1.0)] for place in range(num_examples)]])
    assert_same(join([batch]), batch)
    assert join([batch, batch]).ids.tolist() == [[*range(num_examples)] * 2]
    assert_same(select(batch, np.ones(num_examples, bool)), batch)
    assert_same(without_repeats(batch), batch)
