"""Training on a device, with torch's operations on the processor in the place of a GPU, against the processor."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tests.helpers import make_batch, make_layout
from tests.logs import config_text, make_table, write
from tests.reference.batches import random_fields

import fieldwise as fw
from fieldwise.bundle import open_bundle
from fieldwise.data.cache import Examples
from fieldwise.distributed import group
from fieldwise.events import EpochEnd, Warned
from fieldwise.jobs.train.on_ray import train_on_ray
from fieldwise.jobs.train.plan import plan
from fieldwise.kernels.cooccurrence import Cooccurrence
from fieldwise.kernels.storage import decode_weights
from fieldwise.models.click import build_model
from fieldwise.models.config import ModelConfig
from fieldwise.tables.config import TableOptimizerConfig
from fieldwise.testing import check_model
from fieldwise.training.averaging import Average
from fieldwise.training.checkpoint import Checkpoints
from fieldwise.training.config import DenseOptimizerConfig
from fieldwise.training.device import choose_device, own_gpu
from fieldwise.training.guard import NotFinite
from fieldwise.training.make import make_stepper
from fieldwise.training.score import answer

FORMS, ROWS = ["single", "value", "bag", "single"], [7, 2, 5, 60]
SMALL = {"units": 3, "hidden": (12, 8)}
PAIRS_SKIP = (
    "check_the_start_is_logistic_regression_where_it_should",
    "check_gradients_are_finite_differences",
    "check_it_overfits_a_hundred_rows",
)


@pytest.mark.parametrize(
    ("options", "num_classes", "skip"),
    [
        ({"kind": "lr"}, 2, ()),
        ({"kind": "lr"}, 3, ()),
        ({"kind": "dnn"}, 2, ()),
        ({"kind": "lc-wide-deep", "fm_interactions": False}, 2, ()),
        ({"kind": "lc-resnet", "fm_interactions": False, "dropout": 0.2}, 2, ()),
        ({"kind": "lc-dnn", "deep": "cross", "fm_interactions": False}, 2, ()),
        ({"kind": "lc-dnn"}, 2, PAIRS_SKIP),
    ],
    ids=lambda value: str(value.get("kind")) if isinstance(value, dict) else "",
)
def test_models_do_there_what_every_model_must(options, num_classes, skip):
    check_model(ModelConfig(**(SMALL | options)), num_classes=num_classes, skip=skip, device="torch")


def make(config, device, dtype=torch.float64, table="adam", dense="adamw", histories=()):
    model = build_model(config, make_layout(FORMS, ROWS), 2, dtype=dtype, bags=histories)
    settings, rates = TableOptimizerConfig(name=table, learning_rate=0.05), DenseOptimizerConfig(name=dense)
    stepper = make_stepper(model.train(), settings, rates, 40, device=None if device is None else torch.device(device))
    model.table.draw(1)
    return stepper


def some_examples(rng, num_examples=40, weighted=False):
    weights = rng.random(num_examples).astype(np.float32) if weighted else None
    batch = make_batch(FORMS, random_fields(rng, FORMS, ROWS, num_examples))
    return Examples(batch, rng.integers(0, 2, num_examples).astype(np.int32), weights, None)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("kind", "table", "dense"), [("lr", "ftrl", "adamw"), ("lc-dnn", "adam", "adamw"), ("dnn", "adagrad", "sgd")]
)
def test_every_step_is_that_of_the_processor(kind, table, dense, weighted):
    config = ModelConfig(kind=kind, unit_dropout=0, **SMALL)
    here, there = (make(config, device, table=table, dense=dense) for device in (None, "cpu"))
    rng = np.random.default_rng(1)
    batches = [some_examples(rng, 17 if number == 3 else 40, weighted) for number in range(6)]
    for number, examples in enumerate(there.ahead(batches)):
        factor = 1.0 - number / 10
        assert there.step(examples, factor) == pytest.approx(here.step(examples, factor), rel=1e-9)
        np.testing.assert_allclose(there.table.rows, here.table.rows, rtol=1e-7, atol=1e-10)
    for name, array in here.arrays().items():
        np.testing.assert_allclose(there.arrays()[name], array, rtol=1e-6, atol=1e-9)
    batch = batches[0].batch
    answers = [answer(each.model, batch).numpy() for each in (there, here)]
    np.testing.assert_allclose(*answers, rtol=1e-9)


def test_a_model_with_histories_takes_the_steps_of_the_processor():
    met = [[], [], [5, 9, 30], [2], [5], [9, 40, 41], [3, 59]]
    offsets = np.cumsum([0, *map(len, met)])
    history = Cooccurrence(0, 3, offsets, np.array([i for ids in met for i in ids], dtype=np.uint32))
    config = ModelConfig(kind="lc-dnn", unit_dropout=0, fm_interactions=True, **SMALL)
    here, there = (make(config, device, histories=[history]) for device in (None, "cpu"))
    rng = np.random.default_rng(1)
    for examples in there.ahead([some_examples(rng) for _ in range(4)]):
        assert there.step(examples, 1.0) == pytest.approx(here.step(examples, 1.0), rel=1e-9)
        np.testing.assert_allclose(there.table.rows, here.table.rows, rtol=1e-7, atol=1e-10)


def test_the_average_is_that_of_the_processor():
    config = ModelConfig(kind="lc-dnn", unit_dropout=0, **SMALL)
    here, there = (make(config, device, torch.float32) for device in (None, "cpu"))
    averages = [Average(each.model, 1.0, 20) for each in (here, there)]
    rng = np.random.default_rng(1)
    for step in range(1, 9):
        examples = some_examples(rng)
        for each, average in zip((here, there), averages, strict=True):
            each.step(examples, 1.0)
            average.after(step)
    own = there.table.rows
    with averages[0].applied(), averages[1].applied():
        np.testing.assert_allclose(there.table.weights, here.table.weights, rtol=1e-4, atol=1e-5)
        assert not np.array_equal(there.table.rows, own)
    np.testing.assert_array_equal(there.table.rows, own)
    joined = np.concatenate(list(averages[1].beside(there.table.rows).parts))
    again = Average(there.model, 1.0, 20)
    np.testing.assert_array_equal(again.restore(there.table.rows, joined, averages[1].arrays()), own)
    with again.applied(), averages[1].applied():
        pass
    np.testing.assert_array_equal(again.rows, averages[1].rows)


def test_what_is_not_finite_is_found_in_the_step_or_in_the_next():
    rng = np.random.default_rng(0)
    stepper, examples = make(ModelConfig(kind="lr"), "cpu"), some_examples(rng)
    examples.batch.values[0, 3] = math.nan
    before = stepper.table.rows
    with pytest.raises(NotFinite, match="the loss"):
        stepper.step(examples, 1.0)
    np.testing.assert_array_equal(stepper.table.rows, before)

    stepper = make(ModelConfig(kind="lr"), "cpu", table="adagrad")
    stepper.table.optimizer.rate = math.inf
    stepper.step(some_examples(rng), 1.0)
    with pytest.raises(NotFinite, match="weight of the table"):
        stepper.step(some_examples(rng), 1.0)

    stepper = make(ModelConfig(kind="lr"), "cpu", table="adagrad", dense="sgd")
    stepper.dense._rates = [math.inf]
    batches = stepper.ahead([some_examples(rng) for _ in range(3)])
    stepper.step(next(batches), 1.0)
    with pytest.raises(NotFinite, match="a dense weight"):
        stepper.refuse_written()
    with pytest.raises(NotFinite, match="a dense weight"):
        stepper.step(next(batches), 1.0)


MORE = """
[model]
kind = "{kind}"
units = 2
hidden = [8]
initial_model = "random"
unit_dropout = 0
[train]
epochs = 3
batch_size = 256
threads = 1
checkpoint_steps = 3
device = "{device}"
"""


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("device")
    write(make_table(1500), folder / "log.parquet")
    return folder


def configured(log, kind, device, **more):
    overrides = [f"train.{name}={value}" for name, value in more.items()]
    text = config_text("log.parquet", more=MORE.format(kind=kind, device=device))
    return fw.parse_config(text, base=log, overrides=overrides)


def same_bundle(first, second):
    bundles = [open_bundle(run).verify() for run in (first, second)]
    table = [decode_weights(bundle.table) for bundle in bundles]
    np.testing.assert_allclose(table[1], table[0], rtol=1e-3, atol=1e-4)
    for name, array in bundles[0].dense.items():
        np.testing.assert_allclose(bundles[1].dense[name], array, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("kind", ["lr", "lc-dnn"])
def test_a_training_there_saves_the_model_that_the_processor_saves(log, tmp_path, kind):
    results = [fw.train(configured(log, kind, device), tmp_path / device) for device in ("cpu", "torch")]
    assert results[1].test.auc == pytest.approx(results[0].test.auc, abs=1e-4)
    assert results[1].valid.logloss == pytest.approx(results[0].valid.logloss, rel=1e-4)
    same_bundle(tmp_path / "cpu", tmp_path / "torch")


class Crash(BaseException):
    pass


@pytest.mark.parametrize("storage", ["float32", "bfloat16"])
@pytest.mark.parametrize(("begun", "ended"), [("cpu", "torch"), ("torch", "cpu"), ("torch", "torch")])
def test_a_training_that_is_killed_goes_on_elsewhere(log, tmp_path, begun, ended, storage):
    def crash(event):
        if isinstance(event, EpochEnd):
            raise Crash

    more = {"table.storage": storage}
    with pytest.raises(Crash):
        fw.train(configured(log, "lc-dnn", begun, **more), tmp_path / "run", listen=crash)
    assert Checkpoints(tmp_path / "run" / "checkpoints").newest() is not None
    result = fw.train(configured(log, "lc-dnn", ended, **more), tmp_path / "run")
    assert result.epochs == 3
    whole = fw.train(configured(log, "lc-dnn", ended, **more), tmp_path / "whole")
    if begun == ended:  # then it is as if it had never stopped
        files = [
            {path.name: path.read_bytes() for path in (tmp_path / of / "bundle").iterdir()} for of in ("run", "whole")
        ]
        assert files[0] == files[1]
    assert result.test.auc == pytest.approx(whole.test.auc, abs=1e-3 if storage == "float32" else 1e-2)
    if storage == "float32":
        same_bundle(tmp_path / "run", tmp_path / "whole")


needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@needs_no_gpu
def test_without_a_gpu_the_error_says_what_is_missing_and_auto_says_that_none_is_used(log, tmp_path):
    with pytest.raises(
        fw.ConfigError,
        match=r"GPU is not possible here(.|\n)*train.device(.|\n)*got: (PyTorch|no GPU)(.|\n)*train.device = cpu",
    ):
        fw.train(configured(log, "lr", "cuda"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    events = []
    fw.train(configured(log, "lr", "auto", epochs=1), tmp_path / "run", listen=events.append)
    [said] = [event.text for event in events if isinstance(event, Warned)]
    assert said.startswith("no GPU is used: ")


@pytest.mark.parametrize(
    ("available", "expected"),
    [
        (False, "no GPU that PyTorch"),
        (True, None),
    ],
)
def test_each_thing_that_is_missing_is_said(monkeypatch, available, expected):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    if expected is None:
        assert choose_device("cuda") == choose_device("auto") == torch.device("cuda")
        return
    with pytest.raises(fw.ConfigError, match=expected):
        choose_device("cuda")
    assert choose_device("auto") is None


def test_every_worker_of_a_host_has_a_gpu_of_its_own(monkeypatch):
    taken = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    own_gpu(1, 2)
    assert taken == [1]
    with pytest.raises(fw.ConfigError, match="a GPU of its own"):
        own_gpu(1, 3)
    assert taken == [1]


def test_messages_of_gpus_are_nccls_and_all_others_gloos(monkeypatch):
    assert group._backend() == "gloo"
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: True)
    assert group._backend() == "gloo"  # a build with CUDA on a machine without GPUs
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert group._backend() == "cpu:gloo,cuda:nccl"


def test_ray_is_refused_a_gpu_before_it_begins(log, tmp_path):
    with pytest.raises(fw.ConfigError, match="on processors"):
        train_on_ray(configured(log, "lr", "cuda"), tmp_path / "run", 2)


def test_a_plan_says_what_the_gpu_must_hold(log):
    stage = plan(configured(log, "lc-dnn", "cuda")).stages[-1]
    assert stage.gpu_memory == stage.table_bytes
    assert plan(configured(log, "lc-dnn", "cpu")).stages[-1].gpu_memory is None
