"""Preparing that is killed anywhere starts again cleanly, and what comes out is byte-identical."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from tests.logs import FIELDS, config_text, make_table, write

import fieldwise as fw

ROOT = Path(__file__).parents[2]
# A bag with weights and a cross of it, and a vocabulary whose table lies in a file.
MORE_FIELDS = """
[fields.tags_x_item]
cross = ["tags", "item"]
[fields.impression]
type = "category"
"""


def make_log(folder: Path, num_rows: int) -> Path:
    """Write a log of two files, one of them with rows that are rejected, and return its configuration."""
    table = make_table(num_rows)
    write(table.slice(0, num_rows // 2), folder / "a.csv")
    broken = table.slice(num_rows // 2).set_column(3, "age", pa.array(["x", *["30"] * (num_rows - num_rows // 2 - 1)]))
    write(broken, folder / "b.csv")
    text = config_text("*.csv", fields=FIELDS + MORE_FIELDS, more="").replace(', "impression"]', "]")
    (folder / "fieldwise.toml").write_text(text)
    return folder / "fieldwise.toml"


def kill(config: Path, num_kills: int, seed: int) -> dict[str, object]:
    command = [sys.executable, "-m", "tests.crash.prepare_killer", str(config), str(num_kills), str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report: dict[str, object] = json.loads(done.stdout)
    return report


def test_preparing_that_is_killed_again_and_again_ends_byte_identical(tmp_path):
    report = kill(make_log(tmp_path, 3000), 10, seed=3)
    assert sum(report["kills"].values()) == 10
    assert report["cleaned"] >= 2


@pytest.mark.long
def test_preparing_that_is_killed_a_hundred_times_ends_byte_identical(tmp_path):
    report = kill(make_log(tmp_path, 100_000), 100, seed=5)
    kills = report["kills"]
    assert sum(kills.values()) == 100
    named = {name.removeprefix("write ") for name in kills if name.startswith("write ")}
    assert named == {"examples.bin", "manifest.json", "rejects.jsonl", "encoder.safetensors", "prepared.json"}
    sys.stdout.write(json.dumps(report) + "\n")


def test_what_a_dead_process_left_of_another_log_is_removed_and_never_taken_for_a_result(tmp_path):
    config = fw.load_config(make_log(tmp_path, 300))
    whole = fw.prepare(config).folder
    dead = whole.with_name(".0123456789abcdef.tmp")
    whole.rename(dead)  # whole, but never renamed: its process died just before
    assert fw.prepare(config).folder == whole
    assert not dead.exists()
