"""CooccurrenceBags are collected as sets are, whatever the order of the rows, and a batch is completed with them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from tests.helpers import make_batch, make_layout
from tests.reference import cooccurrence as reference
from tests.reference.batches import random_fields

from fieldwise.kernels.cooccurrence import Cooccurrence, add_gradients, augment, collect, copy_gradients, join

FORMS, ROWS = ["single", "bag", "value", "single"], [12, 5, 2, 9]


def lists(offsets, ids):
    return [ids[offsets[key] : offsets[key + 1]].tolist() for key in range(len(offsets) - 1)]


@pytest.mark.parametrize("num_chunks", [1, 3])
def test_histories_are_the_sets_of_what_was_met(num_chunks):
    rng = np.random.default_rng(0)
    keys, values = (rng.integers(0, size, 200).astype(np.uint32) for size in (12, 9))
    chunks = list(zip(np.array_split(keys, num_chunks), np.array_split(values, num_chunks), strict=True))
    assert lists(*collect(chunks, 12, 100)) == reference.collect(keys.tolist(), values.tolist(), 12)


def test_of_a_long_history_the_same_few_stay_whatever_the_order():
    rng = np.random.default_rng(0)
    keys, values = (rng.integers(0, size, 3_000).astype(np.uint32) for size in (5, 400))
    whole = reference.collect(keys.tolist(), values.tolist(), 5)
    some = lists(*collect([(keys, values)], 5, 20))
    assert lists(*collect([(keys[::-1], values[::-1])], 5, 20)) == some
    assert [len(kept) for kept in some] == [0, 0, 20, 20, 20]
    assert all(kept == sorted(set(kept) & set(all_)) for kept, all_ in zip(some, whole, strict=True))
    assert some[2] != some[3], "which stay is drawn for each key"


def test_nothing_is_collected_from_no_rows():
    empty = np.zeros(0, np.uint32)
    assert lists(*collect([(empty, empty)], 3, 10)) == [[], [], []]


@pytest.mark.parametrize("num_examples", [0, 1, 30])
def test_a_completed_batch_is_the_batch_and_every_history_once(num_examples):
    fields = random_fields(np.random.default_rng(1), FORMS, ROWS, num_examples)
    batch, layout = make_batch(FORMS, fields), make_layout(FORMS, ROWS)
    rng = np.random.default_rng(2)
    known = [rng.integers(0, size, 60).astype(np.uint32) for size in (12, 9)]
    of_users = Cooccurrence(0, 3, *collect([(known[0], known[1])], 12, 100))
    of_items = Cooccurrence(3, 0, *collect([(known[1], known[0])], 9, 100))
    given = augment(batch, layout, [of_users, of_items])
    assert given.num_examples == num_examples
    for mine, theirs in ((given.batch.ids, batch.ids), (given.batch.values, batch.values)):
        np.testing.assert_array_equal(mine[:, :num_examples], theirs)
    assert bags(given.batch, 0)[:num_examples] == bags(batch, 0)
    for line, (history, link) in enumerate(zip((of_users, of_items), given.links, strict=True), start=1):
        keys, own = (batch.ids[layout.single[field]].tolist() for field in (history.key, history.value))
        met, found = lists(history.offsets, history.ids), bags(given.batch, line)
        assert found[:num_examples] == [[]] * num_examples
        assert [found[at] for at in link.whole.tolist()] == [met[key] for key in keys]
        assert [found[at] for at in link.own.tolist()] == [[value] for value in own]
        assert link.has_own.tolist() == [value in met[key] for key, value in zip(keys, own, strict=True)]
        assert link.others.tolist() == [
            len([v for v in met[key] if v != value]) for key, value in zip(keys, own, strict=True)
        ]
        assert sum(map(len, found)) == sum(len(met[key]) for key in set(keys)) + len(set(own))


def bags(batch, line):
    offsets = batch.offsets[line]
    return [batch.bag_ids[a:b].tolist() for a, b in pairwise(offsets.tolist())]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_examples_and_their_bags_are_joined_and_taken_apart(dtype):
    rng = np.random.default_rng(3)
    units, gradient = rng.normal(size=(9, 5, 4)).astype(dtype), rng.normal(size=(6, 5, 4)).astype(dtype)
    whole, own = np.array([[6, 7, 6, 6, 7, 7], [8, 8, 8, 8, 8, 8]]), rng.integers(6, 9, (2, 6))
    known, leave = rng.normal(size=(2, 2, 6)).astype(dtype)
    found, back = np.full((6, 5, 4), np.nan, dtype), np.full((9, 5, 4), np.nan, dtype)
    for begin, end in ((0, 4), (4, 6)):
        join(units, whole, own, known, leave, begin, end, found)
    for begin, end in ((0, 4), (4, 8), (8, 9)):
        copy_gradients(gradient, 3, begin, end, back)
    for h in range(2):
        add_gradients(gradient, 3 + h, whole[h], own[h], known[h], leave[h], back)
    links = [each.tolist() for each in (whole, own, known, leave)]
    np.testing.assert_allclose(found, reference.join(units.tolist(), *links), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(back, reference.join_gradient(gradient.tolist(), 9, *links), rtol=1e-6, atol=1e-6)
