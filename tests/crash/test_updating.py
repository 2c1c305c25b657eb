"""An update that is killed anywhere starts again cleanly, and what comes out is byte-identical."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.jobs.update.runs import day_of, train
from tests.jobs.update.serving import labels_of, rows_of, serve_day, train_with_ids

import fieldwise as fw

ROOT = Path(__file__).parents[2]


def of_day(folder: Path) -> tuple[Path, dict[str, str]]:
    """Return a run that was updated, so that there is something to keep and to remove, and the next day."""
    run = train(folder, "lr")
    fw.update(run, day_of(1), overrides=["gate.min_clicks=20"])
    pq.write_table(day_of(2), folder / "day.parquet")
    return run, {"data": str(folder / "day.parquet")}


def of_served(folder: Path) -> tuple[Path, dict[str, str]]:
    """Return a run in which rows wait, and what a server logged of the next day, with labels of most rows."""
    run = train_with_ids(folder)
    first, second = rows_of(1), rows_of(2)
    served = serve_day(run, folder / "served", 1, first, "1")
    pq.write_table(labels_of(first.slice(0, 1000)), folder / "labels.parquet")
    fw.update(run, served=served, labels=folder / "labels.parquet", overrides=["gate.min_clicks=20"])
    serve_day(run, folder / "served", 2, second)
    labels = pa.concat_tables([labels_of(first.slice(1100)), labels_of(second.slice(0, 900))])
    pq.write_table(labels, folder / "labels.parquet")
    return run, {"served": str(served), "labels": str(folder / "labels.parquet")}


def kill(prepared: tuple[Path, dict[str, str]], num_kills: int, seed: int) -> dict[str, int]:
    run, given = prepared
    command = [
        sys.executable,
        "-m",
        "tests.crash.update_killer",
        run,
        json.dumps(given),
        str(num_kills),
        str(seed),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kills: dict[str, int] = json.loads(done.stdout)["kills"]
    return kills


def test_an_update_that_is_killed_ends_byte_identical(tmp_path):
    assert sum(kill(of_day(tmp_path), 4, seed=3).values()) == 4


def test_an_update_from_what_was_served_that_is_killed_ends_byte_identical(tmp_path):
    assert sum(kill(of_served(tmp_path), 3, seed=4).values()) == 3


@pytest.mark.long
@pytest.mark.parametrize("prepare", [of_day, of_served])
def test_an_update_that_is_killed_a_hundred_times_ends_byte_identical(tmp_path, prepare):
    kills = kill(prepare(tmp_path), 100, seed=5)
    assert sum(kills.values()) == 100
    sys.stdout.write(json.dumps(kills) + "\n")
