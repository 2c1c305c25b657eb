"""The parts of the device table, each against a plain meaning of it: dense algebra, counting, Python's integers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.helpers import make_batch, make_layout
from tests.reference import storage as reference_storage
from tests.reference import table as reference
from tests.reference.batches import random_fields

from fieldwise.errors import ResourceError
from fieldwise.kernels.layout import BAG, SINGLE, Layout
from fieldwise.tables.config import TableOptimizerConfig
from fieldwise.tables.device import DeviceTable
from fieldwise.tables.torch_ops import operations, storage
from fieldwise.tables.torch_ops.batch import DeviceBatch, Placing, join_batches, merge_plan
from fieldwise.tables.torch_ops.staging import Staging

FORMS, ROWS = ["single", "value", "bag", "single", "bag", "value", "value"], [7, 2, 5, 90, 11, 2, 2]
CPU = torch.device("cpu")


@pytest.mark.parametrize("num_examples", [0, 1, 60])
@pytest.mark.parametrize(("num_local", "num_full"), [(1, 0), (0, 1), (2, 3), (0, 80), (1, 80)])
def test_gather_and_sums_are_products_with_the_one_hot_matrix(num_examples, num_local, num_full):
    rng = np.random.default_rng(0)
    fields, layout = random_fields(rng, FORMS, ROWS, num_examples), make_layout(FORMS, ROWS)
    batch = Placing(layout, CPU).place(make_batch(FORMS, fields))
    weights = rng.normal(size=(sum(ROWS), num_local + num_full))
    encoded = reference.encode(fields, ROWS)
    rows = torch.from_numpy(np.concatenate([weights, np.full((1, weights.shape[1]), np.nan)]))
    local, full = operations.gather(rows, batch, len(FORMS), num_local, num_full, torch.float64)
    for got, expected in zip((local, full), reference.gather(encoded, weights, num_local), strict=True):
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12, atol=1e-12)

    gradients = rng.normal(size=local.shape), rng.normal(size=full.shape)
    merge = merge_plan(batch, sum(ROWS))
    summed = operations.sums(batch, merge, *map(torch.from_numpy, gradients), len(FORMS)).numpy()
    got = np.zeros_like(weights)
    touched = merge.rows < sum(ROWS)
    got[merge.rows[touched]] = summed[touched]
    expected = reference.gradients(encoded, *gradients, num_local)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
    assert (summed[~touched] == 0).all()


@pytest.mark.parametrize("num_rows", [1, 3, 40, 5000])
def test_a_plan_has_every_feature_once_beside_those_of_its_row(num_rows):
    rows = torch.from_numpy(np.random.default_rng(0).integers(0, num_rows, 300)).int()
    most = min(num_rows, 300)
    merge = merge_plan(DeviceBatch(300, rows, None, None, None, most), spare_row=num_rows)
    assert sorted(merge.order.tolist()) == list(range(300))
    touched = sorted(set(rows.tolist()))
    assert merge.rows.tolist() == touched + [num_rows] * (most - len(touched))
    starts = merge.starts.tolist()
    for number, row in enumerate(touched):
        assert merge.order[starts[number] : starts[number + 1]].tolist() == np.flatnonzero(rows.numpy() == row).tolist()
    assert starts[len(touched) :] == [300] * (most - len(touched) + 1)


def test_bags_that_do_not_begin_where_the_last_ended_and_ids_beyond_31_bits_are_placed():
    layout = Layout.of([BAG, SINGLE, BAG], [5, 2**32, 7])
    batch = make_batch(
        ["bag", "single", "bag"], [[[(1, 2.0)], []], [[(2**32 - 1, 1.0)], [(0, 1.0)]], [[(6, 0.5)], [(3, 1.0)]]]
    )
    offsets = batch.offsets.copy()
    offsets[1] += 3  # three ids in between belong to nobody
    ids, weights = (np.insert(part, [1, 1, 1], 9) for part in (batch.bag_ids, batch.bag_weights))
    there = Placing(layout, CPU).place(batch._replace(offsets=offsets, bag_ids=ids, bag_weights=weights))
    assert there.rows.tolist() == [1, 5 + 2**32 - 1, 5, 5 + 2**32 + 6, 5 + 2**32 + 3]
    assert there.cells.tolist() == [0, 2, 3, 4, 5]
    assert there.offsets.tolist() == [0, 1, 1, 2, 3, 4, 5]
    assert there.inputs.tolist() == [2.0, 1.0, 1.0, 0.5, 1.0]
    assert there.most_rows == 1 + 2 + 2


def test_joined_batches_are_the_batch_of_all_their_examples():
    rng = np.random.default_rng(0)
    parts = [random_fields(rng, FORMS, ROWS, count) for count in (4, 0, 3)]
    placing = Placing(make_layout(FORMS, ROWS), CPU)
    joined = join_batches([placing.place(make_batch(FORMS, part)) for part in parts], len(FORMS))
    whole = placing.place(make_batch(FORMS, [[*a, *b, *c] for a, b, c in zip(*parts, strict=True)]))
    found = [
        sorted(zip(batch.cells.tolist(), batch.rows.tolist(), batch.inputs.tolist(), strict=True))
        for batch in (joined, whole)
    ]
    assert found[0] == found[1]
    assert joined.num_examples == 7


def test_rounding_bits_and_rounding_are_those_of_the_twin():
    rng = np.random.default_rng(0)
    rows, weights = rng.integers(0, 2**40, 50), rng.normal(size=(50, 3)).astype(np.float32)
    for key in (5, (3 << 40) + 7, 2**64 - 1):
        bits = storage.noise(torch.from_numpy(rows), 3, key).numpy()
        rounded = storage.to_host(storage.round_by(torch.from_numpy(weights), torch.from_numpy(bits)))
        for r in range(50):
            for k in range(3):
                expected = reference_storage.noise(key, int(rows[r]), k)
                assert bits[r, k] == expected
                assert rounded[r, k] == reference_storage.round_stochastic(float(weights[r, k]), expected)


def test_a_room_is_used_again_only_when_two_others_were_sent_and_what_was_sent_stays():
    staging, sent = Staging(CPU), []
    for number in range(5):
        sent += staging.send([[np.full(number + 1, number, dtype=np.int32)]])
    assert [part.tolist() for part in sent] == [[number] * (number + 1) for number in range(5)]


def test_a_table_that_does_not_fit_is_refused_with_the_sizes():
    table = DeviceTable(Layout.of([SINGLE], [10**12]), 8, 0)
    with pytest.raises(ResourceError, match=r"1,000,000,000,000 features(.|\n)*64.00 TB(.|\n)*train.device = cpu"):
        table.train_by(TableOptimizerConfig(name="adagrad"))


def test_a_batch_is_brought_over_once_whoever_asks_first(monkeypatch):
    table, brought = DeviceTable(make_layout(FORMS, ROWS), 1, 0).train_by(TableOptimizerConfig()), []
    place = table.place
    monkeypatch.setattr(table, "place", lambda batch: brought.append(batch) or place(batch))
    first, second = (make_batch(FORMS, random_fields(np.random.default_rng(n), FORMS, ROWS, 5)) for n in range(2))
    ticket = table.plan(first)
    ticket.advance()
    table.pull(ticket)
    table(first)
    assert len(brought) == 1
    table(second)
    assert len(brought) == 2
