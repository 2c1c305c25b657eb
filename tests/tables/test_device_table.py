"""A table on a device against the table on the processor, step by step: the same rows, states and outputs.

Without a GPU the device is the processor, in torch's operations.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tests.helpers import make_batch, make_layout
from tests.reference.batches import random_fields

from fieldwise.kernels.numbering import WHOLE, Numbering
from fieldwise.kernels.storage import decode_weights
from fieldwise.tables.config import TableOptimizerConfig
from fieldwise.tables.device import DeviceTable
from fieldwise.tables.host import HostTable

NAMES = ["adagrad", "rowwise-adagrad", "adam", "ftrl"]
FORMS = {
    "all forms": ["single", "value", "bag", "single", "bag"],
    "single": ["single"] * 5,
    "numbers": ["single", "value", "value", "single", "single"],
}
ROWS = [7, 2, 5, 90, 11]
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
NUM_EXAMPLES = 40


def make_pair(forms, num_local, num_full, dtype=np.float32, numbering=WHOLE, **settings):
    """Return the same table twice, on the processor and on a device."""
    layout, config = make_layout(forms, ROWS), TableOptimizerConfig(learning_rate=0.1, **settings)
    pair = HostTable(layout, num_local, num_full, dtype), DeviceTable(layout, num_local, num_full, dtype, DEVICE)
    start = np.random.default_rng(5).normal(size=(sum(ROWS), num_local + num_full))
    for table in pair:
        table.train_by(config, 8, seed=3, numbering=numbering)
        for unit in range(num_local + num_full):
            table.start(unit, start[:, unit])
    return pair


def move(table, factor=1.0):
    """Take a step, and return whether all that was written is finite."""
    return math.isfinite(table.push()(factor))


def run(table, forms, num_steps=3):
    """Yield the outputs of each step, after the rows moved; the second batch is empty."""
    rng = np.random.default_rng(9)
    for number in range(num_steps):
        batch = make_batch(forms, random_fields(rng, forms, ROWS, 0 if number == 1 else NUM_EXAMPLES))
        local, full = table(batch)
        target = torch.from_numpy(rng.normal(size=full.shape)).to(full)
        (local.square().sum() / 10 + (full - target).square().sum() / 10).backward()
        assert move(table, 1 / (1 + number))
        yield local.detach().cpu().numpy(), full.detach().cpu().numpy()


@pytest.mark.parametrize(
    ("forms", "name", "num_local", "num_full"),
    [
        *(("all forms", name, 2, 1) for name in NAMES),
        *((forms, "adam", *width) for forms in ("single", "numbers") for width in ((1, 0), (0, 1))),
        ("all forms", "rowwise-adagrad", 3, 66),
        ("numbers", "ftrl", 0, 70),
    ],
)
def test_every_step_is_that_of_the_processor(forms, num_local, num_full, name):
    table, there = make_pair(FORMS[forms], num_local, num_full, name=name, l2=0.01)
    steps = zip(run(table, FORMS[forms]), run(there, FORMS[forms]), strict=True)
    for here, outputs in steps:
        for expected, got in zip(here, outputs, strict=True):
            np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)
        np.testing.assert_allclose(there.rows, table.rows, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_in_float64_only_the_order_of_sums_differs(name):
    forms = FORMS["all forms"]
    table, there = make_pair(forms, 2, 1, np.float64, name=name)
    for _ in zip(run(table, forms), run(there, forms), strict=True):
        np.testing.assert_allclose(there.rows, table.rows, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("name", "numbering"),
    [*((name, WHOLE) for name in NAMES), ("adagrad", Numbering(2**40 - 87, 2**39 + 5, 2**41 - 1))],
)
def test_weights_in_bfloat16_are_rounded_by_the_same_bits(name, numbering):
    forms = FORMS["all forms"]
    settings = {"name": name, "numbering": numbering, "storage": "bfloat16"}
    table, there = make_pair(forms, 3, 1, **settings)
    np.testing.assert_array_equal(there.rows, table.rows)
    for _ in zip(run(table, forms), run(there, forms), strict=True):
        here, got = decode_weights(table.weights), decode_weights(there.weights)
        # A last bit of float32 that differs may tip the rounding of a weight now and then.
        assert (here == got).mean() > 0.98
        np.testing.assert_allclose(got, here, rtol=2**-6, atol=1e-3)


def test_a_frequent_row_is_summed_in_order_and_two_runs_have_the_same_bits():
    found = []
    for _ in range(2):
        table, there = make_pair(["single"] * 5, 3, 1, name="adagrad")
        fields = [[[(1, 1.0)]] * 100 for _ in range(4)] + [[[(b % 3, 1.0)] for b in range(100)]]
        for each in (table, there):
            local, full = each(make_batch(["single"] * 5, fields))
            (local.sum() / 7 + full.square().sum() / 90).backward()
            move(each)
        np.testing.assert_allclose(there.rows, table.rows, rtol=1e-5, atol=1e-6)
        found.append(there.rows.tobytes())
    assert found[0] == found[1]


def test_a_row_without_a_gradient_stays_and_so_do_all_that_the_batch_has_not():
    _, there = make_pair(["single"] * 5, 2, 1, name="ftrl", l1=0.1)
    before = there.rows.copy()
    batch = make_batch(["single"] * 5, [[[(b % 2, 1.0)] for b in range(20)] for _ in range(5)])
    local, full = there(batch)
    (local[:, :2].sum() + 0 * full.sum()).backward()
    move(there)
    moved = (there.rows != before).any(axis=1)
    np.testing.assert_array_equal(np.flatnonzero(moved), [0, 1])


@pytest.mark.parametrize(("name", "storage"), [*((name, "float32") for name in NAMES), ("adam", "bfloat16")])
def test_what_is_not_finite_is_noticed(name, storage):
    _, there = make_pair(["single"] * 5, 2, 1, name=name, storage=storage)
    batch = make_batch(["single"] * 5, [[[(0, 1.0)]] * 3 for _ in range(5)])
    for factor, finite in ((1.0, True), (1e38, False)):
        local, _ = there(batch)
        (local.square() * factor).sum().backward()
        assert move(there) == finite


@pytest.mark.parametrize("forms", FORMS)
def test_two_passes_before_one_step_are_summed(forms):
    rng = np.random.default_rng(3)
    parts = [random_fields(rng, FORMS[forms], ROWS, 15) for _ in range(2)]
    pair = make_pair(FORMS[forms], 2, 1, name="adagrad")
    for table in pair:
        for part in parts:
            local, full = table(make_batch(FORMS[forms], part))
            (local.square().sum() + full.square().sum()).backward()
        move(table)
    np.testing.assert_allclose(pair[1].rows, pair[0].rows, rtol=1e-5, atol=1e-6)
    with pytest.raises(RuntimeError, match="no forward pass"):
        pair[1].push()


def test_drawn_weights_are_those_of_the_processor():
    for storage in ("float32", "bfloat16"):
        table, there = make_pair(FORMS["single"], 2, 1, name="ftrl", storage=storage)
        table.draw(4)
        there.draw(4)
        np.testing.assert_array_equal(there.rows, table.rows)


def test_a_copy_of_the_rows_cannot_be_written_to_and_what_is_written_is_there():
    _, there = make_pair(FORMS["single"], 2, 1, name="adam")
    with pytest.raises(ValueError, match="read-only"):
        there.weights[:] = 0
    before = there.rows.copy()
    there.write(3, np.ones((2, 3), dtype=np.float32))
    before[3:5, :3] = 1
    np.testing.assert_array_equal(there.rows, before)
    np.testing.assert_array_equal(there.read(2, 5), before[2:5, :3])
