"""The table's optimizers, step by step against torch's sparse ones and plain references."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tests.helpers import make_batch, make_layout
from tests.reference import table as reference
from tests.reference.batches import random_fields

from fieldwise.kernels.optimizers import adagrad_number, adam_number
from fieldwise.kernels.storage import decode_weights
from fieldwise.kernels.threads import num_threads, set_num_threads
from fieldwise.tables.config import TableOptimizerConfig
from fieldwise.tables.host import HostTable
from fieldwise.tables.shards import Shards

FORMS = ["single", "value", "bag", "single"]
ROWS = [7, 2, 5, 60]


def make(config: TableOptimizerConfig, num_local=2, num_full=1, batch_size=1):
    table = HostTable(make_layout(FORMS, ROWS), num_local, num_full, np.float64).train_by(config, batch_size)
    start = np.random.default_rng(5).normal(size=(sum(ROWS), num_local + num_full))
    for unit in range(num_local + num_full):
        table.start(unit, start[:, unit])
    return table, start


def move(table):
    """Take a step, and return whether all that was written is finite."""
    return math.isfinite(table.push()(1.0))


def run_steps(table, num_steps=6):
    """Yield the dense gradient of each step, after the rows moved by it."""
    rng = np.random.default_rng(9)
    for number in range(num_steps):
        fields = random_fields(rng, FORMS, ROWS, 0 if number == 3 else 40)
        local, full = table(make_batch(FORMS, fields))
        target = torch.from_numpy(rng.normal(size=full.shape))
        (local.square().sum() + (full - target).square().sum()).backward()
        gradient = reference.gradients(
            reference.encode(fields, ROWS), local.grad.numpy(), full.grad.numpy(), table.num_local
        )
        assert move(table)
        yield gradient


def sparse(gradient: np.ndarray) -> torch.Tensor:
    """Return the rows that a batch touched as torch's sparse gradient."""
    touched = torch.from_numpy(np.flatnonzero(np.abs(gradient).sum(axis=1)))
    return torch.sparse_coo_tensor(
        touched[None], torch.from_numpy(gradient)[touched], gradient.shape, check_invariants=True
    )


@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")  # torch's own optimizers meet it, not ours
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["adagrad", "adam"])
@pytest.mark.parametrize("num_local", [2, 18])
def test_every_step_is_that_of_torchs_sparse_optimizer(name, num_local, threads):
    before = num_threads()
    set_num_threads(threads)
    table, start = make(TableOptimizerConfig(name=name, learning_rate=0.1, epsilon=1e-10), num_local)
    twin = torch.nn.Parameter(torch.from_numpy(start.copy()))
    kind = {"adagrad": torch.optim.Adagrad, "adam": torch.optim.SparseAdam}[name]
    peer = kind([twin], lr=0.1, eps=1e-10)
    for gradient in run_steps(table):
        twin.grad = sparse(gradient)
        peer.step()
        np.testing.assert_allclose(table.weights, twin.detach().numpy(), rtol=1e-10, atol=1e-12)
    set_num_threads(before)


@pytest.mark.parametrize("unit", [0, 7, 8, 15, 18])
def test_adam_notices_a_weight_that_overflows_wherever_it_stands(unit):
    table, _ = make(TableOptimizerConfig(name="adam"), 18)
    batch = make_batch(FORMS, random_fields(np.random.default_rng(0), FORMS, ROWS, 20))
    for bad in (False, True):
        local, full = table(batch)
        (local.sum() + full.sum()).backward()
        (full if unit == 18 else local).grad[3, 0 if unit == 18 else unit] = np.inf if bad else 1.0
        assert move(table) is not bad


@pytest.mark.parametrize("name", ["adagrad", "adam"])
def test_a_weight_alone_is_moved_as_torchs_optimizer_moves_it(name):
    weight = torch.nn.Parameter(torch.tensor(0.3, dtype=torch.float64))
    kind = {"adagrad": torch.optim.Adagrad, "adam": torch.optim.Adam}[name]
    peer, number = kind([weight], lr=0.1, eps=1e-10), np.array([0.3, 0.0, 0.0])
    for step, gradient in enumerate([0.5, -2.0, 0.0, 1e-8, 30.0], start=1):
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        peer.step()
        if name == "adagrad":
            adagrad_number(number, gradient, 0.1, 1e-10)
        else:
            # torch adds epsilon to the root that is corrected for the first steps, the table's rule to the root itself.
            adam_number(number, gradient, 0.1, 1e-10 * math.sqrt(1 - 0.999**step), 0.9, 0.999, step)
        assert number[0] == pytest.approx(weight.item(), rel=1e-10)


