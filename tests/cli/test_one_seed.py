"""One seed is one model: the command line, run again and with another number of threads, writes the same bytes."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.logs import config_text, make_table, write

import fieldwise as fw
from fieldwise.cli import main

CONFIG = """
[model]
kind = "lc-wide-deep+bayesian-fm"
hidden = [128, 64]
dropout = 0.1
[train]
epochs = 2
batch_size = 4096
[train.sampler]
sweeps = 20
burn_in = 5
[pretrain]
epochs = 2
"""
"""With batches that are large enough for the kernels to share their work (`tables.optimizer`)."""


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("one-seed")
    write(make_table(12_000), folder / "log.parquet")
    (folder / "fieldwise.toml").write_text(config_text("log.parquet", more=CONFIG))
    fw.prepare(fw.load_config(folder / "fieldwise.toml"))
    return folder / "fieldwise.toml"


def arguments(config: Path, out: Path, threads: int, *overrides: str) -> list[str]:
    options = [part for override in overrides for part in ("--set", override)]
    return ["train", str(config), "--out", str(out), "--threads", str(threads), "--json", "--no-report", *options]


def hash_of(out: Path, result: str) -> str:
    """Return a hash of the model's bytes and of the metrics."""
    metrics = [json.loads(result)[part] for part in ("valid", "test")]
    digest = hashlib.sha256(json.dumps(metrics, sort_keys=True).encode())
    for path in sorted((out / "bundle").iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def train(config: Path, out: Path, threads: int, *overrides: str) -> str:
    """Train in a process of its own, and return the hash."""
    command = [sys.executable, "-m", "fieldwise", *arguments(config, out, threads, *overrides)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return hash_of(out, done.stdout)


@pytest.mark.parametrize(
    ("precision", "runs"),
    [
        pytest.param("float32", [1, 2], id="once with each number of threads"),
        *(
            pytest.param(precision, [1, 2] * 5, id=f"five times with each, {precision}", marks=pytest.mark.long)
            for precision in ("float32", "float64", "bfloat16")
        ),
    ],
)
def test_runs_with_one_seed_have_one_hash_whatever_the_number_of_threads(config, tmp_path, precision, runs):
    overrides = ("model.kind=lc-wide-deep+bayesian-fm", f"train.precision={precision}")
    hashes = [train(config, tmp_path / str(number), threads, *overrides) for number, threads in enumerate(runs)]
    assert len(set(hashes)) == 1, list(zip(runs, hashes, strict=True))
    sys.stdout.write(f"{precision}: {len(runs)} runs, one hash: {hashes[0]}\n")


def test_seeds_beyond_24_bits_train_and_are_seeds_of_their_own(config, tmp_path):
    hashes = set()
    for seed in (5, 2**24 + 5, 2**31 - 1):
        overrides = (
            f"train.seed={seed}",
            "train.table.storage=bfloat16",
            "model.initial_model=random",
            "train.epochs=1",
        )
        done = CliRunner().invoke(main, arguments(config, tmp_path / str(seed), 1, *overrides))
        assert done.exit_code == 0, done.output
        hashes.add(hash_of(tmp_path / str(seed), done.stdout))
    assert len(hashes) == 3
