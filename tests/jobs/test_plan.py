"""``train --dry-run``: what it would take, before it is taken."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from tests.logs import config_text, make_table, write

import fieldwise as fw
from fieldwise.cli import main
from fieldwise.jobs.train.plan import plan
from fieldwise.models.config import ModelConfig
from fieldwise.models.memory import training_memory
from fieldwise.models.sizes import count_parameters
from fieldwise.tables.config import TableOptimizerConfig

MORE = """
[model]
kind = "lc-wide-deep"
units = 2
hidden = [8]
[train.table]
name = "rowwise-adagrad"
storage = "bfloat16"
"""


@pytest.fixture
def folder(tmp_path):
    write(make_table(), tmp_path / "log.parquet")
    (tmp_path / "fieldwise.toml").write_text(config_text("log.parquet", more=MORE))
    return tmp_path


def test_rows_and_features_are_exact_once_the_log_is_prepared(folder):
    config = fw.load_config(folder / "fieldwise.toml")
    before = plan(config)
    assert not before.prepared
    prepared = fw.prepare(config)
    after = plan(config)
    assert after.prepared
    assert (after.features, after.fields) == (prepared.encoder.num_features, prepared.encoder.layout.num_fields)
    assert after.examples == prepared.parts["train"].num_examples
    assert before.features == pytest.approx(after.features, rel=0.3)
    lr, model = after.stages
    assert (lr.model, lr.row_bytes) == ("lr", 12)
    assert (model.model, model.row_bytes) == ("lc-wide-deep", 3 * 2 + 4)
    assert model.table_bytes == after.features * 10
    assert after.memory == max(lr.memory, model.memory)


@pytest.mark.parametrize(
    ("shares", "classes"),
    [("valid = 0.2\ntest = 0.3", (0, 1)), ('split = "split"', ("a", "b", "c")), ("test = 0.1", ("a", "b", "c"))],
)
def test_the_parts_and_the_classes_of_a_log_are_known_before_it_is_prepared(tmp_path, shares, classes):
    write(make_table(classes=classes), tmp_path / "log.parquet")
    config = fw.parse_config(config_text("log.parquet", data=shares), base=tmp_path)
    before = plan(config)
    fw.prepare(config)
    after = plan(config)
    assert (before.prepared, after.prepared) == (False, True)
    assert before.examples == pytest.approx(after.examples, rel=0.05)
    for expected, known in zip(before.stages, after.stages, strict=True):
        assert expected.model == known.model
        assert expected.parameters == known.parameters  # a small log is looked at as a whole


def test_rows_of_other_files_than_those_of_training_are_not_trained_on(tmp_path):
    write(make_table(900), tmp_path / "log.parquet")
    write(make_table(2000, seed=1), tmp_path / "later.parquet")
    text = config_text("log.parquet", data='valid = "later.parquet"')
    assert plan(fw.parse_config(text, base=tmp_path)).examples == 900


def test_nothing_is_trained_and_nothing_written(folder):
    there = sorted(folder.rglob("*"))
    words = ["train", str(folder / "fieldwise.toml"), "--out", str(folder / "run"), "--dry-run"]
    done = CliRunner().invoke(main, [*words, "--json"])
    assert done.exit_code == 0, done.output
    assert [stage["model"] for stage in json.loads(done.stdout)["stages"]] == ["lr", "lc-wide-deep"]
    assert sorted(folder.rglob("*")) == there
    done = CliRunner().invoke(
        main, ["train", str(folder / "fieldwise.toml"), "--out", str(folder / "run"), "--dry-run"]
    )
    assert "lc-wide-deep" in done.stdout
    assert "memory" in done.stdout


@pytest.mark.parametrize(
    ("kind", "units", "name", "storage", "expected"),
    [
        ("lr", 1, "ftrl", "float32", 12e9),
        ("lc-dnn", 1, "adam", "float32", 12e9),
        ("lc-dnn", 1, "adagrad", "float32", 8e9),
        ("lc-wide-deep", 1, "rowwise-adagrad", "float32", 12e9),
        ("lc-wide-deep", 1, "rowwise-adagrad", "bfloat16", 8e9),
    ],
)
def test_a_billion_features_fit_a_machine_of_24_gigabytes(kind, units, name, storage, expected):
    model = ModelConfig(kind=kind, units=units, hidden=(64,))
    optimizer = TableOptimizerConfig(name=name, storage=storage)
    memory = training_memory(model, count_parameters(model, 10**9, 39), 39, optimizer)
    assert memory.table == expected
    assert memory.total < 13.5e9


def test_the_width_of_a_dnn_s_first_layer_is_in_its_table():
    model = ModelConfig(kind="dnn", hidden=(64, 32))
    size = count_parameters(model, 1000, 39)
    memory = training_memory(model, size, 39, TableOptimizerConfig(name="adagrad"), batch_size=10)
    assert memory.table == 1000 * 64 * 2 * 4
    assert memory.dense == (64 * 32 + 32 * 1 + 32 + 1 + 64 + 1) * 16 + 10 * (4 * (64 + 64 + 32 + 1) * 4 + 5 * 39 * 8)


def test_a_comparison_that_is_only_planned_says_what_every_model_takes_and_writes_nothing(folder):
    words = ["compare", str(folder / "fieldwise.toml"), "--out", str(folder / "runs"), "--models", "lr,lc-dnn:1"]
    done = CliRunner().invoke(main, [*words, "--dry-run", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    one = plan(fw.load_config(folder / "fieldwise.toml", ["model.kind=lc-dnn", "model.units=1"]))
    assert found["models"]["lc-dnn:1"] == {**one.as_dict(), "memory_free": found["models"]["lc-dnn:1"]["memory_free"]}
    assert found["memory"] == max(each["memory"] for each in found["models"].values())
    assert found["disk"] == sum(each["disk"] for each in found["models"].values())
    assert not (folder / "runs").exists()
    text = CliRunner().invoke(main, [*words, "--dry-run"]).stdout
    assert "lc-dnn:1" in text
    assert "for each seed" in text
