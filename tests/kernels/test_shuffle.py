from __future__ import annotations

import numpy as np
import pytest
from tests.reference import decode as naive

from fieldwise.kernels.random import fisher_yates, name_rows, permutation


@pytest.mark.parametrize("size", [0, 1, 2, 3, 100])
def test_the_kernel_shuffles_as_its_slow_twin(size):
    draws = np.random.default_rng(size).integers(0, 2**64 - 1, size, dtype=np.uint64, endpoint=True)
    order = np.arange(size)
    fisher_yates(draws, order)
    assert order.tolist() == naive.fisher_yates(draws.tolist(), range(size))


@pytest.mark.parametrize("size", [0, 1, 2, 1000])
def test_every_number_is_there_once(size):
    assert sorted(permutation(size, 0)) == list(range(size))


def test_the_order_never_changes():
    assert permutation(10, 0).tolist() == [2, 3, 5, 8, 4, 7, 6, 1, 9, 0]
    assert permutation(10, 2**40, 3, 1).tolist() == [9, 1, 2, 0, 6, 3, 8, 4, 5, 7]


def test_every_seed_and_key_gives_another_order():
    keys = [(0,), (1,), (0, 0), (0, 1), (1, 0), (0, 1, 0), (0, 0, 1), (2**32,)]
    assert len({tuple(permutation(50, *key)) for key in keys}) == len(keys)


def test_every_order_of_four_is_equally_likely():
    counts: dict[tuple[int, ...], int] = {}
    for seed in range(2400):
        order = tuple(permutation(4, seed).tolist())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 24
    # 23 degrees of freedom: beyond 50 in one case of a thousand.
    assert sum((count - 100) ** 2 / 100 for count in counts.values()) < 50


@pytest.mark.parametrize("runs", [[0, 1, 2], [2, 0], [1, 3, 0], [3, 1], [0], [3], []])
def test_places_in_runs_become_the_rows_that_stand_there_though_the_last_run_is_short(runs):
    stand = [row for run in runs for row in range(4 * run, 4 * run + 4) if row < 15]
    places = np.random.default_rng(0).permutation(len(stand))
    expected = [stand[place] for place in places]
    name_rows(places, np.array(runs, dtype=np.int64), 4, 15)
    assert places.tolist() == expected
