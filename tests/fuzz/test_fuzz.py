"""The short version of fuzzing: all kept inputs, and some hundreds made of them, are read or refused by name."""

from __future__ import annotations

import random
import time

import pytest
from tests.fuzz.mutate import mutate
from tests.fuzz.seeds import read_seeds
from tests.fuzz.targets import TARGETS

SECONDS = 10.0
"""Of the processor, for one input."""


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_are_read_or_refused(name, tmp_path):
    target, rng = TARGETS[name](tmp_path), random.Random(name)
    whole = target.seeds()
    assert all(target(data) for data in whole)
    inputs = [*whole, *read_seeds(name)]
    for data in inputs:
        check(target, data)
    for _ in range(300):
        check(target, mutate(rng.choice(inputs), rng))


def check(target, data):
    started = time.process_time()
    try:
        target(data)
    except Exception as error:
        error.add_note(f"input: {data!r}")
        raise
    assert time.process_time() - started < SECONDS, data
