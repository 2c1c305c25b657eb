"""An update that is killed anywhere starts again cleanly, and what comes out is byte-identical."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.jobs.update.runs import day_of, train

import fieldwise as fw

ROOT = Path(__file__).parents[2]


def kill(folder: Path, num_kills: int, seed: int) -> dict[str, int]:
    run = train(folder, "lr")
    fw.update(run, day_of(1), overrides=["gate.min_clicks=20"])  # so that there is something to keep and to remove
    pq.write_table(day_of(2), folder / "day.parquet")
    command = [
        sys.executable,
        "-m",
        "tests.crash.update_killer",
        run,
        folder / "day.parquet",
        str(num_kills),
        str(seed),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kills: dict[str, int] = json.loads(done.stdout)["kills"]
    return kills


def test_an_update_that_is_killed_ends_byte_identical(tmp_path):
    assert sum(kill(tmp_path, 6, seed=3).values()) == 6


@pytest.mark.long
def test_an_update_that_is_killed_a_hundred_times_ends_byte_identical(tmp_path):
    kills = kill(tmp_path, 100, seed=5)
    assert sum(kills.values()) == 100
    sys.stdout.write(json.dumps(kills) + "\n")
