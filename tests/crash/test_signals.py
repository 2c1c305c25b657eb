"""SIGTERM and Ctrl-C, whatever is being done: it ends with exit code 3, and the same command goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from tests.crash import slow
from tests.helpers import PATIENCE
from tests.logs import config_text, make_table, write
from tests.processes import FORKS

import fieldwise as fw

MORE = """
[model]
kind = "lc-wide-deep"
units = 2
hidden = [8]
dropout = 0.2
[train]
epochs = 2
batch_size = 128
threads = 1
patience = 9
[pretrain]
epochs = 2
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A log, prepared, a run that was never interrupted, and a comparison."""
    folder = tmp_path_factory.mktemp("signals")
    write(make_table(), folder / "log.parquet")
    (folder / "fieldwise.toml").write_text(config_text("log.parquet", more=MORE))
    fw.train(fw.load_config(folder / "fieldwise.toml"), folder / "train")
    return folder


@contextmanager
def waiting(place: str, messages: Path, *arguments: object) -> Iterator[tuple[BaseProcess, slow.Gate]]:
    """Run fieldwise in a process up to a place, and see that it ends when the block is left."""
    gate = slow.Gate(FORKS.Event(), FORKS.Event())
    process = FORKS.Process(target=slow.run, args=(place, gate, [str(each) for each in arguments], messages))
    process.start()
    try:
        while not gate.there.wait(timeout=1):
            assert process.is_alive(), messages.read_text()
        yield process, gate
    finally:
        process.kill()
        process.join()


def stop(place: str, number: signal.Signals, folder: Path, *arguments: object) -> str:
    """Run fieldwise, send it a signal at a place, and return what it said; `folder` takes that."""
    with waiting(place, folder / "messages", *arguments) as (process, gate):
        os.kill(process.pid, number)
        gate.go_on.set()
        sent = time.monotonic()
        process.join(timeout=PATIENCE)
        seconds = time.monotonic() - sent
    messages = (folder / "messages").read_text()
    sys.stdout.write(f"{arguments[0]}, in {place}: ended {seconds:.2f} s after the signal\n")
    assert process.exitcode == 3, messages
    assert "Traceback" not in messages
    assert "same command" in messages
    return messages


def model_files(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run / "bundle").iterdir()}


TRAINING = [
    ("pretrain", signal.SIGTERM),
    ("train", signal.SIGTERM),
    ("train", signal.SIGINT),
    ("validation", signal.SIGTERM),
    ("evaluation", signal.SIGTERM),
]


@pytest.mark.parametrize(("place", "number"), TRAINING)
def test_training_stops_with_a_checkpoint_and_goes_on_to_the_same_bytes(folder, place, number):
    run, config = folder / f"{place}-{number}", folder / "fieldwise.toml"
    messages = stop(place, number, folder, "train", config, "--out", run)
    assert "stopped" in messages
    [saved] = run.glob("**/checkpoints/[0-9]*")
    assert ("pretrain" in saved.parts) == (place != "train"), "LR is trained, validated and evaluated first"
    fw.train(fw.load_config(config), run)
    assert model_files(run) == model_files(folder / "train")


@pytest.mark.parametrize(("place", "number"), [("fit", signal.SIGTERM), ("transform", signal.SIGINT)])
def test_preparing_stops_and_leaves_nothing_half_made(folder, place, number, tmp_path):
    write(make_table(), tmp_path / "log.parquet")
    config = tmp_path / "fieldwise.toml"
    config.write_text(config_text("log.parquet", more=MORE))
    stop(place, number, tmp_path, "prepare", config)
    left = [path for path in (tmp_path / ".fieldwise").rglob("*") if not path.name.endswith(".lock")]
    assert left == []
    assert fw.prepare(fw.load_config(config)).summary["rows_read"] == 3000


def test_sampling_stops_with_a_checkpoint_of_the_chain_and_goes_on_to_the_same_bytes(folder):
    config, overrides = (
        folder / "fieldwise.toml",
        (
            "model.kind=lc-dnn+bayesian-fm",
            "train.sampler.sweeps=30",
            "train.sampler.burn_in=5",
        ),
    )
    options = [part for override in overrides for part in ("--set", override)]
    messages = stop("sample", signal.SIGTERM, folder, "train", config, "--out", folder / "sampled", *options)
    assert "stopped while sampling" in messages
    assert len(list((folder / "sampled").glob("bayesian-fm-*/[0-9]*"))) == 1
    loaded = fw.load_config(config, overrides=overrides)
    for run in ("sampled", "sampled-whole"):
        fw.train(loaded, folder / run)
    assert model_files(folder / "sampled") == model_files(folder / "sampled-whole")


def test_solving_logistic_regression_stops_and_goes_on_to_the_same_bytes(folder):
    config, options = folder / "fieldwise.toml", ("model.kind=lr", "pretrain.solver=newton")
    words = [part for override in options for part in ("--set", override)]
    messages = stop("solve", signal.SIGTERM, folder, "train", config, "--out", folder / "solved", *words)
    assert "stopped while logistic regression was solved" in messages
    loaded = fw.load_config(config, overrides=options)
    for run in ("solved", "solved-whole"):
        assert fw.train(loaded, folder / run).l2 is not None
    assert model_files(folder / "solved") == model_files(folder / "solved-whole")


def test_a_search_stops_in_a_trial_and_goes_on_with_it(folder):
    pytest.importorskip("optuna")
    config, out = folder / "fieldwise.toml", folder / "search"
    options = ["--trials", 2, "--only", "train.dense.learning_rate"]
    stop("train", signal.SIGTERM, folder, "tune", config, "--out", out, *options)
    assert len(list(out.glob("trials/0000/checkpoints/[0-9]*"))) == 1
    tuning = fw.tune(fw.load_config(config), out, trials=2, only=["train.dense.learning_rate"])
    assert [trial.state for trial in tuning.trials] == ["done", "done"]


READING = [("check", signal.SIGTERM), ("evaluate", signal.SIGTERM), ("predict", signal.SIGINT)]


@pytest.mark.parametrize(("verb", "number"), READING)
def test_what_reads_a_log_stops_and_leaves_nothing_half_written(folder, verb, number, tmp_path):
    log = folder / "log.parquet"
    arguments = [folder / "fieldwise.toml"] if verb == "check" else [folder / "train", "--data", log]
    out = ("--out", tmp_path / "predictions.csv") if verb == "predict" else ()
    stop(verb, number, folder, verb, *arguments, *out)
    assert list(tmp_path.iterdir()) == []


def test_a_comparison_stops_in_the_model_it_is_at_and_goes_on(folder):
    config, out = folder / "fieldwise.toml", folder / "comparison"
    models = ["lr", "lc-dnn:1", "lc-wide-deep"]
    stop("train", signal.SIGTERM, folder, "compare", config, "--out", out, "--models", ",".join(models))
    assert [path.parent.parent.name for path in out.glob("**/checkpoints/[0-9]*")] == ["lc-dnn-1"]
    results = fw.compare(fw.load_config(config), out, models=models).models
    assert [result.model for result in results] == ["lr", "lc-dnn", "lc-wide-deep"]
    assert model_files(out / "lc-wide-deep-2") == model_files(folder / "train")


def test_a_second_process_on_a_run_folder_is_refused_while_the_first_one_trains(folder):
    run, config = folder / "shared", folder / "fieldwise.toml"
    with waiting("train", folder / "messages", "train", config, "--out", run):  # in the middle of a step
        second = [sys.executable, "-m", "fieldwise", "train", str(config), "--out", str(run)]
        refused = subprocess.run(second, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "the run folder is in use by another process" in refused.stderr
    fw.train(fw.load_config(config), run)
    assert model_files(run) == model_files(folder / "train")
