"""The step: of logistic regression, by the kernel of its table, against the one through autograd."""

from __future__ import annotations

import math
from unittest.mock import patch

import numpy as np
import pytest
import torch
from tests.helpers import make_batch, make_layout
from tests.reference.batches import random_fields

from fieldwise.data.cache import Examples
from fieldwise.models.click import build_model
from fieldwise.models.config import ModelConfig
from fieldwise.tables.config import TableOptimizerConfig
from fieldwise.training.config import DenseOptimizerConfig
from fieldwise.training.dense import DenseOptimizer
from fieldwise.training.guard import NotFinite
from fieldwise.training.make import make_stepper, with_epsilon

FORMS, ROWS = ["single", "value", "bag", "single"], [7, 2, 5, 60]


def make(table="ftrl", dense="adamw", fused=True):
    model = build_model(ModelConfig(kind="lr"), make_layout(FORMS, ROWS), 2, dtype=torch.float64).train()
    rates = DenseOptimizerConfig(name=dense)
    stepper = make_stepper(model, TableOptimizerConfig(name=table, learning_rate=0.1), rates, 40)
    if not fused:
        stepper._bias, stepper.dense = None, DenseOptimizer([model.logistic_bias], rates)
    return stepper


def some_examples(rng, num_examples, weighted):
    weights = rng.random(num_examples).astype(np.float32) if weighted else None
    batch = make_batch(FORMS, random_fields(rng, FORMS, ROWS, num_examples))
    return Examples(batch, rng.integers(0, 2, num_examples).astype(np.int32), weights, None)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("table", "dense"), [("ftrl", "adamw"), ("adagrad", "sgd"), ("adam", "adagrad")])
def test_every_step_is_that_of_autograd(table, dense, weighted):
    ours, peer = make(table, dense), make(table, dense, fused=False)
    rng = np.random.default_rng(1)
    for number in range(8):
        examples, factor = some_examples(rng, 17 if number == 5 else 40, weighted), 1.0 - number / 10
        assert ours.step(examples, factor) == pytest.approx(peer.step(examples, factor), rel=1e-9)
        np.testing.assert_allclose(ours.model.table.rows, peer.model.table.rows, rtol=1e-9, atol=1e-12)
        assert ours.model.members["lr"].bias.item() == pytest.approx(peer.model.members["lr"].bias.item(), rel=1e-9)
    assert ours.arrays().keys() == peer.arrays().keys()


def test_logistic_regression_of_two_classes_takes_the_kernel_and_nothing_else():
    for kind, num_classes, fused in (("lr", 2, True), ("lr", 3, False), ("lc-dnn", 2, False)):
        model = build_model(ModelConfig(kind=kind, units=1, hidden=(2,)), make_layout(FORMS, ROWS), num_classes)
        stepper = make_stepper(model, TableOptimizerConfig(), DenseOptimizerConfig(), 40)
        labels = np.arange(20, dtype=np.int32) % num_classes
        examples = some_examples(np.random.default_rng(0), 20, False)._replace(labels=labels)
        with patch.object(model.table, "logistic", wraps=model.table.logistic) as logistic:
            stepper.step(examples, 1.0)
        assert logistic.called == fused


def test_what_is_not_finite_stops_it_before_anything_moves():
    stepper, examples = make(), some_examples(np.random.default_rng(0), 30, False)
    stepper.step(examples, 1.0)
    before = stepper.model.table.rows.copy(), stepper.model.members["lr"].bias.item()
    examples.batch.values[0, 3] = math.nan
    with pytest.raises(NotFinite, match="the loss"):
        stepper.step(examples, 1.0)
    np.testing.assert_array_equal(stepper.model.table.rows, before[0])
    assert stepper.model.members["lr"].bias.item() == before[1]


def test_weights_and_a_bias_that_overflow_are_noticed():
    stepper, examples = make("adagrad"), some_examples(np.random.default_rng(0), 30, False)
    stepper.table.optimizer.rate = math.inf
    stepper.step(examples, 1.0)
    with pytest.raises(NotFinite, match="weight of the table"):
        stepper.refuse_written()
    stepper = make("adagrad", "sgd")
    stepper.dense._rates = [math.inf]
    stepper.step(examples, 1.0)
    with pytest.raises(NotFinite, match="a dense weight"):
        stepper.refuse_written()


@pytest.mark.parametrize("batch_size", [256, 4096])
def test_a_feature_of_one_example_moves_interactions_by_less_than_the_rate(batch_size):
    model = build_model(ModelConfig(kind="lc-dnn", units=4, hidden=(2,)), make_layout(FORMS, ROWS), 2).train()
    settings = with_epsilon(TableOptimizerConfig(learning_rate=0.01), model, batch_size, 100_000)
    moved = {}
    for gradient in (0.3, 30.0):  # of so many examples of a batch that agree
        make_stepper(model, settings, DenseOptimizerConfig(), batch_size)
        model.table.optimizer.num_steps = 10_000  # the correction for the first steps is over
        local, full = model.table(make_batch(FORMS, random_fields(np.random.default_rng(0), FORMS, ROWS, 20)))
        (local[0, 1] * (gradient / batch_size) + 0.0 * (local.sum() + full.sum())).backward()
        model.table.push()(1.0)
        moved[gradient] = np.abs(model.table.weights).max() / 0.01
    # The first moment is a tenth of the gradient, the root of the second 1 / sqrt(1000) of it.
    assert moved == pytest.approx({g: 0.1 * g / (g * math.sqrt(0.001) + 0.1) for g in moved}, rel=1e-3)
    assert moved[0.3] < 0.3
    assert moved[30.0] > 2.5


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        (ModelConfig(kind="lc-dnn", units=1), TableOptimizerConfig()),
        (ModelConfig(kind="lc-dnn", fm_interactions=False), TableOptimizerConfig()),
        (ModelConfig(kind="lc-dnn+bayesian-fm"), TableOptimizerConfig()),
        (ModelConfig(kind="dnn"), TableOptimizerConfig()),
        (ModelConfig(kind="lc-dnn"), TableOptimizerConfig(epsilon=1e-6)),
        (ModelConfig(kind="lc-dnn"), TableOptimizerConfig(name="adagrad")),
    ],
)
def test_without_fitted_interactions_and_where_it_is_given_epsilon_stays(config, settings):
    model = build_model(config, make_layout(FORMS, ROWS), 2)
    assert with_epsilon(settings, model, 256, 1_000_000) == settings


def test_epsilon_stays_on_a_small_log():
    model = build_model(ModelConfig(kind="lc-dnn"), make_layout(FORMS, ROWS), 2)
    assert with_epsilon(TableOptimizerConfig(), model, 256, 99_999) == TableOptimizerConfig()
