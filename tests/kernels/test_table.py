"""The table's kernels against dense algebra over the one-hot matrix."""

from __future__ import annotations

import numpy as np
import pytest
from tests.helpers import make_batch, make_layout
from tests.reference import table as reference
from tests.reference.batches import random_fields

from fieldwise.kernels import table as kernels
from fieldwise.kernels.layout import Layout
from fieldwise.kernels.threads import num_threads, run_each, set_num_threads

FORMS = ["single", "value", "bag", "single", "bag"]
ROWS = [7, 2, 5, 90, 11]


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
    local, full = kernels.gather(weights, batch, layout, num_local, num_full)
    expected_local, expected_full = reference.gather(reference.encode(fields, ROWS), weights, num_local)
    np.testing.assert_allclose(local, expected_local, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(full, expected_full, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("num_examples", [0, 1, 300])
@pytest.mark.parametrize(("num_local", "num_full"), [(1, 0), (0, 1), (1, 1), (8, 2)])
def test_scatter_sums_the_gradients_of_all_occurrences(num_examples, num_local, num_full, threads):
    rng = np.random.default_rng(1)
    fields = random_fields(rng, FORMS, ROWS, num_examples)
    batch, layout = make_batch(FORMS, fields), make_layout(FORMS, ROWS)
    n = num_local + num_full
    rows = np.zeros((sum(ROWS), 3 * n))
    rows[:, :n] = 5.0
    local, full = rng.normal(size=(num_examples, len(FORMS) * num_local)), rng.normal(size=(num_examples, num_full))
    kernels.scatter(rows, batch, layout, num_local, local, full, kernels.split_fields(layout, threads))
    expected = reference.gradients(reference.encode(fields, ROWS), local, full, num_local)
    np.testing.assert_allclose(rows[:, n : 2 * n], expected, rtol=1e-12, atol=1e-12)
    assert (rows[:, :n] == 5.0).all()
    assert (rows[:, 2 * n :] == 0.0).all()


def test_the_number_of_threads_changes_no_bit():
    rng = np.random.default_rng(2)
    fields = random_fields(rng, FORMS, ROWS, 500)
    batch, layout = make_batch(FORMS, fields), make_layout(FORMS, ROWS)
    results = []
    before = num_threads()
    for count in (1, 2, 4):
        set_num_threads(count)
        rows = np.random.default_rng(3).normal(size=(sum(ROWS), 4)).astype(np.float32)
        local, full = kernels.gather(rows, batch, layout, 1, 1)
        kernels.scatter(rows, batch, layout, 1, local, full, kernels.split_fields(layout, count))
        results.append((local.tobytes(), full.tobytes(), rows.tobytes()))
    set_num_threads(before)
    assert results[0] == results[1] == results[2]


def test_every_field_has_one_owner_and_bags_are_dealt_out():
    layout = make_layout(["single"] * 6 + ["bag"] * 2, [3] * 8)
    shares = kernels.split_fields(layout, 2)
    assert sorted(np.concatenate(shares).tolist()) == list(range(8))
    assert [6 in share for share in shares] != [7 in share for share in shares]
    assert len(kernels.split_fields(layout, 100)) == 8
    assert [share.tolist() for share in kernels.split_fields(Layout.of([], []), 2)] == [[]]


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
