"""Sums over pairs of fields, and their gradients, are what loops over numbers give."""

from __future__ import annotations

import numpy as np
import pytest
from tests.reference import interactions as reference

from fieldwise.kernels.interactions import pair_gradients, sum_pairs


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("num_examples", [0, 1, 9])
@pytest.mark.parametrize("pairs", [[], [(0, 1)], [(0, 2), (1, 4), (2, 4), (0, 4)]])
def test_sums_and_gradients_are_those_of_the_reference(dtype, num_examples, pairs):
    rng = np.random.default_rng(0)
    units = rng.normal(size=(num_examples, 5, 17)).astype(dtype)[:, :, 3:14]  # as a model reads them, not one piece
    of_sums = rng.normal(size=num_examples).astype(dtype)
    array = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    found, gradient = np.full(num_examples, np.nan, dtype), np.full(units.shape, np.nan, dtype)
    sum_pairs(units, array, found)
    pair_gradients(units, array, of_sums, gradient)
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    np.testing.assert_allclose(found, reference.sum_pairs(units.tolist(), pairs), rtol=tolerance, atol=tolerance)
    expected = np.reshape(reference.pair_gradients(units.tolist(), pairs, of_sums.tolist()), units.shape)
    np.testing.assert_allclose(gradient, expected, rtol=tolerance, atol=tolerance)
