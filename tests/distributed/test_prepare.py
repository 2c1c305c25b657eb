"""Preparing on several workers gives the bytes of one process."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.distributed import namespaces, runs
from tests.distributed.prepare import prepare
from tests.helpers import PATIENCE

import fieldwise as fw

CONFIG = """
[data]
train = ["day-*.csv"]
test = ["later-*.csv"]
valid = 0.2
label = "click"
weight = "w"
[fields.user]
min_count = 3
[fields.city]
[fields.age]
type = "number"
bins = 7
[fields.price]
type = "number"
bins = 0
[fields.tags]
type = "bag"
separator = " "
[fields.hashed]
column = "user"
buckets = 50
[fields.user_x_age]
cross = ["user", "age"]
"""


def write_log(folder: Path, sizes: list[int]) -> None:
    """Write files of different sizes, one of them without rows that can be used, and rows that cannot."""
    rng = np.random.default_rng(0)
    for number, size in enumerate([*sizes, 40, 30]):
        name = f"day-{number}" if number < len(sizes) else f"later-{number}"
        lines = ["click,w,user,city,age,price,tags"]
        for row in range(size):
            click = "" if row % 50 == 7 else str(rng.integers(0, 2))
            price = "dear" if row % 60 == 9 else f"{rng.gamma(2):.3f}"
            tags = " ".join(f"t{tag}" for tag in rng.integers(0, 9, rng.integers(0, 4)))
            # Users so rare that most are frequent in all files together only.
            line = f"{click},{rng.uniform(0.5, 2):.2f},u{rng.zipf(1.3) % 400},c{rng.integers(0, 12)}"
            lines.append(f"{line},{rng.integers(18, 90)},{price},{tags}")
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    write_log(folder, [300, 5, 900, 250])
    (folder / "fieldwise.toml").write_text(CONFIG.replace("bins = 0\n", ""))
    return folder


@pytest.fixture(scope="module")
def alone(log):
    return contents(fw.prepare(fw.load_config(log / "fieldwise.toml", ['data.cache="alone"'])).folder)


@pytest.mark.long
@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_the_bytes_are_those_of_one_process(log, alone, num_workers):
    config = log / "fieldwise.toml"
    outputs = runs.run_workers(prepare, num_workers, str(config), f"on-{num_workers}", "")
    [folder] = set(outputs)
    found = contents(Path(folder))
    assert found.keys() == alone.keys()
    assert {name for name, data in found.items() if data != alone[name]} == set()
    assert b"the label is missing" in found["rejects.jsonl"]


def command(config: Path, cache: str, rendezvous: str) -> list[str]:
    """Return what a person types on each of two hosts."""
    words = [sys.executable, "-m", "fieldwise", "prepare", str(config), "--set", f"data.cache={cache}", "--json"]
    return [*words, "--workers", "1", "--hosts", "2", "--rendezvous", rendezvous]


def assert_bytes(outputs: list[str], alone: dict[str, bytes]) -> None:
    """Compare what two hosts made, of which one prints where it lies."""
    [printed] = [json.loads(text) for text in outputs if text]
    assert contents(Path(printed["folder"])) == alone


def test_two_hosts_that_meet_here_write_the_bytes_of_one_process(log, alone):
    words = command(log / "fieldwise.toml", "on-hosts", f"127.0.0.1:{runs.free_port()}")
    hosts = [runs.begin(words) for _ in range(2)]
    outputs = [process.communicate(timeout=PATIENCE) for process in hosts]
    assert [process.returncode for process in hosts] == [0, 0], outputs
    assert_bytes([text for text, _ in outputs], alone)


@pytest.mark.long
@namespaces.needs_root
def test_two_hosts_with_a_wire_between_them_write_the_bytes_of_one_process(log, alone):
    with namespaces.two_hosts() as names:
        words = command(log / "fieldwise.toml", "on-a-wire", f"{namespaces.ADDRESS}:29400")
        assert_bytes(namespaces.run_on(names, words), alone)
        assert namespaces.bytes_sent(names) > 10_000


def test_folders_that_name_columns_give_two_workers_the_bytes_of_one_process(tmp_path):
    write_log(tmp_path, [120, 5, 90])
    for number, path in enumerate(sorted(tmp_path.glob("day-*.csv"))):
        folder = tmp_path / "log" / f"day=2026-11-0{number + 1}" / f"place={'N%2FA' if number else 'x'}"
        folder.mkdir(parents=True)
        path.rename(folder / "part-0.csv")
    config = CONFIG.replace('"day-*.csv"', '"log"').replace('test = ["later-*.csv"]', "").replace("bins = 0\n", "")
    config += '[fields.weekday]\ncolumn = "day"\ntype = "time"\npart = "weekday"\n[fields.place]\n'
    (tmp_path / "fieldwise.toml").write_text(config)
    alone = fw.prepare(fw.load_config(tmp_path / "fieldwise.toml", ['data.cache="alone"']))
    assert sorted(alone.encoder.feature_texts("place", [2, 3])) == ["N/A", "x"]
    [together] = set(runs.run_workers(prepare, 2, str(tmp_path / "fieldwise.toml"), "together", ""))
    assert contents(Path(together)) == contents(alone.folder)


def test_what_one_worker_finds_wrong_all_say(log, tmp_path):
    for path in log.glob("*.csv"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    # Only the worker that has the largest file finds more than 20.
    config = (log / "fieldwise.toml").read_text().replace("valid = 0.2", "valid = 0.2\nmax_rejects = 20")
    (tmp_path / "fieldwise.toml").write_text(config)
    outputs = runs.run_workers(prepare, 2, str(tmp_path / "fieldwise.toml"), "wrong", "")
    assert outputs[0] == outputs[1]
    assert "too many rows cannot be used" in outputs[0]
    assert not [path for path in (tmp_path / "wrong").iterdir() if path.is_dir()]
