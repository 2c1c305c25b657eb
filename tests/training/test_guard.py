"""Numbers that are not finite, and learning rates that are too high, stop training before they do harm."""

from __future__ import annotations

import json
import math
import os
import signal

import msgspec
import numpy as np
import pyarrow as pa
import pytest
import torch
from tests.helpers import make_batch, make_layout
from tests.logs import config_text, make_table, write
from tests.reference.batches import random_fields

import fieldwise as fw
from fieldwise.data.cache import Examples
from fieldwise.models.click import build_model
from fieldwise.models.config import ModelConfig
from fieldwise.tables.config import TableOptimizerConfig
from fieldwise.training.config import DenseOptimizerConfig
from fieldwise.training.guard import Divergence, NotFinite, all_finite
from fieldwise.training.make import make_stepper as make_stepper_of
from fieldwise.training.state import TrainingState
from fieldwise.training.step import Stepper

FORMS, ROWS = ["single", "value", "bag", "single"], [7, 2, 5, 40]

MORE = """
[model]
kind = "lc-wide-deep"
initial_model = "random"
units = 2
hidden = [8]
[train]
epochs = 9
batch_size = 64
threads = 1
patience = 9
checkpoint_steps = 2
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guard")
    write(make_table(), folder / "log.parquet")
    return folder


def config_for(folder, *overrides):
    return fw.parse_config(config_text("log.parquet", more=MORE), base=folder, overrides=list(overrides))


def make_stepper(name="adam", rate=0.01, kind="lc-wide-deep"):
    config = ModelConfig(kind=kind, units=2, hidden=(4,))
    model = build_model(config, make_layout(FORMS, ROWS), 2).train()
    stepper = make_stepper_of(model, TableOptimizerConfig(name=name, learning_rate=rate), DenseOptimizerConfig(), 1)
    model.table.draw(0)
    return stepper


def some_examples(num_examples=30):
    rng = np.random.default_rng(0)
    batch = make_batch(FORMS, random_fields(rng, FORMS, ROWS, num_examples))
    return Examples(batch, rng.integers(0, 2, num_examples).astype(np.int32), None, None)


def everything(stepper):
    return {**{name: array.tobytes() for name, array in stepper.arrays().items()}, "rows": stepper.model.table.rows}


# --- a step ---


@pytest.mark.parametrize("poison", [math.nan, math.inf])
@pytest.mark.parametrize("place", ["table", "dense"])
def test_a_gradient_that_is_not_finite_moves_nothing(place, poison):
    stepper, examples = make_stepper(), some_examples()
    stepper.step(examples, 1.0)
    if place == "dense":
        parameter = next(stepper.model.members["lc-wide-deep"].network.parameters())
        parameter.register_hook(lambda gradient: gradient * poison)
    else:
        forward = stepper.model.table.forward

        def poisoned(batch):
            local, full = forward(batch)
            local.register_hook(
                lambda gradient: torch.where(torch.arange(len(gradient))[:, None] == 3, poison, gradient)
            )
            return local, full

        stepper.model.table.forward = poisoned
    before = {name: value if isinstance(value, bytes) else value.copy() for name, value in everything(stepper).items()}
    with pytest.raises(NotFinite, match="gradient of the " + place):
        stepper.step(examples, 1.0)
    after = everything(stepper)
    names = [
        name for name in before if name.startswith("optimizer") or name in ("table.num_steps", "model.members.lr.bias")
    ]
    assert all(before[name] == after[name] for name in names)
    assert np.array_equal(before["rows"], after["rows"])


def test_a_loss_that_is_not_finite_moves_nothing():
    stepper, examples = make_stepper(), some_examples()
    stepper.model.table.weights[:] = np.inf
    before = everything(stepper)["rows"].copy()
    with pytest.raises(NotFinite, match="the loss"):
        stepper.step(examples, 1.0)
    assert np.array_equal(everything(stepper)["rows"], before, equal_nan=True)


@pytest.mark.parametrize("name", ["adam", "adagrad", "rowwise-adagrad", "ftrl"])
def test_a_weight_of_the_table_that_leaves_the_numbers_is_noticed_in_the_step_that_moves_it(name):
    stepper, examples = make_stepper(name), some_examples()
    for _ in range(5):
        stepper.step(examples, 1.0)
    row = int(examples.batch.ids[0, 4])
    local, _ = stepper.model.table(examples.batch)
    local.backward(torch.ones_like(local))
    stepper.model.table.rows[row, 0] = np.inf
    assert math.isnan(stepper.table.push()(1.0))


@pytest.mark.parametrize("name", ["adam", "adagrad", "rowwise-adagrad", "ftrl"])
def test_a_state_that_overflows_is_noticed(name):
    stepper, examples = make_stepper(name), some_examples()
    local, _ = stepper.model.table(examples.batch)
    local.backward(torch.full_like(local, 1e30))  # its square is beyond float32
    assert math.isnan(stepper.table.push()(1.0))


def test_a_dense_weight_that_overflows_is_noticed():
    stepper, examples = make_stepper(), some_examples()
    stepper.dense._rates = [3e38] * len(stepper.dense._rates)
    stepper.step(examples, 100.0)
    with pytest.raises(NotFinite, match="weight") as caught:
        stepper.refuse_written()
    assert caught.value.before
    with pytest.raises(NotFinite, match="a dense weight"):
        stepper.step(examples, 1.0)


def test_finite_numbers_whose_sum_is_not_are_finite():
    assert all_finite([torch.full((1000,), 3e38), torch.zeros(0)])
    assert not all_finite([torch.zeros(3), torch.tensor([-math.inf, math.inf])])


# --- divergence ---


def run_windows(divergence, loss_of, rate, num_batches, batch_size=512, seed=0):
    rng = np.random.default_rng(seed)
    for number in range(num_batches):
        labels = (rng.random(batch_size) < rate).astype(np.int32)
        if divergence.add(loss_of(labels), len(labels), np.bincount(labels, minlength=2).astype(float)):
            return number + 1
    return None


@pytest.mark.parametrize("rate", [0.5, 0.02, 1e-4, 0.0])
def test_a_loss_that_wavers_with_the_clicks_in_a_batch_is_no_divergence(rate):
    p = min(max(3 * rate, 1e-6), 0.9)  # three times too many, all the time

    def loss(labels):
        return float(-np.where(labels == 1, math.log(p), math.log1p(-p)).mean())

    assert run_windows(Divergence.of(2), loss, rate, num_batches=400) is None


def test_a_loss_that_stays_far_above_the_start_is_divergence_within_three_windows():
    assert run_windows(Divergence.of(2), lambda labels: 4.0, 0.5, num_batches=400) == 60
    assert run_windows(Divergence.of(2), lambda labels: 4.0, 0.5, num_batches=999, batch_size=16) == 3 * 4096 // 16


def test_a_peak_that_passes_is_no_divergence():
    losses = iter([9.0] * 35 + [0.6] * 365)
    assert run_windows(Divergence.of(2), lambda labels: next(losses), 0.5, num_batches=400) is None


@pytest.mark.parametrize("step", [1, 19, 20, 33, 45, 59])
def test_what_is_known_of_a_divergence_goes_through_a_checkpoint_at_any_step(step):
    divergence = Divergence.of(2)
    assert run_windows(divergence, lambda labels: 4.0, 0.5, num_batches=step) is None
    saved = msgspec.json.encode(TrainingState(divergence=divergence))
    resumed = msgspec.json.decode(saved, type=TrainingState).divergence
    assert run_windows(resumed, lambda labels: 4.0, 0.5, num_batches=400) == 60 - step


def test_a_checkpoint_of_a_version_that_did_not_keep_it_begins_to_look_anew():
    old = {"epochs": [], "best_epoch": 0, "best_value": None, "num_saves": 0, "position": 7}
    assert msgspec.convert({**old, "loss_sum": 1.0, "seconds": 2.0}, TrainingState).divergence is None


# --- a run ---


def test_training_that_overflows_stops_names_the_batch_and_keeps_the_checkpoint(folder):
    run = folder / "overflow"
    config = config_for(folder, "train.table.learning_rate=1e37", "train.warmup=0.9", "train.table.epsilon=1e-30")
    with pytest.raises(fw.UserError, match="is not a finite number") as caught:
        fw.train(config, run)
    facts, *examples = [json.loads(line) for line in (run / "not_finite.jsonl").read_text().splitlines()]
    assert str(run / "not_finite.jsonl") in str(caught.value)
    assert f"batch {facts['batch']}" in str(caught.value)
    assert facts["what"] in str(caught.value)
    cache = fw.prepare(config).parts["train"]
    rows = np.array([line["example"] for line in examples])
    assert len(rows) == 64
    assert cache.gather(rows).labels.tolist() == [line["label"] for line in examples]
    assert fw.verify(run).damages == []


def test_the_checkpoint_before_is_whole_and_finite(folder, monkeypatch):
    run, config, calls = folder / "later", config_for(folder), []
    before = Stepper.step

    def poisoned(self, examples, factor):
        calls.append(1)
        if len(calls) == 12:
            self.model.table.weights[:] = np.nan
        return before(self, examples, factor)

    monkeypatch.setattr(Stepper, "step", poisoned)
    with pytest.raises(fw.UserError, match=r"(?s)the loss is not a finite number.*batch 12.*checkpoint of step 10"):
        fw.train(config, run)
    assert max(path.name for path in (run / "checkpoints").iterdir()) == "00000010"
    monkeypatch.undo()
    assert fw.train(config, run).epochs == fw.train(config, folder / "never").epochs
    bundles = [
        {path.name: path.read_bytes() for path in (folder / name / "bundle").iterdir()} for name in ("later", "never")
    ]
    assert bundles[0] == bundles[1]


def test_a_learning_rate_that_is_too_high_is_called_that(folder):
    config = config_for(folder, "train.table.learning_rate=300", "train.dense.learning_rate=3")
    with pytest.raises(fw.UserError, match=r"(?s)the learning rate is too high.*times that loss.*lower train\.table"):
        fw.train(config, folder / "fast")


def test_a_diverging_run_that_was_stopped_ends_where_the_unbroken_one_does(folder):
    config = config_for(folder, "train.table.learning_rate=300", "train.dense.learning_rate=3")
    whole, stopped, said = folder / "unbroken", folder / "broken", []
    with pytest.raises(fw.UserError, match="diverged") as caught:
        fw.train(config, whole)
    said.append(str(caught.value))
    last = max(int(path.name) for path in (whole / "checkpoints").iterdir())
    steps, before = [], Stepper.step

    def interrupted(self, examples, factor):
        steps.append(1)
        if len(steps) == last - 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return before(self, examples, factor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stepper, "step", interrupted)
        with pytest.raises(fw.Stopped):
            fw.train(config, stopped)
    with pytest.raises(fw.UserError, match="diverged") as caught:
        fw.train(config, stopped)
    said.append(str(caught.value))
    assert said[0] == said[1]


# --- the border ---


def test_no_number_that_is_not_finite_comes_past_the_encoder(tmp_path):
    n, inf, nan = 200, math.inf, math.nan
    numbers = np.random.default_rng(0).normal(size=n)
    tags, weights, labels = ["a:0.5|b:2"] * n, np.ones(n), np.arange(n) % 2.0
    numbers[:3] = [inf, -inf, nan]  # NaN is a missing number, and is not rejected
    tags[4:8] = ["a:inf", "a:nan|b:1", "b:1|a:1e39", "a:-inf"]
    weights[8:12] = [inf, -inf, nan, 1e300]
    labels[12:15] = [nan, inf, -inf]
    write(pa.table({"x": numbers, "t": tags, "w": weights, "y": labels}), tmp_path / "log.parquet")
    config = fw.parse_config(
        '[data]\ntrain = "log.parquet"\nlabel = "y"\nweight = "w"\n'
        '[fields.x]\nscale = "standard"\n[fields.t]\ntype = "bag"\nweighted = true\n',
        base=tmp_path,
    )
    prepared = fw.prepare(config)
    rejects = [json.loads(line) for line in (prepared.folder / "rejects.jsonl").read_text().splitlines()]
    assert [(line["row"], line["column"]) for line in rejects] == [
        (row, column)
        for column, rows in (("x", (1, 2)), ("t", range(5, 9)), ("w", range(9, 13)), ("y", range(13, 16)))
        for row in rows
    ]
    assert prepared.summary["classes"] == ["0", "1"]
    examples = prepared.parts["train"].gather(np.arange(prepared.parts["train"].num_examples))
    assert all(
        np.isfinite(part).all() for part in (examples.batch.values, examples.batch.bag_weights, examples.weights)
    )
