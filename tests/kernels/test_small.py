"""The small kernels do what plain loops do."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from tests.reference import small as reference

from fieldwise.kernels.blocks import mark_blocks
from fieldwise.kernels.by_feature import by_feature
from fieldwise.kernels.hashtable import bucket_ids, count_ids
from fieldwise.kernels.instructions import first_bit, matches, num_bits
from fieldwise.kernels.joint_labels import join_labels, label_states
from fieldwise.kernels.layout import BAG, SINGLE, VALUE, Batch, Layout
from fieldwise.kernels.texts import pick_texts, put_texts
from fieldwise.kernels.work import most_ids


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


@settings(max_examples=30)
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


@settings(max_examples=30)
@given(bags=BAGS)
def test_every_feature_of_a_bag_has_its_examples_once_each_with_the_sum_of_its_weights(bags):
    found = by_feature(batch_of([], [], bags), Layout.of([BAG], [6]), 0)
    pairs = np.stack([found.examples, found.inputs], axis=1).tolist()
    assert [pairs[a:b] for a, b in pairwise(found.starts.tolist())] == reference.examples_of_features(bags, 6)
    assert found.is_bag


@settings(max_examples=30)
@given(st.lists(st.integers(0, 2**64 - 1)), st.integers(1, 2**32 - 3), st.integers(0, 2))
def test_buckets_are_remainders_and_nothing_is_none(fingerprints, num_buckets, first):
    found = bucket_ids(np.array(fingerprints, np.uint64), num_buckets, first)
    assert found.tolist() == reference.bucket_ids(fingerprints, num_buckets, first)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 5)), st.integers(0, 2**40))
def test_ids_are_counted_on_top_of_what_was_counted(ids, before):
    counts = np.full(6, before, np.int64)
    count_ids(np.array(ids, np.uint32), counts)
    np.testing.assert_array_equal(counts, before + np.bincount(ids, minlength=6))


@settings(max_examples=30)
@given(st.lists(st.lists(st.integers(0, 2), min_size=4, max_size=4), min_size=1, max_size=15))
def test_labels_are_joined_in_one_number_and_taken_apart(states):
    codes = join_labels([np.array(of_label, np.int8) for of_label in states])
    assert codes.tolist() == reference.joined_labels(states)
    assert [label_states(codes, label).tolist() for label in range(len(states))] == states


@njit
def matched(data, at, byte):
    return matches(data, at, byte)


@njit
def looked_at(word):
    return first_bit(word), num_bits(word)


@settings(max_examples=30)
@given(st.binary(min_size=70, max_size=70), st.integers(0, 6), st.sampled_from(b"\0\x01,\xff"), st.booleans())
def test_the_bytes_that_match_are_bits_of_a_word(data, at, byte, often):
    data = bytes(byte if each % 3 == 0 else each for each in data) if often else data
    word = matched(np.frombuffer(data, np.uint8), at, np.uint8(byte))
    assert word == reference.matches(data[at : at + 64], byte)
    if word:
        assert looked_at(np.uint64(word)) == (f"{word:b}"[::-1].index("1"), f"{word:b}".count("1"))


@settings(max_examples=30)
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


@settings(max_examples=30)
@given(bags=BAGS)
def test_room_is_made_for_the_field_with_the_most_ids(bags):
    batch = batch_of([np.zeros(len(bags))], [], bags)
    assert most_ids(batch) == max(len(bags), sum(map(len, bags)))
