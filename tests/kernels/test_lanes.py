"""Runs of eight numbers moved in one register."""

from __future__ import annotations

import platform
import re

import numpy as np
import pytest
from numba import njit

from fieldwise.kernels.lanes import LANES, add_lanes, copy_lanes
from fieldwise.kernels.storage import decode_weights, encode_weights


@njit
def copy(out, line, column, source, row, unit):
    copy_lanes(out, line, column, source, row, unit)


@njit
def add(out, line, column, source, row, unit):
    add_lanes(out, line, column, source, row, unit)


def make_source(rng, storage):
    weights = rng.normal(size=(3, LANES + 5))
    if storage != "bfloat16":
        return weights.astype(storage), weights.astype(storage)
    stored = np.zeros(weights.shape, dtype=np.uint16)
    for unit in range(weights.shape[1]):
        encode_weights(stored, unit, weights[:, unit].astype(np.float32))
    return stored, decode_weights(stored)


@pytest.mark.parametrize("storage", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize(("column", "unit"), [(0, 0), (1, 3), (5, 1)])
def test_eight_numbers_move_from_any_place_to_any_place_and_no_other_changes(storage, column, unit):
    rng = np.random.default_rng(0)
    stored, weights = make_source(rng, storage)
    out = rng.normal(size=(2, LANES + 7)).astype(np.float64 if storage == "float64" else np.float32)
    expected = out.copy()
    expected[1, column : column + LANES] += weights[2, unit : unit + LANES]
    add(out, 1, column, stored, 2, unit)
    np.testing.assert_array_equal(out, expected)
    expected[0, column : column + LANES] = weights[1, unit : unit + LANES]
    copy(out, 0, column, stored, 1, unit)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="looks for the registers of x86")
def test_they_are_vector_instructions():
    numbers = np.zeros((2, 16), dtype=np.float32)
    add(numbers, 0, 0, numbers, 1, 0)
    [assembly] = [
        text
        for kinds, text in add.inspect_asm().items()
        if kinds[0].dtype.bitwidth == 32 and kinds[3].dtype.bitwidth == 32
    ]
    vectors = re.findall(r"\b(v?addps)\b[^\n]*(xmm|ymm)", assembly)
    assert 1 <= len(vectors) <= 2
    assert "addss" not in assembly