def test_every_step_of_ftrl_is_the_papers():
    settings = {"alpha": 0.3, "beta": 0.7, "l1": 0.2, "l2": 0.1}
    table, start = make(TableOptimizerConfig(name="ftrl", learning_rate=0.3, beta=0.7, l1=0.2, l2=0.1))
    w, n = start, np.zeros_like(start)
    z = -w * (0.7 / 0.3 + 0.1) - np.sign(w) * 0.2
    for gradient in run_steps(table):
        w, z, n = reference.ftrl(w, z, n, gradient, **settings)
        np.testing.assert_allclose(table.weights, w, rtol=1e-10, atol=1e-12)
    assert (table.weights == 0).any(), "L1 sets weights to zero"


def test_ftrl_counts_its_penalties_in_examples():
    settings = {"name": "ftrl", "learning_rate": 0.3, "beta": 0.7, "l1": 0.2, "l2": 0.1}
    ours, _ = make(TableOptimizerConfig(**settings), batch_size=32)
    peer, _ = make(TableOptimizerConfig(**{**settings, "beta": 0.7 / 32, "l1": 0.2 / 32, "l2": 0.1 / 32}), batch_size=1)
    for _ in zip(run_steps(ours), run_steps(peer), strict=True):
        np.testing.assert_allclose(ours.weights, peer.weights, rtol=1e-10, atol=1e-12)


def test_ftrl_keeps_the_weights_it_starts_from_where_the_gradient_is_zero():
    table, start = make(TableOptimizerConfig(name="ftrl", l1=0.1, l2=0.2))
    local, full = table(make_batch(FORMS, random_fields(np.random.default_rng(0), FORMS, ROWS, 20)))
    ((local * 0).sum() + (full * 0).sum()).backward()
    move(table)
    np.testing.assert_array_equal(table.weights, start)


def test_rowwise_adagrad_shares_the_mean_square_of_a_row():
    table, start = make(TableOptimizerConfig(name="rowwise-adagrad", learning_rate=0.1, epsilon=1e-10, l2=0.01))
    w, s = start.copy(), np.zeros(len(start))
    for gradient in run_steps(table):
        touched = np.abs(gradient).sum(axis=1) > 0
        g = gradient[touched] + 0.01 * w[touched]
        s[touched] += (g**2).mean(axis=1)
        w[touched] -= 0.1 * g / (np.sqrt(s[touched])[:, None] + 1e-10)
        np.testing.assert_allclose(table.weights, w, rtol=1e-10, atol=1e-12)


def test_l2_pulls_the_rows_of_the_batch_and_no_others():
    table, start = make(TableOptimizerConfig(name="adagrad", learning_rate=0.1, epsilon=1e-10, l2=0.5))
    w, s = start.copy(), np.zeros_like(start)
    for gradient in run_steps(table):
        touched = np.abs(gradient).sum(axis=1) > 0
        g = gradient[touched] + 0.5 * w[touched]
        s[touched] += g**2
        w[touched] -= 0.1 * g / (np.sqrt(s[touched]) + 1e-10)
        np.testing.assert_allclose(table.weights, w, rtol=1e-10, atol=1e-12)
    never = s.sum(axis=1) == 0
    np.testing.assert_array_equal(table.weights[never], start[never])


def test_two_passes_before_one_step_are_summed():
    rng = np.random.default_rng(3)
    first, second = (random_fields(rng, FORMS, ROWS, 15) for _ in range(2))
    apart, together = (make(TableOptimizerConfig(learning_rate=0.1)) for _ in range(2))
    for fields in ([first, second], [[a + b for a, b in zip(first, second, strict=True)]]):
        table, _ = apart if len(fields) == 2 else together
        for part in fields:
            local, full = table(make_batch(FORMS, part))
            (local.square().sum() + full.sum()).backward()
        move(table)
    np.testing.assert_allclose(apart[0].weights, together[0].weights, rtol=1e-12)


def test_a_step_takes_the_passes_before_it_and_needs_one():
    table, _ = make(TableOptimizerConfig())
    list(run_steps(table))
    assert table.records == []
    with pytest.raises(RuntimeError, match="no forward pass"):
        table.push()


@pytest.mark.parametrize("name", ["adagrad", "rowwise-adagrad", "adam", "ftrl"])
@pytest.mark.parametrize("storage", ["float32", "bfloat16"])
def test_threads_and_shares_change_no_bit(name, storage):
    forms, rows = ["single", "bag", "single"], [100_000, 9_000, 5_000]
    before, results = num_threads(), []
    for threads in (1, 2, 5):
        set_num_threads(threads)
        config = TableOptimizerConfig(name=name, storage=storage)
        table = HostTable(make_layout(forms, rows), 2, 1).train_by(config, 4000, seed=3)
        table.draw(1)
        rng = np.random.default_rng(4)
        for _ in range(3):
            batch = make_batch(forms, random_fields(rng, forms, rows, 7000))
            local, full = table(batch)
            (local.square().sum() + (full - 1).square().sum()).backward()
            move(table)
        results.append(table.rows.tobytes())
    set_num_threads(before)
    assert results[0] == results[1] == results[2]
    assert len(set(results[0])) > 100


