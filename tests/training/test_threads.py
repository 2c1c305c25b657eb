"""A seed gives one model, whatever the number of threads."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from tests.helpers import make_batch, make_layout
from tests.logs import config_text, make_table, write
from tests.reference.batches import random_fields

import fieldwise as fw
from fieldwise.data.cache import Examples
from fieldwise.kernels.threads import num_threads, set_num_threads
from fieldwise.models.click import build_model
from fieldwise.models.config import KINDS, ModelConfig
from fieldwise.tables.config import TableOptimizerConfig
from fieldwise.training.config import DenseOptimizerConfig
from fieldwise.training.make import make_stepper

FORMS, ROWS = ["single", "value", "bag", "single"], [7, 2, 5, 40]


@pytest.fixture(autouse=True)
def threads():
    """Leave the threads of the kernels and of torch as they were."""
    before = num_threads(), torch.get_num_threads()
    yield
    set_num_threads(before[0])
    torch.set_num_threads(before[1])


def some_batches(num_batches=3, num_examples=1200):
    rng = np.random.default_rng(0)
    for _ in range(num_batches):
        batch = make_batch(FORMS, random_fields(rng, FORMS, ROWS, num_examples))
        yield Examples(batch, rng.integers(0, 2, num_examples).astype(np.int32), None, None)


BATCHES = list(some_batches())


def hash_of_run(kind, precision, count):
    """Train a few steps with `count` threads and return a hash of all weights, states and losses."""
    set_num_threads(count)
    torch.set_num_threads(count)
    config = ModelConfig(kind=kind, units=3, hidden=(300, 70), dropout=0.1)
    dtype = torch.float64 if precision == "float64" else torch.float32
    model = build_model(config, make_layout(FORMS, ROWS), 2, 0, dtype).train()
    stepper = make_stepper(model, TableOptimizerConfig(), DenseOptimizerConfig(), 1, precision=precision)
    model.table.draw(0)
    torch.manual_seed(0)
    with stepper.at_work():
        losses = [stepper.step(examples, 1.0) for examples in BATCHES]
    parts = [model.table.rows, np.array(losses), *stepper.arrays().values()]
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


@pytest.mark.parametrize("precision", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "bayesian-fm"])
def test_five_runs_with_one_and_two_threads_have_one_hash(kind, precision):
    assert len({hash_of_run(kind, precision, count) for count in (1, 2, 1, 2, 3)}) == 1


@pytest.mark.parametrize("precision", ["float32", "float64", "bfloat16"])
def test_a_trained_bundle_is_the_same_bytes_with_one_and_two_threads(tmp_path, precision):
    write(make_table(), tmp_path / "log.parquet")
    more = f'[model]\nhidden = [64, 32]\n[train]\nepochs = 2\nbatch_size = 700\nprecision = "{precision}"\n'
    bundles = []
    for count in (1, 2):
        config = fw.parse_config(
            config_text("log.parquet", more=more), base=tmp_path, overrides=[f"train.threads={count}"]
        )
        fw.train(config, tmp_path / f"run{count}")
        folder = tmp_path / f"run{count}" / "bundle"
        bundles.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert bundles[0] == bundles[1]
