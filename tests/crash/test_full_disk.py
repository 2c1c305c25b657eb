"""A disk that fills up at any byte is a message, and the same command succeeds once there is room."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.logs import config_text, make_table, write

import fieldwise as fw

ROOT = Path(__file__).parents[2]
MORE = """
[model]
kind = "dnn"
hidden = [4]
[train]
epochs = 2
batch_size = 256
threads = 1
checkpoint_steps = 7
"""
Run = Callable[..., tuple[int, str]]


def make_config(folder: Path) -> Path:
    write(make_table(1500), folder / "log.parquet")
    (folder / "fieldwise.toml").write_text(config_text("log.parquet", more=MORE))
    return folder / "fieldwise.toml"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Return what runs ``fieldwise ARGUMENTS`` with a limit on the bytes of a file, or None."""
    config = make_config(tmp_path_factory.mktemp("warm"))
    command = [sys.executable, "-m", "tests.crash.limited", str(config)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        requests, answers = process.stdin, process.stdout
        assert requests is not None
        assert answers is not None

        def run(max_bytes: int | None, *arguments: object) -> tuple[int, str]:
            requests.write(json.dumps([max_bytes, [str(argument) for argument in arguments]]) + "\n")
            requests.flush()
            code, messages = json.loads(answers.readline())
            return code, messages

        yield run
        requests.close()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return make_config(tmp_path)


def contents(folder: Path) -> dict[str, bytes]:
    """Return what every file holds, by its path; locks hold nothing."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def sizes_below(largest: int, count: int) -> list[int]:
    """Return numbers of bytes of every magnitude, the least and the greatest that are too few among them."""
    return sorted({0, *np.geomspace(1, largest - 1, count - 1).astype(int).tolist()})


def assert_says_which_file(code: int, messages: str, folder: Path) -> None:
    assert code == 2, messages
    assert "Traceback" not in messages
    assert re.search(rf"the disk is full\n +where: {re.escape(str(folder))}/\S+", messages), messages


COUNTS = [pytest.param(4, id="few sizes"), pytest.param(100, id="many sizes", marks=pytest.mark.long)]


@pytest.mark.parametrize("count", COUNTS)
def test_prepare_on_a_full_disk_says_which_file_leaves_nothing_and_then_succeeds(run, config, count):
    cache = config.parent / ".fieldwise"
    assert run(None, "prepare", config)[0] == 0
    whole = contents(cache)
    for size in sizes_below(max(len(data) for data in whole.values()), count):
        shutil.rmtree(cache)
        assert_says_which_file(*run(size, "prepare", config), cache)
        assert set(contents(cache).values()) == {b""}, "only a lock is left"
        code, messages = run(None, "prepare", config)
        assert code == 0, messages
        assert contents(cache) == whole


@pytest.mark.parametrize("count", COUNTS)
def test_train_on_a_full_disk_says_which_file_and_then_ends_with_the_same_bytes(run, config, count):
    fw.prepare(fw.load_config(config))
    out = config.parent / "whole"
    assert run(None, "train", config, "--out", out)[0] == 0
    whole = contents(out / "bundle")
    # A checkpoint is written after the bundle, and is larger: its table holds the optimizer's moments too.
    for size in sizes_below(2 * max(len(data) for data in whole.values()), count):
        limited = config.parent / f"limited-{size}"
        assert_says_which_file(*run(size, "train", config, "--out", limited), limited)
        code, messages = run(None, "train", config, "--out", limited)
        assert code == 0, messages
        assert contents(limited / "bundle") == whole
        assert not list(limited.glob(".*.tmp"))
        assert not (limited / "checkpoints").exists()
