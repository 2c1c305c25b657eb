"""The small kernels do what plain loops do."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import small as reference

from fieldwise.kernels.blocks import mark_blocks
from fieldwise.kernels.buckets import bucket_ids, count_ids
from fieldwise.kernels.by_feature import by_feature
from fieldwise.kernels.layout import BAG, SINGLE, VALUE, Batch, Layout
from fieldwise.kernels.texts import pick_texts, put_texts


def batch_of(singles, values, bags):
    """Return a batch of (fields, B) ids, of which the last fields have `values`, and of bags of (id, weight)."""
    num_examples = len(bags)
    offsets = np.concatenate([[0], np.cumsum([len(bag) for bag in bags])]).astype(np.int64)
    flat = [each for bag in bags for each in bag]
    return Batch(
        np.array(singles, np.uint32).reshape(len(singles), num_examples),
        np.array(values, np.float32).reshape(len(values), num_examples),
        offsets[None],
        np.array([id_ for id_, _ in flat], np.uint32),
        np.array([weight for _, weight in flat], np.float32),
    )


BAGS = st.lists(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0.5, 1.0, 2.0])), max_size=4), min_size=1, max_size=6
)


@settings(deadline=None, max_examples=30)
@given(bags=BAGS, shift=st.integers(0, 4), seed=st.integers(0, 99))
def test_the_blocks_that_a_batch_reads_are_marked(bags, shift, seed):
    layout = Layout.of([SINGLE, BAG, VALUE], [7, 6, 2])
    rng = np.random.default_rng(seed)
    single, value = rng.integers(0, 7, len(bags)), rng.integers(0, 2, len(bags))
    batch = batch_of([single, value], [np.ones(len(bags))], bags)
    rows = [*single.tolist(), *(7 + id_ for bag in bags for id_, _ in bag), *(13 + value).tolist()]
    marks = np.zeros(-(-15 // 2**shift), dtype=np.bool_)
    mark_blocks(batch, layout, shift, marks)
    assert marks.tolist() == reference.marked_blocks(rows, shift, len(marks))


@settings(deadline=None, max_examples=30)
@given(bags=BAGS)
def test_every_feature_of_a_bag_has_its_examples_once_each_with_the_sum_of_its_weights(bags):
    found = by_feature(batch_of([], [], bags), Layout.of([BAG], [6]), 0)
    pairs = np.stack([found.examples, found.inputs], axis=1).tolist()
    assert [pairs[a:b] for a, b in pairwise(found.starts.tolist())] == reference.examples_of_features(bags, 6)
    assert found.is_bag


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 2**64 - 1)), st.integers(1, 2**32 - 3), st.integers(0, 2))
def test_buckets_are_remainders_and_nothing_is_none(fingerprints, num_buckets, first):
    found = bucket_ids(np.array(fingerprints, np.uint64), num_buckets, first)
    assert found.tolist() == reference.bucket_ids(fingerprints, num_buckets, first)


def test_ids_are_counted():
    ids, counts = np.array([3, 0, 3, 1], np.uint32), np.array([5, 0, 0, 1], np.int64)
    count_ids(ids, counts)
    assert counts.tolist() == [6, 1, 0, 3]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.binary(max_size=5), min_size=1), st.data())
def test_texts_are_picked_in_any_order_and_put_in_their_places(texts, data):
    places = data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=8))
    content = np.frombuffer(b"".join(texts) or b"-", np.uint8)
    offsets = np.cumsum([0, *map(len, texts)])
    some, ends = pick_texts(content, offsets, np.array(places, np.int64))
    assert [some[a:b].tobytes() for a, b in pairwise(ends.tolist())] == [texts[place] for place in places]
    first = data.draw(st.integers(0, 2))
    ids = data.draw(st.permutations(range(len(texts))))
    expected = reference.put_texts(ids, texts, first, max(len(texts) - first, 0))
    starts, out = np.cumsum([0, *map(len, expected)]), np.zeros(max(sum(map(len, expected)), 1), np.uint8)
    put_texts(np.array(ids, np.uint32), np.diff(offsets), content, np.uint32(first), starts, out)
    assert [out[a:b].tobytes() for a, b in pairwise(starts.tolist())] == expected


@pytest.mark.parametrize("num_examples", [0, 1])
def test_a_field_of_no_examples_has_none_for_any_feature(num_examples):
    batch = batch_of([np.zeros(num_examples)], [], [[]] * num_examples)
    assert by_feature(batch, Layout.of([SINGLE], [3]), 0).starts.tolist() == [0, *[num_examples] * 3]
