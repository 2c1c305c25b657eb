"""The table's kernels against dense algebra over the one-hot matrix."""

from __future__ import annotations

import numpy as np
import pytest
from tests.helpers import make_batch, make_layout
from tests.reference import table as reference
from tests.reference.batches import random_fields

from fieldwise.kernels import gradients, renumber
from fieldwise.kernels import table as kernels
from fieldwise.kernels.layout import Layout
from fieldwise.kernels.threads import num_threads, run_each, set_num_threads
from fieldwise.kernels.work import most_ids, new_work, split_fields

FORMS = ["single", "value", "bag", "single", "bag"]
ROWS = [7, 2, 5, 90, 11]


def gather(rows, batch, layout, num_local, num_full, dtype=None):
    """Return what `kernels.gather` writes over outputs full of rubbish."""
    dtype = rows.dtype if dtype is None else dtype
    local = np.full((batch.num_examples, layout.num_fields * num_local), np.nan, dtype)
    full = np.full((batch.num_examples, num_full), np.nan, dtype)
    kernels.gather(rows, batch, layout, local, full)
    return local, full


@pytest.fixture(params=[1, 3])
def threads(request):
    before = num_threads()
    set_num_threads(request.param)
    yield request.param
    set_num_threads(before)


@pytest.mark.parametrize("num_examples", [0, 1, 63, 300])
@pytest.mark.parametrize(("num_local", "num_full"), [(1, 0), (0, 1), (1, 1), (8, 2), (0, 5)])
def test_gather_is_the_product_of_the_one_hot_matrix_and_the_weights(num_examples, num_local, num_full, threads):
    rng = np.random.default_rng(0)
    fields = random_fields(rng, FORMS, ROWS, num_examples)
    batch, layout = make_batch(FORMS, fields), make_layout(FORMS, ROWS)
    weights = rng.normal(size=(sum(ROWS), num_local + num_full))
    local, full = gather(weights, batch, layout, num_local, num_full)
    expected_local, expected_full = reference.gather(reference.encode(fields, ROWS), weights, num_local)
    np.testing.assert_allclose(local, expected_local, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(full, expected_full, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("num_examples", [0, 1, 300])
@pytest.mark.parametrize(("num_local", "num_full"), [(1, 0), (0, 1), (1, 1), (8, 2), (3, 17)])
def test_scatter_sums_the_gradients_of_all_occurrences(num_examples, num_local, num_full, threads):
    rng = np.random.default_rng(1)
    fields = random_fields(rng, FORMS, ROWS, num_examples)
    batch, layout = make_batch(FORMS, fields), make_layout(FORMS, ROWS)
    rows = np.zeros((sum(ROWS), num_local + num_full))
    local, full = rng.normal(size=(num_examples, len(FORMS) * num_local)), rng.normal(size=(num_examples, num_full))
    gradients.scatter(rows, batch, layout, local, full, threads)
    expected = reference.gradients(reference.encode(fields, ROWS), local, full, num_local)
    np.testing.assert_allclose(rows, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("num_examples", [0, 1, 301])
@pytest.mark.parametrize(("num_local", "num_full"), [(1, 0), (0, 1), (1, 1), (8, 2)])
@pytest.mark.parametrize("parts", [1, 4])
@pytest.mark.parametrize(
    "rows", [ROWS, [7, 2, 5, 9000, 11], [7, 2, 2**20 + 1, 2**21, 11]], ids=["few", "by row", "by hash"]
)
def test_merging_all_shares_is_that_sum_and_names_each_row_once(num_examples, num_local, num_full, parts, rows):
    rng = np.random.default_rng(1)
    fields = random_fields(rng, FORMS, ROWS, num_examples)
    batch, layout = make_batch(FORMS, fields), make_layout(FORMS, rows)
    local, full = rng.normal(size=(num_examples, len(FORMS) * num_local)), rng.normal(size=(num_examples, num_full))
    work = new_work(most_ids(batch), layout, num_local + num_full, np.float64)
    # Stamps are about to run out in the middle, and what was in the array does not matter.
    work.start[0], work.gradients[:] = 2**32 - 1 - 700, np.nan
    got, times = np.zeros((sum(ROWS), num_local + num_full)), np.zeros(sum(ROWS))
    base = np.cumsum([0, *ROWS])
    for f in range(len(FORMS)):
        for part in range(parts):
            count = int(gradients.merge(batch, layout, f, part, parts, local, full, work))
            touched = base[f] + work.distinct[:count].astype(int)
            got[touched] += work.gradients[:count]
            times[touched] += 1
    expected = reference.gradients(reference.encode(fields, ROWS), local, full, num_local)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
    assert times.max(initial=0) <= 1
    occurring = {(f, i) for f, field in enumerate(fields) for bag in field for i, _ in bag}
    assert times.sum() == len(occurring)


def test_the_number_of_threads_changes_no_bit_of_the_forward_pass():
    rng = np.random.default_rng(2)
    fields = random_fields(rng, FORMS, ROWS, 5000)
    batch, layout = make_batch(FORMS, fields), make_layout(FORMS, ROWS)
    rows = np.random.default_rng(3).normal(size=(sum(ROWS), 4)).astype(np.float32)
    results, before = [], num_threads()
    for count in (1, 2, 4):
        set_num_threads(count)
        local, full = gather(rows, batch, layout, 1, 1)
        results.append((local.tobytes(), full.tobytes()))
    set_num_threads(before)
    assert results[0] == results[1] == results[2]


def test_every_row_has_one_share_and_bags_come_first():
    layout = make_layout(["single"] * 6 + ["bag"] * 2, [3] * 8)
    shares = split_fields(layout, 2)
    assert shares[:, 0].tolist() == [6, 7, 0, 1, 2, 3, 4, 5]
    assert (shares[:, 1:] == [0, 1]).all()
    assert split_fields(Layout.of([], []), 2).shape == (0, 3)


@pytest.mark.parametrize("threads", [1, 2, 5, 16])
def test_few_fields_are_cut_so_that_every_thread_has_work(threads):
    layout = make_layout(["single"] * 3, [100_000, 5, 5_000])
    shares = split_fields(layout, threads)
    assert len(shares) >= threads
    for f in range(3):
        own = shares[shares[:, 0] == f]
        parts = own[0, 2]
        assert (own[:, 2] == parts).all()
        assert sorted(own[:, 1].tolist()) == list(range(parts))
        assert parts & (parts - 1) == 0


def test_numbers_follow_the_first_occurrence_and_old_stamps_are_forgotten():
    ids = np.array([7, 3, 7, 2**32 - 1, 3, 0], dtype=np.uint32)
    slots = np.zeros(renumber.num_slots(6), dtype=np.uint64)
    for start in (1, 5, 100):
        numbers, distinct = np.zeros(6, np.uint32), np.zeros(7, np.uint32)
        count = renumber.number_by_hash(ids, slots, np.uint32(start), numbers, distinct)
        assert numbers.tolist() == [0, 1, 0, 2, 1, 3]
        assert distinct[:count].tolist() == [7, 3, 2**32 - 1, 0]
    stamps = np.zeros(8, np.uint32)
    for start in (1, 4):
        numbers, distinct = np.zeros(6, np.uint32), np.zeros(7, np.uint32)
        count = renumber.number_by_row(ids[[0, 1, 2, 4]], stamps, np.uint32(start), numbers, distinct)
        assert (numbers[:4].tolist(), distinct[:count].tolist()) == ([0, 1, 0, 1], [7, 3])


def test_random_weights_depend_on_the_row_not_on_how_the_table_is_cut():
    whole, parts = np.zeros((100, 3)), np.zeros((100, 3))
    kernels.initialise(whole, 0, 2, 0.5, 7, 0)
    kernels.initialise(parts[:40], 0, 2, 0.5, 7, 0)
    kernels.initialise(parts[40:], 0, 2, 0.5, 7, 40)
    np.testing.assert_array_equal(whole, parts)
    assert (whole[:, 2] == 0).all()
    assert len(np.unique(whole[:, :2])) == 200
    other = np.zeros((100, 3))
    kernels.initialise(other, 0, 2, 0.5, 8, 0)
    assert not np.isin(other[:, :2], whole[:, :2]).any()


@pytest.mark.parametrize(("seed", "first_row"), [(0, 0), (2**31 - 1, 2**40)])
def test_random_weights_are_those_of_the_reference(seed, first_row):
    rows, expected = np.zeros((20, 4)), np.zeros((20, 4))
    kernels.initialise(rows, 1, 3, 0.5, seed, first_row)
    for r in range(20):
        expected[r, 1:3] = [0.5 * reference.uniform(seed, first_row + r, unit) for unit in (1, 2)]
    np.testing.assert_array_equal(rows, expected)
    some = np.array([3, 19, 0])
    numbered = np.zeros((3, 4))
    kernels.initialise_numbered(numbered, 1, 3, 0.5, seed, first_row + some)
    np.testing.assert_array_equal(numbered, expected[some])


def test_random_weights_are_uniform_between_their_bounds():
    rows = np.zeros((50_000, 2))
    kernels.initialise(rows, 0, 2, 0.5, 1, 0)
    assert abs(rows.mean()) < 0.005
    assert abs(rows.std() - 0.5 / np.sqrt(3)) < 0.005
    assert -0.5 <= rows.min() < -0.499
    assert 0.499 < rows.max() <= 0.5
    assert abs(np.corrcoef(rows[:, 0], rows[:, 1])[0, 1]) < 0.02
    assert abs(np.corrcoef(rows[1:, 0], rows[:-1, 0])[0, 1]) < 0.02


def test_an_exception_in_one_thread_reaches_the_caller():
    def fail(number: int) -> None:
        if number == 1:
            raise ValueError("one")

    with pytest.raises(ValueError, match="one"):
        run_each(fail, [(0,), (1,), (2,)])
