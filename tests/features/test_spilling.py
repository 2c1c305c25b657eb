"""Counts go to disk before their tables could take more memory than they may, the largest first, and no others."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from fieldwise.features.encoder import Encoder
from fieldwise.kernels.threads import num_threads
from fieldwise.schema import Field, Schema

SIZES = {"small": 50, "middle": 5_000, "large": 60_000}


@pytest.fixture
def encoder():
    rng = np.random.default_rng(0)
    encoder = Encoder(Schema(fields=tuple(Field(name=name, column=name) for name in SIZES), label="click"))
    for _ in range(20):
        log = {name: rng.integers(0, size, 4_000).astype(str) for name, size in SIZES.items()}
        encoder.fit_chunk(pa.table({**log, "click": rng.integers(0, 2, 4_000)}))
    return encoder


def in_memory(encoder):
    return {name for name, num in encoder.counted.items() if num}


def test_what_may_grow_soon_counts_twice_and_what_moves_besides(encoder):
    # 30 slots of 16 bytes hold 20 values; a table that has no room for what the threads may add next doubles.
    tables = {name: 16 << int(np.ceil(np.log2(num * 3 / 2))) for name, num in encoder.counted.items()}
    room = {name: tables[name] // 16 * 2 // 3 - num for name, num in encoder.counted.items()}
    soon = sum(size * (1 + (room[name] < 4_000 * (num_threads() + 1))) for name, size in tables.items())
    moving = max(max(56 * num, tables[name]) for name, num in encoder.counted.items())
    assert encoder.counter_bytes <= soon + moving
    assert encoder.counter_bytes >= sum(tables.values()) + moving


def test_the_largest_are_spilled_and_no_more_than_is_needed(encoder):
    limit, expected = encoder.counter_bytes, {name: num + 2 for name, num in encoder.counted.items()}
    encoder.spill(limit)
    assert in_memory(encoder) == set(SIZES)
    encoder.spill(limit - 1)
    assert in_memory(encoder) == {"small", "middle"}
    assert encoder.counter_bytes < limit // 2
    encoder.spill(0)
    assert in_memory(encoder) == set()
    encoder.finish()
    assert encoder.rows == expected
