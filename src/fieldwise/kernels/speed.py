"""Nanoseconds of some kernels for each value, to compare processors that they are compiled for.

``python -m fieldwise.kernels.speed`` prints them as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import numpy as np

from fieldwise.kernels.bins import bin_ids
from fieldwise.kernels.fingerprint import fingerprint
from fieldwise.kernels.hashtable import build, lookup

__all__ = ["nanoseconds"]

_VALUES, _REPEATS = 65_536, 30


def nanoseconds() -> dict[str, float]:
    """Return the nanoseconds of a value in each kernel, in its fastest call."""
    rng = np.random.default_rng(0)
    data = rng.integers(97, 123, 16 * _VALUES).astype(np.uint8)
    offsets = np.zeros(_VALUES + 1, dtype=np.int32)
    offsets[1:] = np.cumsum(rng.integers(2, 16, _VALUES))
    keys = fingerprint(data, offsets, 0)
    table, edges = build(np.unique(keys), 2), np.sort(rng.normal(size=100))
    numbers = rng.normal(size=_VALUES)
    return {
        "fingerprints": _fastest(lambda: fingerprint(data, offsets, 0)),
        "vocabulary look-ups": _fastest(lambda: lookup(table, keys, 1)),
        "bins": _fastest(lambda: bin_ids(numbers, edges, 2)),
    }


def _fastest(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(_REPEATS):
        started = time.thread_time()
        work()
        seconds.append(time.thread_time() - started)
    return min(seconds) / _VALUES * 1e9


if __name__ == "__main__":
    sys.stdout.write(json.dumps(nanoseconds()))
