from fractions import Fraction

import numpy as np
import pytest
from tests.reference import exact_sums as naive

from fieldwise.kernels.exact_sums import NUM_DIGITS, add_exactly, exact_sum


def digits_of(numbers, power=1):
    digits = np.zeros((numbers.shape[1], NUM_DIGITS), dtype=np.int64)
    own = numbers.copy()
    add_exactly(own, own.view(np.int64), power, digits)
    return digits


def test_sums_are_exact_over_all_exponents():
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(400, 3)) * 10.0 ** rng.integers(-300, 300, (400, 3))
    numbers[:3, 0] = np.nan, 5e-324, -1.7e308
    for digits, column in zip(digits_of(numbers), numbers.T, strict=True):
        assert exact_sum(digits) == naive.exact_sum(column)


def test_squares_of_float32_are_exact():
    numbers = np.random.default_rng(1).normal(100, 0.01, (300, 2)).astype(np.float32).astype(np.float64)
    for digits, column in zip(digits_of(numbers, 2), numbers.T, strict=True):
        assert exact_sum(digits) == sum(Fraction(x) ** 2 for x in column.tolist()) == naive.exact_sum(column, 2)


@pytest.mark.parametrize("cut", [0, 1, 57, 100])
def test_pieces_add_up_in_any_order(cut):
    numbers = np.random.default_rng(2).standard_cauchy((100, 1))
    pieces = digits_of(numbers[cut:][::-1].copy()) + digits_of(numbers[:cut])
    assert pieces.tolist() == digits_of(numbers).tolist()
