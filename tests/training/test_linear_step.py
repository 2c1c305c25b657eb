"""The fused step of logistic regression against the step through autograd."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tests.helpers import make_batch, make_layout
from tests.reference.batches import random_fields

from fieldwise.data.cache import Examples
from fieldwise.models.click import build_model
from fieldwise.models.config import ModelConfig
from fieldwise.optim.config import DenseOptimizerConfig, TableOptimizerConfig
from fieldwise.optim.dense import build_dense_optimizer
from fieldwise.optim.table import TableOptimizer
from fieldwise.training.guard import NotFinite
from fieldwise.training.linear import LinearStepper, make_stepper
from fieldwise.training.step import Stepper

FORMS, ROWS = ["single", "value", "bag", "single"], [7, 2, 5, 60]


def make(kind, table="ftrl", dense="adamw"):
    model = build_model(ModelConfig(kind="lr"), make_layout(FORMS, ROWS), 2, dtype=torch.float64).train()
    optimizer = TableOptimizer(model.table, TableOptimizerConfig(name=table, learning_rate=0.1), 40)
    return kind(model, optimizer, build_dense_optimizer(model.parameters(), DenseOptimizerConfig(name=dense)))


def some_examples(rng, num_examples, weighted):
    weights = rng.random(num_examples).astype(np.float32) if weighted else None
    batch = make_batch(FORMS, random_fields(rng, FORMS, ROWS, num_examples))
    return Examples(batch, rng.integers(0, 2, num_examples).astype(np.int32), weights, None)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("table", "dense"), [("ftrl", "adamw"), ("adagrad", "sgd"), ("adam", "adagrad")])
def test_every_step_is_that_of_autograd(table, dense, weighted):
    ours, peer = make(LinearStepper, table, dense), make(Stepper, table, dense)
    rng = np.random.default_rng(1)
    for number in range(8):
        examples, factor = some_examples(rng, 17 if number == 5 else 40, weighted), 1.0 - number / 10
        assert ours.step(examples, factor) == pytest.approx(peer.step(examples, factor), rel=1e-9)
        np.testing.assert_allclose(ours.model.table.rows, peer.model.table.rows, rtol=1e-9, atol=1e-12)
        assert ours.model.members["lr"].bias.item() == pytest.approx(peer.model.members["lr"].bias.item(), rel=1e-9)
    assert ours.arrays().keys() == peer.arrays().keys()


def test_logistic_regression_of_two_classes_takes_it_and_nothing_else():
    layout = make_layout(FORMS, ROWS)
    for kind, num_classes, expected in (("lr", 2, LinearStepper), ("lr", 3, Stepper), ("lc-dnn", 2, Stepper)):
        model = build_model(ModelConfig(kind=kind, units=1, hidden=(2,)), layout, num_classes)
        optimizer = TableOptimizer(model.table, TableOptimizerConfig())
        assert type(make_stepper(model, optimizer, None)) is expected


def test_what_is_not_finite_stops_it_before_anything_moves():
    stepper, examples = make(LinearStepper), some_examples(np.random.default_rng(0), 30, False)
    stepper.step(examples, 1.0)
    before = stepper.model.table.rows.copy(), stepper.model.members["lr"].bias.item()
    examples.batch.values[0, 3] = math.nan
    with pytest.raises(NotFinite, match="the loss"):
        stepper.step(examples, 1.0)
    np.testing.assert_array_equal(stepper.model.table.rows, before[0])
    assert stepper.model.members["lr"].bias.item() == before[1]


def test_weights_and_a_bias_that_overflow_are_noticed():
    stepper, examples = make(LinearStepper, "adagrad"), some_examples(np.random.default_rng(0), 30, False)
    stepper.table_optimizer.rate = math.inf
    with pytest.raises(NotFinite, match="weight of the table"):
        stepper.step(examples, 1.0)
    stepper = make(LinearStepper, "adagrad", "sgd")
    stepper._rates = [math.inf]
    with pytest.raises(NotFinite, match="a dense weight"):
        stepper.step(examples, 1.0)
