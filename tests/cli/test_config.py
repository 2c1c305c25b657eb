"""``fieldwise config``: the reference of the configuration, and every mistake of a file at once."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from fieldwise.cli import main
from fieldwise.config import Config
from fieldwise.jobs.config.reference import describe_config
from fieldwise.reference.lines import line_of

WRONG = """
[data]
train = "log.csv"
units = 3
exclude = [
  "a",
  3,
]
[train]
# a comment
epoch = 3
stop_on = "acu"
[model]
activation = "rleu"
gate = true
[fields."a.b"]
min_count = 0
"""


def told(*words: str) -> str:
    done = CliRunner().invoke(main, ["config", *words])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_every_key_of_every_table_is_explained():
    tables = describe_config()
    assert {"data", "data.csv", "fields.NAME", "model", "train", "train.table", "pretrain"} <= {
        at.path for at in tables
    }
    assert [(table.path, key.name) for table in tables for key in table.keys if not key.meaning] == []
    assert [table.path for table in tables if not table.summary] == []


def test_a_key_shows_its_default_what_it_takes_and_its_meaning():
    text = told("--key", "train.patience")
    assert "[train]" in text
    assert "  patience = 2\n    Whole number >= 1.\n    Epochs without a better value" in text
    assert "min_count = 1" in told("--key", "fields.NAME")  # what holds where nothing is inferred
    assert max(map(len, told().splitlines())) <= 100


def test_an_unknown_key_is_refused_with_the_nearest_one():
    done = CliRunner().invoke(main, ["config", "--key", "train.epoch"])
    assert done.exit_code == 2
    assert "did you mean train.epochs?" in done.stderr


def test_all_mistakes_of_a_file_are_told_with_their_lines(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text(WRONG)
    done = CliRunner().invoke(main, ["config", str(path), "--json"])
    assert done.exit_code == 2
    problems = json.loads(done.stdout)["problems"]
    lines = {what: line for line, what in enumerate(WRONG.splitlines(), 1)}
    where = {problem["where"].removeprefix(f"{path}, ").replace("line ", ""): problem for problem in problems}
    assert {place.split(",")[0] for place in where} == {
        str(lines[text])
        for text in WRONG.splitlines()
        if text in ("[data]", "units = 3", "exclude = [", "epoch = 3", "gate = true", "min_count = 0")
        or text.startswith(("stop_on", "activation"))
    }
    assert len(problems) == 8
    by_line = {int(place.split(",")[0]): problem for place, problem in where.items()}
    assert by_line[lines["[data]"]]["what"] == "a required key is missing: label"
    assert by_line[lines["units = 3"]]["fix"] == "units is a key of [model]"
    assert by_line[lines["epoch = 3"]]["fix"] == "did you mean epochs?"
    assert by_line[lines['activation = "rleu"']]["fix"] == "did you mean relu?"
    assert by_line[lines["min_count = 0"]]["expected"] == "whole number >= 1"
    assert by_line[lines["min_count = 0"]]["got"] == "0"


def test_a_valid_file_is_said_to_be_valid_and_its_log_need_not_exist(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('data = { train = "no-such-log.csv", label = "click" }')
    assert told(str(path)) == f"{path} is valid.\n"
    assert json.loads(told(str(path), "--json")) == {"file": str(path), "valid": True, "problems": []}


def test_keys_that_contradict_each_other_are_told(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text(
        '[data]\ntrain = "a"\nlabel = "b"\nvalid = 0.6\ntest = 0.6\n[fields.x]\ntype = "bag"\ncross = ["a"]'
    )
    done = CliRunner().invoke(main, ["config", str(path)])
    assert done.exit_code == 2
    assert f"{path}, line 4, [data]\n  got: 0.6 + 0.6" in done.stderr
    assert f"{path}, line 7, [fields.x]\n  got: bag" in done.stderr


def test_settings_that_do_not_go_with_a_stated_type_are_told(tmp_path):
    path = tmp_path / "a.toml"
    head = '[data]\ntrain = "a"\nlabel = "b"\n'
    wrong = '[fields.age]\ntype = "category"\nbins = 3\n[fields.at]\ntype = "time"\npart = "hour"\nformat = "%Q"\n'
    path.write_text(head + wrong + '[fields.c]\ncross = ["age"]\n')
    done = CliRunner().invoke(main, ["config", str(path)])
    assert done.exit_code == 2
    assert f"bins and edges are only allowed for numbers and ages\n  where: {path}, line 4, [fields.age]" in done.stderr
    assert f"invalid time format\n  where: {path}, line 7, [fields.at]" in done.stderr
    assert f"a cross must combine two or more fields\n  where: {path}, line 11, [fields.c]" in done.stderr
    right = '[fields.age]\nbins = 3\n[fields.at]\ntype = "time"\n[fields.x]\ntype = "bag"\nexclude = true\nbins = 3\n'
    path.write_text(head + right)
    assert told(str(path)) == f"{path} is valid.\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "valid = 0.1\n[train]\nstop_on = 'gauc'",
            "not defined\n  where: {}, line 6, [train.stop_on]\n  expected: groups",
        ),
        ("folds = 3\n[train]\nstop_on = 'ndcg'", "not defined\n  where: {}, line 6, [train.stop_on]\n"),
        ("folds = 3\n[train]\ncalibration = 'isotonic'", "there are none\n  where: {}, line 6, [train.calibration]\n"),
    ],
)
def test_what_validation_rows_cannot_say_is_told(tmp_path, text, expected):
    path = tmp_path / "a.toml"
    path.write_text(f'[data]\ntrain = "a"\nlabel = "b"\n{text}\n')
    assert expected.format(path) in CliRunner().invoke(main, ["config", str(path)]).stderr
    grouped = text.replace("[train]", "group = 'g'\n[train]").replace("folds = 3", "valid = 0.2")
    path.write_text(f'[data]\ntrain = "a"\nlabel = "b"\n{grouped}\n')
    assert told(str(path)) == f"{path} is valid.\n"


def test_an_amount_of_memory_that_nobody_can_read_is_told(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('[data]\ntrain = "a"\nlabel = "b"\nmemory = "lots"\n')
    done = CliRunner().invoke(main, ["config", str(path)])
    assert f"invalid amount of memory\n  where: {path}, line 4, [data.memory]\n" in done.stderr


def test_a_mistake_on_the_command_line_is_not_blamed_on_the_file(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('data = { train = "a", label = "b" }\n[train]\nepochs = 5')
    done = CliRunner().invoke(main, ["config", str(path), "--set", "train.epochs=0"])
    assert "where: --set, [train.epochs]\n  expected: whole number >= 1\n  got: 0" in done.stderr


def test_the_json_schema_accepts_what_fieldwise_accepts_and_refuses_what_it_refuses(tmp_path):
    jsonschema = pytest.importorskip("jsonschema_rs")
    schema = json.loads(told("--json"))
    jsonschema.meta.validate(schema)
    check = jsonschema.validator_for(schema)
    head = 'data = { train = "a", label = "b" }\n'
    texts = {
        head: True,
        head + "[train]\nepochs = 3\ntable = { name = 'ftrl' }": True,
        head + "[fields.x]\nmin_count = 2\ndefault = 3": True,
        head + "[model]\nfm_interactions = 'auto'\nhidden = [3]": True,
        head + "[train]\nepoch = 3": False,
        head + "[train]\nepochs = 0": False,
        head + "[fields.x]\nmin_cout = 2": False,
        head + "[model]\nactivation = 'rleu'": False,
        "[train]\nepochs = 3": False,
    }
    path = tmp_path / "a.toml"
    for text, valid in texts.items():
        path.write_text(text)
        assert check.is_valid(tomllib.loads(text)) is valid, text
        assert (CliRunner().invoke(main, ["config", str(path)]).exit_code == 0) is valid, text
    assert set(schema["properties"]) == {field.name for field in msgspec.structs.fields(Config)} - {"base"}


@pytest.mark.parametrize(
    ("path", "line"),
    [(["a"], 1), (["a", "b"], 2), (["a", "c", "d"], 6), (["x"], 8), (["x", "y"], 8), (["z w", "k"], 13), (["q"], None)],
)
def test_a_key_is_found_on_the_line_where_its_statement_begins(path, line):
    text = '[a]\nb = """\n[x]\nnot = "this"\n"""\nc.d = [1,\n2]\n[x]\n# y = 3\ny = 3\n\n["z w"]\nk = 1\n'
    assert line_of(text, path) == (10 if path == ["x", "y"] else line)


def test_every_configuration_of_the_repository_is_valid():
    root = Path(__file__).parents[2]
    for path in [*root.glob("benchmarks/**/*.toml"), *root.glob("docs/**/*.toml")]:
        if path.name != "pyproject.toml" and "[data]" in path.read_text():
            assert told(str(path)) == f"{path} is valid.\n"
