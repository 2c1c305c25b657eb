"""Ids numbered in the order in which they first come, as a dictionary numbers them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import make_batch, make_layout
from tests.reference import renumber as reference
from tests.reference.batches import random_fields

from fieldwise.kernels.renumber import compact, num_slots, number_by_hash, number_by_row

# Huge ids, neighbours and powers of two, whose places in a table collide.
IDS = st.lists(st.integers(0, 9) | st.integers(0, 31).map(lambda k: 2**k) | st.integers(0, 2**32 - 1), max_size=60)
STARTS = st.lists(st.sampled_from([1, 70, 2**32 - 200]), min_size=1, max_size=2)


@given(IDS, STARTS)
def test_ids_are_numbered_by_a_hash_table_whatever_was_left_in_it(ids, starts):
    slots, given_ids = np.zeros(num_slots(len(ids)), np.uint64), np.array(ids, np.uint32)
    for start in sorted(set(starts)):
        numbers, distinct = np.full(len(ids), 7, np.uint32), np.full(len(ids) + 1, 7, np.uint32)
        count = number_by_hash(given_ids, slots, np.uint32(start), numbers, distinct)
        assert (numbers.tolist(), distinct[:count].tolist()) == reference.renumbered(ids)


@given(st.lists(st.integers(0, 20), max_size=60), STARTS)
def test_ids_are_numbered_by_a_stamp_for_each_row_whatever_was_left_in_it(ids, starts):
    stamps, given_ids = np.zeros(21, np.uint32), np.array(ids, np.uint32)
    for start in sorted(set(starts)):
        numbers, distinct = np.full(len(ids), 7, np.uint32), np.full(len(ids) + 1, 7, np.uint32)
        count = number_by_row(given_ids, stamps, np.uint32(start), numbers, distinct)
        assert (numbers.tolist(), distinct[:count].tolist()) == reference.renumbered(ids)


@pytest.mark.parametrize("num_examples", [0, 1, 90])
def test_a_small_batch_stands_for_the_same_rows_of_the_whole_table(num_examples):
    forms, rows = ["single", "bag", "value", "bag"], [40, 2**31, 2, 5]
    fields = random_fields(np.random.default_rng(num_examples), forms, rows, num_examples)
    small, base = compact(make_batch(forms, fields), make_layout(forms, rows)), np.cumsum([0, *rows])
    numbers, whole = [], []
    for f, field in enumerate(fields):
        of_field, distinct = reference.renumbered([id_ for bag in field for id_, _ in bag])
        numbers.append(of_field)
        whole += [int(base[f]) + id_ for id_ in distinct]
    assert small.batch.ids.tolist() == [numbers[0], numbers[2]]
    assert small.batch.bag_ids.tolist() == numbers[1] + numbers[3]
    assert small.rows.tolist() == whole
    assert np.diff(small.layout.base).tolist() == [len(set(of_field)) for of_field in numbers]
