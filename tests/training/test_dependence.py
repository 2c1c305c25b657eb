"""Fields that others determine are found, exceptions and bags included; others are not."""

from __future__ import annotations

import numpy as np
from tests.helpers import make_batch, make_layout

from fieldwise.kernels.layout import Batch
from fieldwise.training import dependence

NUM = 4_000


def test_what_is_known_of_a_user_is_determined_by_the_user_and_nothing_else_is():
    rng = np.random.default_rng(0)
    user, film = rng.integers(0, 300, NUM), rng.integers(0, 200, NUM)
    age, year, hour = rng.integers(0, 7, 300)[user], rng.integers(0, 20, 200)[film], rng.integers(0, 24, NUM)
    genres = [sorted(set(rng.integers(0, 9, rng.integers(1, 4)).tolist())) for _ in range(200)]
    age = np.where(rng.random(NUM) < 0.002, 8, age)  # entries that are wrong
    forms, rows = ["single", "single", "single", "single", "single", "bag"], [300, 200, 9, 20, 24, 9]
    found = determined(forms, rows, [user, film, age, year, hour], [genres[f] for f in film])
    assert found == [(0, 2), (1, 3), (1, 5)]


def test_few_values_and_one_that_is_nearly_everywhere_are_not_determined_by_others():
    rng = np.random.default_rng(0)
    sex, age, rare = rng.integers(0, 2, NUM), rng.integers(0, 7, NUM), rng.random(NUM) < 0.005
    bags = [[int(sex[b])] for b in range(NUM)]
    assert determined(["single", "single", "single", "bag"], [2, 7, 2, 2], [sex, age, rare], bags) == [(0, 3), (3, 0)]


def determined(forms, rows, singles, bags):
    """Build the batch by hand: its arrays are what the function reads."""
    offsets = np.concatenate(([0], np.cumsum([len(bag) for bag in bags])))[np.newaxis].astype(np.int64)
    ids = np.array([id_ for bag in bags for id_ in bag], dtype=np.uint32)
    batch = Batch(
        np.array(singles, dtype=np.uint32),
        np.zeros((0, len(bags)), np.float32),
        offsets,
        ids,
        np.ones(len(ids), np.float32),
    )
    return dependence.determined(batch, make_layout(forms, rows))


def test_values_that_never_come_again_determine_nothing():
    rng = np.random.default_rng(0)
    names, cities = np.arange(NUM), rng.integers(0, 50, NUM)
    empty = [[] for _ in range(NUM)]
    assert determined(["single", "single", "bag"], [NUM, 50, 3], [names, cities], empty) == [(1, 2)]


def test_a_number_and_an_empty_batch_are_left_alone():
    layout = make_layout(["single", "value"], [5, 2])
    batch = make_batch(["single", "value"], [[], []])
    assert dependence.determined(batch, layout) == []
