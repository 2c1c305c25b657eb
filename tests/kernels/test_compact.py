"""Rows of fewer bits are read as the numbers that they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from tests.helpers import make_batch, make_layout
from tests.reference import compact as reference
from tests.reference.batches import random_fields

from fieldwise.errors import ConfigError
from fieldwise.kernels.compact import compacted, kind_for, width_of
from fieldwise.kernels.storage import decode_weights, num_weights
from fieldwise.kernels.table import gather


def test_every_float16_is_read_exactly():
    bits = np.arange(1 << 16, dtype=np.uint16).view(np.int16).reshape(-1, 1)
    expected = bits.view(np.float16).astype(np.float32)
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(decode_weights(bits)[finite].view(np.uint32), expected[finite].view(np.uint32))


@pytest.mark.parametrize("size", [1e-30, 1e-6, 0.3, 1.0, 1e4, 1e30])
def test_int8_rows_are_whole_numbers_times_a_scale(size):
    weights = (np.random.default_rng(1).normal(size=(50, 11)) * size).astype(np.float32)
    weights[3] = 0
    rows = compacted(weights, "int8")
    assert (rows.shape, num_weights(rows)) == ((50, 13), 11)
    assert width_of("int8", 11) == (13, rows.dtype)
    found = decode_weights(rows)
    for row, of_row in zip(found, weights, strict=True):
        np.testing.assert_allclose(row, reference.int8_row(of_row), rtol=1e-6)
        assert np.abs(row - of_row).max() <= np.abs(of_row).max() / 127 / 2 * 1.01


def test_short_rows_are_float16_for_a_scale_of_their_own_costs_what_int8_saves():
    kinds = [kind_for("int8", num_weights) for num_weights in range(1, 12)]
    assert kinds == ["float16"] * 7 + ["int8"] * 4
    assert width_of("float16", 3) == (3, compacted(np.ones((1, 3)), "float16").dtype)


def test_what_is_beyond_float16_is_refused():
    for kind, weight in (("float16", 65_520.0), ("float16", np.inf), ("float16", np.nan), ("int8", np.nan)):
        with pytest.raises(ConfigError, match=f"beyond {kind}"):
            compacted(np.array([[1.0, weight]], np.float32), kind)


@pytest.mark.parametrize("kind", ["float16", "int8"])
@pytest.mark.parametrize(("num_local", "num_full"), [(8, 0), (9, 2), (0, 20), (1, 1)])
def test_what_is_gathered_of_them_is_what_is_gathered_of_their_numbers(kind, num_local, num_full):
    forms, sizes = ["single", "value", "bag", "single"], [7, 2, 5, 40]
    layout = make_layout(forms, sizes)
    rng = np.random.default_rng(2)
    batch = make_batch(forms, random_fields(rng, forms, sizes, 150))
    rows = compacted(rng.normal(size=(layout.num_features, num_local + num_full)), kind)
    rows = rows.view(np.int16) if kind == "float16" else rows
    found, expected = (
        (np.empty((150, 4 * num_local), np.float32), np.empty((150, num_full), np.float32)) for _ in range(2)
    )
    gather(rows, batch, layout, *found)
    gather(decode_weights(rows), batch, layout, *expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)
