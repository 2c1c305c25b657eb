"""`fieldwise train` on several workers: what one process does, also when workers are killed, stopped, more or fewer."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time

import numpy as np
import pytest
from tests.distributed import runs
from tests.helpers import PATIENCE
from tests.logs import make_table

import fieldwise as fw
from fieldwise.tables.shards import Shards
from fieldwise.training.checkpoint import Part, read_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workers")
    config = runs.make_log(folder)
    fw.train(fw.load_config(config), folder / "alone")
    return folder


@pytest.fixture(scope="module")
def two(folder):
    """A run on two workers, and what it printed."""
    return folder / "two", runs.train(folder / "fieldwise.toml", folder / "two", "--workers", "2")


def test_two_workers_make_the_model_of_one_process(folder, two):
    run, result = two
    expected = json.loads((folder / "alone/run.json").read_text())["content"]["result"]
    for part in ("valid", "test"):
        for name in ("auc", "logloss", "pr_auc", "calibration_error", "num_examples"):
            assert result[part][name] == pytest.approx(expected[part][name], rel=1e-9)
    assert (result["epochs"], result["best_epoch"]) == (expected["epochs"], expected["best_epoch"])
    assert result["parameters"] == expected["parameters"]
    ours, theirs = runs.weights(run), runs.weights(folder / "alone")
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        np.testing.assert_allclose(ours[name], array, rtol=1e-8, atol=1e-10, err_msg=name)
    assert not (run / "checkpoints").exists()


def train_on_table(workers, config, out):
    result = fw.train(fw.load_config(config), out, data=make_table(), workers=workers)
    return [result.valid.logloss, result.test.logloss]


def test_a_table_in_memory_trains_on_two_workers_as_on_one_process(folder):
    config = folder / "fieldwise.toml"
    expected = train_on_table(None, config, folder / "table-alone")
    for found in runs.run_workers(train_on_table, 2, config, folder / "table-two"):
        assert found == pytest.approx(expected, rel=1e-9)
    ours, theirs = runs.weights(folder / "table-two"), runs.weights(folder / "table-alone")
    for name, array in theirs.items():
        np.testing.assert_allclose(ours[name], array, rtol=1e-8, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("num_kills", [1, pytest.param(4, marks=pytest.mark.long)])
def test_killed_workers_are_started_again_and_the_model_is_the_same_to_the_bit(folder, two, num_kills):
    out = folder / f"killed-{num_kills}"
    with runs.started(folder / "fieldwise.toml", out, "--workers", "2") as process:
        recoveries = runs.kill_workers(process, out, num_kills, random.Random(1))
        output, messages = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, messages
    assert len(recoveries) == num_kills
    assert messages.count("was killed by SIGKILL") == num_kills
    assert json.loads(output)["test"] == two[1]["test"]
    for name, array in runs.weights(two[0]).items():
        assert runs.weights(out)[name].tobytes() == array.tobytes(), name


def test_workers_that_are_stopped_save_what_any_number_of_workers_goes_on_from(folder, two):
    config, out = folder / "fieldwise.toml", folder / "stopped"
    with runs.started(config, out, "--workers", "2") as process:
        assert runs.wait_until(lambda: list(out.glob("checkpoints/[0-9]*/manifest.json")), process)
        process.send_signal(signal.SIGTERM)
        output, messages = process.communicate(timeout=PATIENCE)
    assert process.returncode == 3, messages
    assert output == ""
    assert messages.count("run the same command again to resume") == 1

    newest = max((out / "checkpoints").iterdir())
    whole = read_checkpoint(newest).table
    for num_workers in (1, 3, 7):
        shards = Shards(len(whole), num_workers)
        for worker in range(num_workers):
            part = read_checkpoint(newest, Part(shards, shards.owned(worker))).table
            order = np.argsort((np.arange(len(whole)) * shards.spread.factor + shards.spread.shift) % len(whole))
            owned = shards.owned(worker)
            assert part.tobytes() == whole[order[owned.start : owned.stop]].tobytes()

    damaged = folder / "damaged"
    shutil.copytree(newest, damaged)
    [*_, last] = sorted(damaged.glob("table-*"))
    data = bytearray(last.read_bytes())
    data[-1] ^= 1
    last.write_bytes(data)
    with pytest.raises(fw.ArtefactError, match=last.name):
        read_checkpoint(damaged)
    last.unlink()
    with pytest.raises(fw.ArtefactError, match="missing"):
        read_checkpoint(damaged)
    other = Shards(len(whole) + 1, 2)
    with pytest.raises(fw.ArtefactError, match="another table"):
        read_checkpoint(newest, Part(other, other.owned(0)))

    # One process goes on where two workers were.
    fw.train(fw.load_config(config), out)
    for name, array in runs.weights(two[0]).items():
        np.testing.assert_allclose(runs.weights(out)[name], array, rtol=1e-8, atol=1e-10, err_msg=name)


def test_wrong_input_is_said_once_and_ends_all_with_its_exit_code(folder):
    config = folder / "wrong.toml"
    config.write_text((folder / "fieldwise.toml").read_text().replace("log.parquet", "missing.parquet"))
    process = runs.start(config, folder / "wrong", "--workers", "2")
    output, messages = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2, messages
    assert output == ""
    assert messages.count("error:") == 1
    assert "Traceback" not in messages


@pytest.mark.long
def test_a_worker_that_hangs_is_missed_after_the_time_given_and_makes_no_difference(folder, two):
    out = folder / "hanging"
    with runs.started(folder / "fieldwise.toml", out, "--workers", "2", "--timeout", "6") as process:
        assert runs.wait_until(lambda: list(out.glob("checkpoints/[0-9]*/manifest.json")), process)
        before = runs.workers_of(process.pid)
        os.kill(before[1], signal.SIGSTOP)
        begun = time.monotonic()
        assert runs.wait_until(lambda: not set(before) & set(runs.workers_of(process.pid)), process)
        missed = time.monotonic() - begun
        output, messages = process.communicate(timeout=PATIENCE)
    print(f"missed after {missed:.1f} seconds")  # noqa: T201
    assert process.returncode == 0, messages
    assert "restarting all workers from the last checkpoint" in messages
    assert json.loads(output)["test"] == two[1]["test"]
    for name, array in runs.weights(two[0]).items():
        assert runs.weights(out)[name].tobytes() == array.tobytes(), name


@pytest.mark.long
def test_two_workers_round_bfloat16_weights_as_one_process_does_also_when_one_is_killed(tmp_path):
    table = '[train.table]\nname = "adagrad"\nstorage = "bfloat16"\n'
    of_train = runs.MORE.replace('precision = "float64"', 'precision = "float32"\nseed = 5')
    # From random weights: on so few rows a network is not better than logistic regression, which is kept in float32.
    of_model = of_train.replace("units = 2", 'units = 2\ninitial_model = "random"')
    config = runs.make_log(tmp_path, of_model.replace("[pretrain]", f"{table}[pretrain]"))
    fw.train(fw.load_config(config), tmp_path / "alone")
    runs.train(config, tmp_path / "two", "--workers", "2")
    alone, two = runs.weights(tmp_path / "alone"), runs.weights(tmp_path / "two")
    assert alone["table"].dtype == np.uint16
    # A last bit of a sum that differs may tip the rounding of a weight now and then.
    assert (alone["table"] == two["table"]).mean() > 0.98
    for name in alone.keys() - {"table"}:
        np.testing.assert_allclose(two[name], alone[name], rtol=2e-2, atol=1e-3, err_msg=name)
    with runs.started(config, tmp_path / "killed", "--workers", "2") as process:
        recoveries = runs.kill_workers(process, tmp_path / "killed", 1, random.Random(1))
        _, messages = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, messages
    assert len(recoveries) == 1
    for name, array in two.items():
        assert runs.weights(tmp_path / "killed")[name].tobytes() == array.tobytes(), name
