from collections import Counter as ReferenceCounter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reference import counter as reference

from fieldwise.kernels.counter import Counter, ranked
from fieldwise.kernels.hashtable import build, lookup, place, slots_for, take

# A small pool makes repeats; neighbours and powers of two make homes that collide.
KEYS = st.one_of(st.integers(0, 30), st.integers(0, 63).map(lambda k: 2**k), st.integers(0, 2**64 - 1))


def uint64(keys) -> np.ndarray:
    return np.array(keys, dtype=np.uint64)


def test_a_counter_of_nothing_holds_nothing():
    counter = Counter()
    counter.add(uint64([]))
    counter.add(uint64([0, 0]))
    assert counter.num_keys == 0
    assert [array.tolist() for array in ranked(counter.slots, 1)] == [[], []]
    assert counter.counts(uint64([0, 1])).tolist() == [0, 0]
    assert [array.tolist() for array in counter.items()] == [[], []]


@given(st.lists(st.lists(KEYS, max_size=40), max_size=5))
def test_counts_are_those_of_a_dictionary(chunks):
    counter, expected = Counter(), ReferenceCounter()
    for chunk in chunks:
        expected.update(key for key in chunk if key)
        counter.add(uint64(chunk))
    assert counter.num_keys == len(expected)
    keys, counts = counter.items()
    assert dict(zip(keys.tolist(), counts.tolist(), strict=True)) == expected
    assert keys.tolist() == sorted(expected)
    asked = [0, 1, 2, 3, *expected]
    assert counter.counts(uint64(asked)).tolist() == [expected[key] for key in asked]


@given(st.lists(st.lists(KEYS, max_size=90), max_size=4), st.integers(0, 3), st.sets(KEYS.filter(bool), max_size=20))
def test_keys_are_numbered_in_the_order_in_which_they_come_however_they_are_cut(chunks, threshold, known):
    counter = Counter()
    found = [counter.number(uint64(chunk), threshold) for chunk in chunks]
    numbers, reached, keys = reference.numbered(chunks, threshold)
    assert [each.tolist() for each, _ in found] == numbers
    assert [places.tolist() for _, places in found] == reached
    assert counter.keys().tolist() == keys
    # What a vocabulary says of them goes to the places of their numbers.
    table = sorted(known)
    out = np.full(len(keys) + 1, 9, np.uint32)
    counter.values(build(uint64(table), first=2), 1, out)
    assert out.tolist() == [0, *(2 + table.index(key) if key in known else 1 for key in keys)]


def test_a_table_grows_within_one_call():
    keys = np.random.default_rng(0).integers(1, 2**63, 20_000).astype(np.uint64)
    counter = Counter()
    counter.add(np.concatenate([keys, keys]))
    assert counter.num_keys == 20_000
    assert (counter.counts(keys) == 2).all()


def test_keys_can_be_added_many_times_at_once():
    counter = Counter()
    counter.add(uint64([5, 6]), uint64([10, 20]))
    counter.add(uint64([6, 7]), uint64([1, 2]))
    assert counter.counts(uint64([5, 6, 7])).tolist() == [10, 21, 2]


@given(
    st.dictionaries(KEYS.filter(bool), st.integers(1, 4) | st.integers(4090, 4100), max_size=40),
    st.integers(1, 5),
    st.sampled_from([0, 99]),
)
def test_keys_are_ranked_by_count_then_by_themselves(counts, min_count, few):
    counter = Counter()
    counter.add(uint64(list(counts)), uint64(list(counts.values())))
    kept = sorted((key for key in counts if counts[key] >= min_count), key=lambda key: (-counts[key], key))
    found = ranked(counter.slots, min_count, few=few)
    assert found[0].tolist() == kept
    assert found[1].tolist() == [counts[key] for key in kept]


@given(st.sets(KEYS.filter(bool), max_size=60), st.lists(KEYS, max_size=60))
def test_a_lookup_answers_as_a_dictionary_does(keys, asked):
    keys = sorted(keys, key=hash)
    slots = build(uint64(keys), first=2)
    expected = {key: 2 + i for i, key in enumerate(keys)} | {0: 0}
    assert lookup(slots, uint64([*keys, *asked]), absent=1).tolist() == [
        expected.get(key, 1) for key in [*keys, *asked]
    ]


def test_a_table_of_nothing_answers_that_everything_is_absent():
    assert lookup(build(uint64([]), first=2), uint64([0, 1, 2**64 - 1]), absent=1).tolist() == [0, 1, 1]


def test_a_saved_table_may_be_read_only_and_lie_at_any_address():
    slots = build(uint64([7, 8, 9]), first=2)
    shifted = np.frombuffer(b"x" + slots.tobytes(), dtype=np.uint8)[1:].view(np.uint64).reshape(slots.shape)
    assert not shifted.flags.writeable
    assert not shifted.flags.aligned
    assert lookup(shifted, uint64([9, 7, 1]), absent=1).tolist() == [4, 2, 1]


@given(st.lists(KEYS.filter(bool), unique=True, max_size=40), st.sets(st.integers(0, 39)))
def test_a_table_is_filled_in_place_and_values_without_a_key_are_passed_over(keys, left_out):
    given_keys = [0 if at in left_out else key for at, key in enumerate(keys)]
    slots = np.zeros((slots_for(len(keys)), 2), np.uint64)
    place(slots, uint64(given_keys), 5)
    assert dict(slots[slots[:, 0] != 0].tolist()) == {key: 5 + at for at, key in enumerate(given_keys) if key}


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=40), st.data())
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_ids_are_taken_by_number_as_numpy_takes_them(dtype, ids, data):
    numbers = np.array(data.draw(st.lists(st.integers(0, len(ids) - 1), max_size=90)), dtype)
    table = np.array(ids, np.uint32)
    np.testing.assert_array_equal(take(table, numbers), np.take(table, numbers))
