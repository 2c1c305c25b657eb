"""A model with bags: its function, its gradients, and its way through a bundle."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from tests.helpers import make_batch, make_layout
from tests.reference import cooccurrence as reference
from tests.reference import table as dense
from tests.reference.batches import random_fields

from fieldwise.kernels.cooccurrence import Cooccurrence, collect
from fieldwise.models.click import build_model
from fieldwise.models.config import ModelConfig
from fieldwise.tables.config import TableOptimizerConfig
from fieldwise.training.initial import LrWeights, leave_out_determined, warm_start
from fieldwise.training.loss import logloss

FORMS, ROWS = ["single", "value", "bag", "single"], [7, 2, 5, 40]
LAYOUT = make_layout(FORMS, ROWS)
NUM_LOG_ROWS = sum(ROWS)


def batch_of(num_examples=30, seed=0):
    rng = np.random.default_rng(seed)
    return make_batch(FORMS, random_fields(rng, FORMS, ROWS, num_examples)), rng


def bags_of(batch):
    """Make bags of these examples and of others."""
    rng = np.random.default_rng(7)
    users, items = (np.concatenate([batch.ids[line], rng.integers(0, ROWS[f], 25)]) for line, f in ((0, 0), (2, 3)))
    users, items = users.astype(np.uint32), items.astype(np.uint32)
    return [
        Cooccurrence(0, 3, *collect([(users, items)], 7, 100)),
        Cooccurrence(3, 0, *collect([(items, users)], 40, 100)),
    ]


def make(bags, kind="lc-dnn", units=3, optimizer="adagrad", **settings):
    settings = {"unit_dropout": 0.0, "fm_interactions": True, "activation": "tanh", **settings}
    config = ModelConfig(kind=kind, units=units, hidden=(6, 5), **settings)
    model = build_model(config, LAYOUT, 2, 0, torch.float64, bags).train()
    model.table.train_by(TableOptimizerConfig(name=optimizer, learning_rate=0.1))
    model.table.weights[:] = np.random.default_rng(1).normal(size=model.table.weights.shape) * 0.5
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.5)
    return model


def test_units_of_a_bag_are_the_sum_of_what_else_was_met_over_the_root_of_its_length():
    batch, _ = batch_of()
    bags = bags_of(batch)
    model = make(bags)
    given = model.augmented(batch)
    local, _ = model.table(given.batch)
    units = model.cooccurrence(local.view(given.batch.num_examples, 6, 3), given).detach().numpy()
    assert units.shape == (30, 6, 3)
    base = model.table.layout.base
    assert np.diff(base).tolist() == [*ROWS, 40, 7]
    for number, history in enumerate(bags):
        lists = [history.ids[a:b].tolist() for a, b in pairwise(history.offsets.tolist())]
        keys, own = (batch.ids[LAYOUT.single[field]].tolist() for field in (history.key, history.value))
        rows = model.table.weights[base[4 + number] : base[5 + number]].tolist()
        np.testing.assert_allclose(units[:, 4 + number], reference.units(lists, keys, own, rows), rtol=1e-12)
    plain = make([])
    plain.table.weights[:] = model.table.weights[:NUM_LOG_ROWS]
    np.testing.assert_array_equal(units[:, :4].reshape(30, -1), plain.table(batch)[0].detach().numpy())


@pytest.mark.parametrize("kind", ["lc-dnn", "lc-wide-deep", "lc-resnet"])
@pytest.mark.parametrize("heads", [slice(0, 1), slice(0, 2)], ids=["without the deep part", "both"])
def test_gradients_with_bags_are_finite_differences(kind, heads):
    batch, rng = batch_of()
    labels = torch.from_numpy(rng.integers(0, 2, 30))
    model = make(bags_of(batch), kind=kind, unit_l2=0.3, deep_units=1)

    def loss():
        members = model.member_logits(model.augmented(batch))[:, heads]
        return logloss(members, labels) + model.penalty.mean()

    loss().backward()
    before = model.table.weights.copy()
    model.table.optimizer.config = TableOptimizerConfig(name="adagrad", epsilon=1e6)
    model.table.optimizer.rate = 1.0  # the gradient itself
    model.table.push()(1.0)
    gradient = (before - model.table.weights) * 1e6
    model.table.weights[:] = before
    rows = [*rng.integers(0, NUM_LOG_ROWS, 8), *rng.integers(NUM_LOG_ROWS, NUM_LOG_ROWS + 47, 16)]
    # The deep part does not move units 0 and 1, unit 2 is its own.
    for row, unit in zip(rows, rng.integers(0, 2, len(rows)) if heads.stop == 1 else [2] * len(rows), strict=True):
        sides = []
        for difference in (1e-6, -1e-6):
            model.table.weights[row, unit] = before[row, unit] + difference
            with torch.no_grad():
                sides.append(loss().item())
        model.table.weights[row, unit] = before[row, unit]
        assert gradient[row, unit] == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-4, abs=1e-7)
    assert np.abs(gradient[NUM_LOG_ROWS:, :2]).max() > 0.001


def test_the_gradient_of_the_table_is_that_of_the_dense_algebra():
    """Of a table's outputs, those for the examples that bags are made of included."""
    batch, _ = batch_of()
    model = make(bags_of(batch))
    given = model.augmented(batch)
    local, _ = model.table(given.batch)
    fields = as_fields(given.batch, model.table.layout)
    expected, _ = dense.gather(dense.encode(fields, np.diff(model.table.layout.base).tolist()), model.table.weights, 3)
    np.testing.assert_allclose(local.detach().numpy(), expected, rtol=1e-12, atol=1e-12)


