import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.reference import bins as reference
from tests.reference import sketch

from fieldwise.kernels.bins import bin_ids, number_keys, numbers_of_keys

NUMBERS = st.floats(allow_infinity=False) | st.integers(-3, 3).map(float)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(NUMBERS, max_size=20), st.sets(FINITE, max_size=6))
def test_a_number_falls_in_the_bin_that_bisection_finds(numbers, edges):
    ordered = sorted(edges)
    found = bin_ids(np.array(numbers), np.array(ordered), first=2)
    assert found.tolist() == [reference.bin_id(number, ordered, 2) for number in numbers]


def test_an_edge_belongs_to_the_bin_above_it():
    assert bin_ids(np.array([1.0, np.nextafter(1.0, 0)]), np.array([1.0]), first=2).tolist() == [3, 2]


@given(st.lists(FINITE, min_size=1, max_size=20))
def test_keys_are_ordered_as_the_numbers_and_give_them_back(numbers):
    keys = number_keys(np.array(numbers))
    assert (keys > 0).all()
    assert keys.tolist() == [sketch.key_of(number or 0.0) for number in numbers]
    assert numbers_of_keys(keys).tolist() == [sketch.number_of(key) for key in keys.tolist()] == numbers
    by_key = [numbers[i] for i in np.argsort(keys, kind="stable")]
    assert by_key == sorted(numbers)


def test_both_zeros_have_one_key_and_nan_has_none():
    keys = number_keys(np.array([0.0, -0.0, np.nan, -np.nan]))
    assert keys[0] == keys[1]
    assert keys[2:].tolist() == [0, 0]


def test_no_numbers_have_no_keys():
    assert number_keys(np.zeros(0)).tolist() == []
    assert bin_ids(np.zeros(0), np.zeros(0), first=2).tolist() == []
