"""Rows are spread by a bijection that keeps no worker busier than another."""

from __future__ import annotations

import numpy as np
import pytest
from tests.reference.storage import whole_row

from fieldwise.tables.shards import Shards


@pytest.mark.parametrize("num_rows", [1, 2, 3, 10, 97, 1000, 65_536])
@pytest.mark.parametrize("num_workers", [1, 2, 3, 7])
def test_every_row_has_one_place_and_every_place_one_owner(num_rows, num_workers):
    shards = Shards(num_rows, num_workers, seed=5)
    rows = np.arange(num_rows)
    places = shards.places(rows)
    assert sorted(places.tolist()) == rows.tolist()
    assert shards.rows(places).tolist() == rows.tolist()
    assert [place for worker in range(num_workers) for place in shards.owned(worker)] == rows.tolist()


@pytest.mark.parametrize("num_rows", [10**6, 2**33 + 1, 10**11, 2**41 - 1])
def test_neighbours_are_spread_evenly_and_places_are_exact_for_very_large_tables(num_rows):
    shards = Shards(num_rows, 8, seed=1)
    rows = np.arange(num_rows - 4000, num_rows, dtype=np.int64)
    places = shards.places(rows)
    factor, shift, _ = shards.spread
    assert places.tolist() == [whole_row(row, factor, shift, num_rows) for row in rows.tolist()]
    counts = np.bincount(places // shards.block, minlength=8)
    assert counts.max() - counts.min() <= 10
    assert shards.rows(places).tolist() == rows.tolist()


@pytest.mark.parametrize(("num_rows", "num_workers"), [(1, 2), (10, 3), (97, 7), (2**41 - 1, 8)])
def test_a_worker_numbers_its_rows_as_the_whole_table_does(num_rows, num_workers):
    shards = Shards(num_rows, num_workers, seed=3)
    for worker in range(num_workers):
        owned = shards.owned(worker)
        own = np.arange(max(len(owned) - 20, 0), len(owned))
        assert shards.numbering(worker).of(own).tolist() == shards.rows(own + owned.start).tolist()