def as_fields(batch, layout):
    """Return ``fields[f][b] = [(local id, value), ...]``."""
    fields = []
    for form, single, value, bag in zip(layout.form, layout.single, layout.value, layout.bag, strict=True):
        field = []
        for b in range(batch.num_examples):
            if form == 2:
                span = slice(batch.offsets[bag, b], batch.offsets[bag, b + 1])
                field.append(list(zip(batch.bag_ids[span].tolist(), batch.bag_weights[span].tolist(), strict=True)))
            else:
                field.append([(int(batch.ids[single, b]), float(batch.values[value, b]) if form == 1 else 1.0)])
        fields.append(field)
    return fields


def test_an_example_has_the_same_logit_alone():
    batch, _ = batch_of()
    model = make(bags_of(batch))
    model.eval()
    together = model(batch)
    fields = as_fields(batch, LAYOUT)
    for number in (0, 17):
        alone = make_batch(FORMS, [field[number : number + 1] for field in fields])
        torch.testing.assert_close(model(alone), together[number : number + 1])
    assert model(make_batch(FORMS, [[] for _ in FORMS])).shape == (0, 1)


def test_logistic_regression_starts_the_fields_of_the_log_and_leaves_bags_at_zero():
    batch, rng = batch_of()
    model = make(bags_of(batch), units=2)
    start = LrWeights(rng.normal(size=(NUM_LOG_ROWS, 1)), np.array([0.5]))
    warm_start(model, start)
    np.testing.assert_array_equal(model.table.weights[:NUM_LOG_ROWS, 0], start.weights[:, 0])
    assert (model.table.weights[NUM_LOG_ROWS:, 0] == 0).all()


def test_a_bag_is_left_out_with_whatever_its_key_is_left_out_with():
    batch, _ = batch_of()
    model = make(bags_of(batch))
    leave_out_determined(model, [(0, 2), (3, 1)])
    left_out = {
        (f, g) for f in range(6) for g in range(f + 1, 6) if not model.members["lc-dnn"].interactions.mask[f, g]
    }
    assert left_out == {(0, 2), (1, 3), (0, 4), (2, 4), (3, 5), (1, 5)}


def test_saved_bags_come_back():
    batch, _ = batch_of()
    model = make(bags_of(batch))
    arrays = {name: tensor.numpy() for name, tensor in model.state_dict().items() if "cooccurrence" in name}
    found = Cooccurrence.saved(arrays, "cooccurrence.")
    for history, mine in zip(found, model.cooccurrence.bags, strict=True):
        assert (history.key, history.value) == (mine.key, mine.value)
        np.testing.assert_array_equal(history.offsets, mine.offsets)
        np.testing.assert_array_equal(history.ids, mine.ids)
    assert Cooccurrence.saved({}, "cooccurrence.") == []
