"""``fieldwise datasets``: what there is, and what it takes to make one."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pyarrow.parquet
import pytest
from click.testing import CliRunner

from fieldwise.cli import main
from fieldwise.config import load_config
from fieldwise.datasets import DATASETS, FETCHED

SMALL = ["--rows", "400", "--fields", "4", "--features", "40", "--seed", "3"]


def run(*arguments: object):
    return CliRunner().invoke(main, ["datasets", *map(str, arguments)])


def test_the_list_names_every_log():
    printed = run().stdout
    assert all(name in printed for name in DATASETS)
    assert [entry["name"] for entry in json.loads(run("--json").stdout)] == list(DATASETS)


def test_a_synthetic_log_comes_with_a_configuration_and_its_best_possible_figures(tmp_path):
    result = run("synth", *SMALL, "--truth", "linear", "--out", tmp_path / "data", "--json")
    assert result.exit_code == 0, result.stderr
    made = json.loads(result.stdout)
    assert (made["options"]["rows"], made["options"]["truth"], made["options"]["seed"]) == (400, "linear", 3)
    assert made["parts"]["train"]["best"]["auc"] > 0.5
    config = load_config(made["config"])
    assert pyarrow.parquet.read_table(config.paths("train")[0]).num_rows == 400


def test_people_see_the_figures_and_the_command_to_go_on_with(tmp_path):
    printed = run("synth", *SMALL, "--out", tmp_path).stdout
    assert "AUC, linear" in printed
    assert f"fieldwise compare {tmp_path / 'synth.toml'}" in printed


def test_a_log_in_days_comes_with_a_configuration_that_reads_its_first_days(tmp_path):
    small = ("synth-days", "--days", 9, "--rows", 200, "--fields", 3, "--features", 60, "--out", tmp_path)
    made = json.loads(run(*small, "--json").stdout)
    assert list(made["days"])[-1] == "2026-01-09"
    config = load_config(made["config"])
    assert [Path(path).stem for path in config.paths("train")] == list(made["days"])[:7]
    printed = run(*small).stdout
    assert "Best possible metrics of a day" in printed
    assert "2026-01-09" in printed


@pytest.mark.parametrize("arguments", [["synth", "--preset", "appdata"], ["appdata"]])
def test_a_preset_is_a_shape_that_options_change(tmp_path, monkeypatch, arguments):
    asked = []

    def make_synth(out: Path, options, *, name: str) -> Path:
        asked.append((options.rows, options.fields, options.features, name))
        (tmp_path / "appdata.json").write_text('{"options": {}}')
        return tmp_path / "appdata.toml"

    monkeypatch.setattr("fieldwise.datasets.make_synth", make_synth)
    assert run(*arguments, "--rows", 5, "--out", tmp_path).exit_code == 0
    assert asked == [(5, 158, 8_672_633, "appdata")]


def test_what_is_fetched_is_said_on_standard_error(tmp_path, monkeypatch):
    def make_movielens(out: Path) -> Path:
        logging.getLogger("fieldwise.datasets.movielens").info("fetching MovieLens-1M")
        return out / "movielens-1m.toml"

    monkeypatch.setitem(FETCHED, "movielens-1m", make_movielens)
    result = run("movielens-1m", "--out", tmp_path)
    assert f"fieldwise compare {tmp_path / 'movielens-1m.toml'}" in result.stdout
    assert result.stderr == "fetching MovieLens-1M\n"
    quiet = run("movielens-1m", "--out", tmp_path, "--quiet", "--json")
    assert quiet.stderr == ""
    assert json.loads(quiet.stdout) == {"name": "movielens-1m", "config": str(tmp_path / "movielens-1m.toml")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["movielens", "--out", "x"], "did you mean movielens-1m?"),
        (["synth"], "--out"),
        (["--rows", "5"], "Missing argument NAME"),
        (["movielens-1m", "--rows", "5", "--out", "x"], "takes no option but --out"),
        (["adult", "--preset", "appdata", "--out", "x"], "takes no option but --out"),
        (["appdata", "--preset", "feedsdata", "--out", "x"], "--preset applies only to synth"),
        (["synth", "--rows", "0", "--out", "x"], "1 or more"),
        (["synth", "--days", "9", "--out", "x"], "synth takes no --days"),
        (["synth-days", "--preset", "appdata", "--out", "x"], "--preset applies only to synth"),
        (["synth-days", "--drift", "2", "--out", "x"], "0 to 1"),
        (["synth", "--fields", "9", "--features", "9", "--out", "x"], "at least two for each of 9 fields"),
    ],
)
def test_what_cannot_be_made_is_refused(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in result.stderr
    assert not list(tmp_path.iterdir())