@pytest.mark.parametrize("name", ["adagrad", "rowwise-adagrad", "adam", "ftrl"])
def test_bfloat16_weights_are_those_of_float32_in_the_mean(name):
    forms, rows = ["single"], [20_000]
    config = {"name": name, "learning_rate": 0.01, "epsilon": 1e-3, "l2": 0.0}
    tables = []
    for storage in ("float32", "bfloat16"):
        table = HostTable(make_layout(forms, rows), 1, 0)
        table.train_by(TableOptimizerConfig(storage=storage, **config), 1, seed=5)
        table.start(0, np.ones(rows[0], dtype=np.float32))
        batch = make_batch(forms, [[[(i, 1.0)] for i in range(rows[0])]])
        for _ in range(30):
            local, _ = table(batch)
            # Every row moves down alike, by less than bfloat16's spacing at 1.
            (local * (1.0 if name == "ftrl" else 1e-4)).sum().backward()
            move(table)
        tables.append(decode_weights(table.weights)[:, 0].astype(np.float64))
    exact, rounded = tables
    assert exact.std() < 1e-6
    moved = 1.0 - exact.mean()
    assert 0 < moved < 0.5
    assert abs((1.0 - rounded.mean()) / moved - 1.0) < 0.05
    assert (rounded != exact).mean() > 0.5


def exact_sums(rng, num_rows, num_examples, width):
    """Return a batch of one field, and gradients whose sums are exact in any order."""
    batch = make_batch(["single"], [[[(int(i), 1.0)] for i in rng.integers(0, num_rows, num_examples)]])
    return batch, (rng.integers(-8, 9, (num_examples, width)) / 64).astype(np.float32)


@pytest.mark.parametrize("name", ["adagrad", "rowwise-adagrad", "adam", "ftrl"])
@pytest.mark.parametrize("num_owners", [1, 3])
def test_owners_of_parts_of_a_table_round_bfloat16_weights_by_the_bits_of_the_whole(name, num_owners):
    num_rows, shards, none = 50, Shards(50, num_owners, seed=2), np.empty((300, 0), dtype=np.float32)
    config = TableOptimizerConfig(name=name, storage="bfloat16", learning_rate=0.1)

    def make_part(size, **part):
        return HostTable(make_layout(["single"], [size]), 3, 0).train_by(config, 8, seed=7, **part)

    whole, start = make_part(num_rows), np.random.default_rng(5).normal(size=(num_rows, 3)).astype(np.float32)
    owned = [shards.rows(np.array(shards.owned(worker))) for worker in range(num_owners)]
    owners = [make_part(len(rows), numbering=shards.numbering(worker)) for worker, rows in enumerate(owned)]
    for unit in range(3):
        whole.start(unit, start[:, unit])
        for owner, rows in zip(owners, owned, strict=True):
            owner.start(unit, start[rows, unit])
    rng = np.random.default_rng(9)
    for _ in range(4):
        batch, gradients = exact_sums(rng, num_rows, 300, 3)
        whole.move(batch, gradients, none)
        places = shards.places(batch.ids[0].astype(np.int64))
        for worker, owner in enumerate(owners):
            here = places // shards.block == worker
            own = batch._replace(
                ids=(places[here] % shards.block).astype(np.uint32)[np.newaxis], values=batch.values[:, : here.sum()]
            )
            owner.move(own, gradients[here], none[here])
    for owner, rows in zip(owners, owned, strict=True):
        np.testing.assert_array_equal(owner.rows, whole.rows[rows])
    assert (decode_weights(whole.weights) != start).mean() > 0.9


def test_a_row_of_bfloat16_is_half_of_float32s():
    sizes = {
        (name, storage): TableOptimizerConfig(name=name, storage=storage).bytes_per_row(2)
        for name in ("adagrad", "rowwise-adagrad", "adam", "ftrl")
        for storage in ("float32", "bfloat16")
    }
    assert list(sizes.values()) == [16, 12, 12, 8, 24, 20, 24, 20]
    for (name, storage), size in sizes.items():
        table = HostTable(make_layout(FORMS, ROWS), 1, 1)
        table.train_by(TableOptimizerConfig(name=name, storage=storage))
        assert table.rows.nbytes == sum(ROWS) * size
