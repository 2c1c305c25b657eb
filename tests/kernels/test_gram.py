"""Short rows in vector registers, against numpy's products."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from fieldwise.kernels.factors import rotate, row_products, row_squares
from fieldwise.kernels.gram import add_scaled, add_square, dot
from fieldwise.kernels.lanes import LANES


@njit
def scaled(out, line, source, row, factor, width):
    add_scaled(out, line, source, row, factor, width)


@njit
def product(one, line, other, row, width):
    return dot(one, line, other, row, width)


@njit
def squared(square, rows, begin, end, k, j):
    add_square(square, rows, begin, end, k, j)


@pytest.mark.parametrize("width", [LANES, 3 * LANES])
def test_rows_are_added_and_multiplied_up_to_their_width_and_no_further(width):
    rng = np.random.default_rng(width)
    out, source = rng.normal(size=(2, 3, width + 5)).astype(np.float32)
    before = out.astype(np.float64)
    expected = before.copy()
    expected[1, :width] += np.float32(0.7) * source[2, :width].astype(np.float64)
    scaled(out, 1, source, 2, np.float32(0.7), width)
    np.testing.assert_allclose(out, expected, rtol=1e-6, atol=1e-6)
    found = product(out, 0, source, 1, width)
    assert found == pytest.approx(np.dot(out[0, :width].astype(float), source[1, :width].astype(float)), abs=1e-5)


@pytest.mark.parametrize(("begin", "end"), [(0, 0), (3, 4), (2, 40)])
def test_a_block_of_the_gram_matrix_is_added_where_it_stands(begin, end):
    rows = np.random.default_rng(1).normal(size=(40, 2 * LANES)).astype(np.float32)
    square = np.full((2 * LANES, 2 * LANES), 0.5)
    squared(square, rows, begin, end, LANES, 0)
    expected = np.full(square.shape, 0.5)
    some = rows[begin:end].astype(np.float64)
    expected[LANES:, :LANES] += (some.T @ some)[LANES:, :LANES]
    np.testing.assert_allclose(square, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("num_rows", [0, 1, 37])
def test_squares_products_and_turns_of_factors_are_numpys(num_rows):
    rng = np.random.default_rng(num_rows)
    one, other = rng.normal(size=(2, num_rows + 2, 5)).astype(np.float32)
    turn = rng.normal(size=(4, 4))
    np.testing.assert_allclose(
        row_products(one, other), one[:, 1:].T.astype(float) @ other[:, 1:], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(rotate(one, turn), np.hstack([one[:, :1], one[:, 1:] @ turn]), rtol=1e-6, atol=1e-6)
    lengths = rng.integers(0, 3, num_rows)
    seen = one[2:][lengths > 0].astype(np.float64)
    count, squares = row_squares(one, 2, np.concatenate([[0], np.cumsum(lengths)]))
    assert count == len(seen)
    np.testing.assert_allclose(squares, np.square(seen).sum(axis=0), rtol=1e-6)
