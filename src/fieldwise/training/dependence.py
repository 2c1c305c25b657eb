"""Which fields say nothing new beside which others: an age beside its user, a year beside its film.

A product of the units of two such fields is a function of one of them, for which that field has units already; all
that it adds is a way to overfit rare features. So these pairs are left out (`nn.fm_interactions`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.data.cache import Cache
from fieldwise.kernels.layout import BAG, VALUE, Batch, Layout

__all__ = ["Determined", "determined", "find_determined"]

_MAX_EXAMPLES = 50_000
_MAX_WORK = 50_000_000
"""Examples times pairs, each of which is sorted: some seconds."""
_MIN_EXAMPLES = 2_000
_MIN_REPEATS = 100
_MAX_EXCEPTIONS = 0.01

Int64s = npt.NDArray[np.int64]


class Determined(NamedTuple):
    """One field determines another."""

    by: int
    field: int


def find_determined(train: Cache) -> list[Determined]:
    """Return which fields determine which others, as seen in examples spread over the log.

    Looks at up to 50,000 examples, fewer where there are many fields; none are looked at where there would be fewer
    than 2,000, and no pair is found then.
    """
    num_fields = train.layout.num_fields
    num_pairs = num_fields * (num_fields - 1) // 2
    num_examples = min(_MAX_EXAMPLES, _MAX_WORK // max(num_pairs, 1), train.num_examples)
    if num_examples < min(_MIN_EXAMPLES, train.num_examples):
        return []
    rows = np.linspace(0, train.num_examples - 1, num_examples).astype(np.int64)
    return determined(train.gather(rows).batch, train.layout)


def determined(batch: Batch, layout: Layout) -> list[Determined]:
    """Return which fields determine which others in these examples.

    Field f determines g where examples that repeat a value of f repeat that of g with it. With n examples and u(f)
    different values of f, n - u(f) examples repeat one; an *exception* is an example that does not have the commonest
    value of g among those with its value of f. There may be one exception in a hundred repeats, for every log has a few
    wrong entries, and no more than one for a hundred examples that do not have the commonest value of g of all: what is
    nearly always the same is not determined by everything. There must be 100 repeats to say it. Fields whose input is a
    number are left alone.
    """
    codes = [_codes(batch, layout, field) for field in range(layout.num_fields)]
    found = []
    for f in range(layout.num_fields):
        for g in range(f + 1, layout.num_fields):
            there, back = _determine(codes[f], codes[g])
            found += [Determined(f, g)] * there + [Determined(g, f)] * back
    return found


def _determine(one: Int64s | None, other: Int64s | None) -> tuple[bool, bool]:
    """Return whether the first of two fields determines the second, and the second the first."""
    if one is None or other is None or not len(one):
        return False, False
    num_values = [int(code.max()) + 1 for code in (one, other)]
    pairs, counts = np.unique(one * num_values[1] + other, return_counts=True)
    answers = []
    for field, known in ((pairs // num_values[1], 0), (pairs % num_values[1], 1)):
        commonest = np.zeros(num_values[known], dtype=np.int64)
        np.maximum.at(commonest, field, counts)
        exceptions = len(one) - int(commonest.sum())
        repeats = len(one) - num_values[known]
        others = len(one) - int(np.bincount((other, one)[known]).max())
        answers.append(repeats >= _MIN_REPEATS and exceptions <= _MAX_EXCEPTIONS * min(repeats, others))
    return answers[0], answers[1]


def _codes(batch: Batch, layout: Layout, field: int) -> Int64s | None:
    """Return a number for the value that each example has, from 0 on; None for a field whose input is a number."""
    form = layout.form[field]
    if form == VALUE:
        return None
    if form != BAG:
        return np.unique(batch.ids[layout.single[field]], return_inverse=True)[1].astype(np.int64)
    # A bag is known by the sum of a scrambled number for each of its ids: other bags have another, but by great chance.
    offsets = batch.offsets[layout.bag[field]]
    ids = batch.bag_ids[offsets[0] : offsets[-1]].astype(np.uint64)
    scrambled = (ids + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    scrambled ^= scrambled >> np.uint64(29)
    scrambled *= np.uint64(0xBF58476D1CE4E5B9)
    totals = np.concatenate((np.zeros(1, np.uint64), np.cumsum(scrambled, dtype=np.uint64)))
    bags = totals[offsets[1:] - offsets[0]] - totals[offsets[:-1] - offsets[0]]
    return np.unique(bags, return_inverse=True)[1].astype(np.int64)
