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


def join(units, whole, own, known, leave):
    """Return the units of the examples, those of their bags (the last fields) put together from other examples."""
    num_plain = len(units[0]) - len(whole)
    joined = []
    for b in range(len(whole[0])):
        fields = [list(field) for field in units[b][:num_plain]]
        for h in range(len(whole)):
            pairs = zip(units[whole[h][b]][num_plain + h], units[own[h][b]][num_plain + h], strict=True)
            fields.append([one * known[h][b] - other * leave[h][b] for one, other in pairs])
        joined.append(fields)
    return joined


def join_gradient(gradient, num_units, whole, own, known, leave):
    """Return the gradient of the units that `join` is given, of so many examples."""
    num_fields, width = len(gradient[0]), len(gradient[0][0])
    found = [[[0.0] * width for _ in range(num_fields)] for _ in range(num_units)]
    num_plain = num_fields - len(whole)
    for b, of_example in enumerate(gradient):
        for f, numbers in enumerate(of_example):
            for k, number in enumerate(numbers):
                if f < num_plain:
                    found[b][f][k] += number
                else:
                    h = f - num_plain
                    found[whole[h][b]][f][k] += number * known[h][b]
                    found[own[h][b]][f][k] -= number * leave[h][b]
    return found
