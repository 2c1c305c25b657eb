"""Weights as bfloat16, state as float32 beside them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit
from tests.reference import storage as reference

from fieldwise.kernels import storage
from fieldwise.kernels.numbering import MAX_ROWS, WHOLE, Numbering


@njit
def bits_for(rows, key, numbering, r, k):
    return storage.noise(rows, key, storage.in_whole(rows, numbering, r), k)


@st.composite
def numberings(draw):
    """A part of a table of up to 2^41 rows, and a row of it."""
    modulus = draw(st.integers(1, MAX_ROWS))
    below = st.integers(0, modulus - 1)
    return Numbering(draw(below), draw(below), modulus), draw(below)


FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**126), max_value=2.0**126)


@njit
def write(rows, weight, number, key):
    one = np.uint64(1)
    storage.store_weight(rows, one, one, weight, storage.noise(rows, key, one, one))
    storage.store_state(rows, one, np.uint64(2), one, number)
    return storage.load_weight(rows, one, one), storage.load_state(rows, one, np.uint64(2), one)


@given(FINITE, FINITE, st.integers(0, 2**64 - 1))
def test_a_weight_is_rounded_to_a_neighbour_and_state_is_not(weight, number, key):
    rows = np.zeros((2, storage.columns(2, 2, bfloat16=True)), dtype=np.uint16)
    got, state = write(rows, np.float32(weight), np.float32(number), np.uint64(key))
    assert got in reference.neighbours(weight)
    assert state == number
    assert (rows[0] == 0).all()
    assert (rows[1, [0, 2, 3]] == 0).all(), "what was not written stays"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_other_types_are_kept_as_they_are(dtype):
    rows = np.zeros((2, storage.columns(2, 2, bfloat16=False)), dtype=dtype)
    assert write(rows, dtype(1 / 3), dtype(1 / 7), np.uint64(5)) == (dtype(1 / 3), dtype(1 / 7))


def test_rounding_is_right_in_the_mean_and_the_same_for_the_same_key():
    weight = np.float32(1.0 + 0.3 * 2**-7)  # bfloat16 has 2^-7 between its numbers here
    rows = np.zeros((2, 6), dtype=np.uint16)
    got = [write(rows, weight, np.float32(0), np.uint64(key))[0] for key in range(4000)]
    assert set(got) == {1.0, 1.0 + 2**-7}
    assert abs(np.mean(got) - weight) < 4 * 2**-7 * np.sqrt(0.21 / 4000)
    again = [write(rows, weight, np.float32(0), np.uint64(key))[0] for key in range(4000)]
    assert got == again


def test_what_is_encoded_is_the_nearest_and_is_decoded_to_it():
    rng = np.random.default_rng(0)
    weights = (rng.normal(size=500) * 10.0 ** rng.integers(-8, 8, 500)).astype(np.float32)
    rows = np.zeros((500, 3), dtype=np.uint16)
    storage.encode_weights(rows, 1, weights)
    got = storage.decode_weights(rows[:, 1:2])[:, 0]
    for weight, found in zip(weights.tolist(), got.tolist(), strict=True):
        low, high = reference.neighbours(weight)
        assert abs(found - weight) == min(abs(low - weight), abs(high - weight))
    assert (rows[:, [0, 2]] == 0).all()


def test_every_seed_and_step_has_a_key_of_64_bits_of_its_own_and_those_of_small_seeds_stay():
    assert [storage.step_key(seed, 3) for seed in (0, 7, 2**24 - 1)] == [3, (7 << 40) + 3, (2**24 - 1 << 40) + 3]
    seeds = [*range(300), *(2**power + off for power in range(24, 31) for off in (-1, 0, 1)), 2**31 - 1]
    keys = {storage.step_key(seed, step) for seed in set(seeds) for step in range(50)}
    assert len(keys) == 50 * len(set(seeds))
    assert max(keys) < 2**64


@given(numberings(), st.integers(0, 2**64 - 1), st.integers(0, 100))
def test_a_weight_is_rounded_by_its_row_in_the_whole_table_wherever_that_is_kept(part, key, unit):
    numbering, row = part
    whole = reference.whole_row(row, *numbering)
    assert numbering.of(np.array([row], dtype=np.int64)).tolist() == [whole]
    stored = np.empty((0, 1), dtype=np.uint16)
    expected = reference.noise(key, whole, unit)
    for kept, r in ((numbering, row), (WHOLE, whole)):
        assert bits_for(stored, np.uint64(key), kept, np.uint64(r), np.uint64(unit)) == expected
