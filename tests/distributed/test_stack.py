"""Several workers begin with what one process samples, also where they are killed on the way."""

from __future__ import annotations

import os
import random
import signal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.distributed import runs
from tests.helpers import PATIENCE

import fieldwise as fw
from fieldwise.kernels.layout import UNSEEN
from fieldwise.models.load import load_model

SETTINGS = """
[data]
train = ["log.parquet"]
label = "click"
split = "split"
[model]
units = 4
factors = 4
hidden = [8]
unit_dropout = 0.0
[train]
epochs = 2
batch_size = 256
threads = 1
precision = "float64"
checkpoint_minutes = 0.0001  # so the chain saves one after every sweep
[train.sampler]
sweeps = 40
burn_in = 15
[pretrain]
epochs = 1
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A log whose labels depend on who sees what, and what one process makes of it."""
    folder = tmp_path_factory.mktemp("posterior")
    rng = np.random.default_rng(0)
    count = 3000
    user, film, hour = rng.integers(0, 40, count), rng.integers(0, 30, count), rng.integers(0, 24, count)
    taste, kind = rng.normal(size=(40, 3)), rng.normal(size=(30, 3))
    z = (taste[user] * kind[film]).sum(axis=1) + 0.5 * rng.normal(size=count)
    columns = {
        name: pa.array([f"{name} {value}" for value in column])
        for name, column in {"user": user, "film": film, "hour": hour}.items()
    }
    part = rng.choice(["train", "valid", "test"], count, p=[0.7, 0.15, 0.15])
    columns |= {"click": pa.array((z > 0).astype(int)), "split": pa.array(part)}
    pq.write_table(pa.table(columns), folder / "log.parquet")
    (folder / "fieldwise.toml").write_text(SETTINGS)
    fw.train(fw.load_config(folder / "fieldwise.toml"), folder / "alone")
    return folder


def assert_same_model(folder, name):
    """Compare a run with that of one process: what was sampled to the bit, all else within rounding."""
    ours, theirs = runs.weights(folder / name), runs.weights(folder / "alone")
    alone = load_model(fw.open_bundle(folder / "alone"))
    # Values never seen have the mean of their field, which workers add up in another order.
    kept = np.setdiff1d(np.arange(len(theirs["table"])), alone.table.layout.base[:-1] + UNSEEN)
    assert ours["table"][kept, :5].tobytes() == theirs["table"][kept, :5].tobytes()
    assert np.abs(theirs["table"][:, :5]).sum(axis=0).all()
    assert alone.stacker.weight.tolist() != [0.0, 0.5, 0.5]
    for key, array in theirs.items():
        np.testing.assert_allclose(ours[key], array, rtol=1e-7, atol=1e-9, err_msg=key)


def sampled(out):
    """Return how many sweeps the newest checkpoint of the chain of a run has; 0 where there is none."""
    return max((int(path.parent.name) for path in out.glob("bayesian-fm-*/[0-9]*/manifest.json")), default=0)


def test_workers_killed_while_one_samples_begin_with_what_one_process_samples(folder):
    out = folder / "killed"
    with runs.started(folder / "fieldwise.toml", out, "--workers", "2") as process:
        assert runs.wait_until(lambda: sampled(out) >= 5, process)
        workers = runs.workers_of(process.pid)
        os.kill(workers[0], signal.SIGKILL)
        assert runs.wait_until(lambda: not set(workers) & set(runs.workers_of(process.pid)), process)
        _, messages = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, messages
    assert messages.count("was killed by SIGKILL") == 1
    assert_same_model(folder, "killed")


@pytest.mark.long
def test_workers_with_devices_make_the_same_model_also_when_one_is_killed(folder):
    config, out = folder / "fieldwise.toml", folder / "devices"
    with runs.started(config, out, "--workers", "2", "--set", "train.device=torch") as process:
        assert runs.wait_until(lambda: (out / "checkpoints").exists(), process)
        assert len(runs.kill_workers(process, out, 1, random.Random(1))) == 1
        _, messages = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, messages
    assert_same_model(folder, "devices")


@pytest.mark.long
def test_three_workers_stopped_while_one_samples_go_on(folder):
    out = folder / "three"
    with runs.started(folder / "fieldwise.toml", out, "--workers", "3") as process:
        assert runs.wait_until(lambda: sampled(out) >= 5, process)
        process.send_signal(signal.SIGTERM)
        _, messages = process.communicate(timeout=PATIENCE)
    assert process.returncode == 3, messages
    assert 5 <= sampled(out) < 40
    runs.train(folder / "fieldwise.toml", out, "--workers", "3")
    assert_same_model(folder, "three")
