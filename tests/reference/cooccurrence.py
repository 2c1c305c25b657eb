"""Slow twins of histories: sets and sums, nothing of ours."""

from __future__ import annotations

import math


def collect(keys: list[int], values: list[int], num_keys: int) -> list[list[int]]:
    """Return what each key has met, in ascending order, without what is missing (0) and unseen (1)."""
    met = [set() for _ in range(num_keys)]
    for key, value in zip(keys, values, strict=True):
        if key > 1 and value > 1:
            met[key].add(value)
    return [sorted(each) for each in met]


def units(met: list[list[int]], keys: list[int], own: list[int], rows: list[list[float]]) -> list[list[float]]:
    """Return each example's sum of the rows of what its key has met but its own value, divided by the root of their
    number.
    """
    sums = []
    for key, value in zip(keys, own, strict=True):
        others = [other for other in met[key] if other != value]
        total = [0.0] * len(rows[0])
        for other in others:
            total = [a + b for a, b in zip(total, rows[other], strict=True)]
        sums.append([a / math.sqrt(max(len(others), 1)) for a in total])
    return sums
