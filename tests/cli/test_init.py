"""``fieldwise init``: a configuration that the other verbs can read."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from tests.logs import make_table, write

from fieldwise.cli import main
from fieldwise.config import load_config, parse_config


def run(*arguments: object):
    return CliRunner().invoke(main, ["init", *map(str, arguments)])


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write(make_table(200), tmp_path / "log.csv").name


def test_what_is_printed_is_a_configuration_of_the_log(log):
    result = run(log, "--label", "click", "--group", "session", "--id", "impression", "--weight", "weight")
    assert result.exit_code == 0
    config = parse_config(result.stdout)
    data = config.data
    assert (data.train, data.label, data.split) == (("log.csv",), "click", "split")
    assert (data.group, data.id, data.weight) == ("session", "impression", "weight")
    assert list(config.fields) == ["user", "item", "price", "age", "tags", "session"]


def test_parts_are_cut_by_a_time_that_is_named(tmp_path):
    rows = "".join(f"2026-01-{day:02d} 0{day % 9}:30:00,{day % 3},{day % 2}\n" for day in range(1, 31))
    (tmp_path / "log.csv").write_text("shown,ad,click\n" + rows)
    suggested = run(tmp_path / "log.csv").stdout
    assert '# time = "shown"' in suggested
    assert parse_config(suggested).data.time is None
    data = parse_config(run(tmp_path / "log.csv", "--time", "shown").stdout).data
    assert (data.time, data.valid, data.test) == ("shown", 0.1, 0.1)


def test_a_file_is_written_with_paths_as_seen_from_its_folder(log, tmp_path):
    result = run(log, "--out", "configs/clicks.toml")
    assert result.exit_code == 0
    assert "configs/clicks.toml" in result.stdout
    config = load_config("configs/clicks.toml")
    assert config.data.train == ("../log.csv",)
    assert [str(tmp_path / "configs" / ".." / "log.csv")] == list(config.paths("train"))


def test_a_path_from_the_root_stays_as_it_is(log, tmp_path):
    run(tmp_path / log, "--out", "configs/clicks.toml")
    assert load_config("configs/clicks.toml").data.train == (str(tmp_path / log),)


def test_a_configuration_that_somebody_may_have_edited_is_not_replaced(log, tmp_path):
    (tmp_path / "mine.toml").write_text("# mine")
    result = run(log, "--out", "mine.toml")
    assert result.exit_code == 2
    assert "already exists" in result.stderr
    assert (tmp_path / "mine.toml").read_text() == "# mine"
    assert run(log, "--out", "mine.toml", "--overwrite").exit_code == 0
    assert load_config("mine.toml").data.label == "click"


def test_the_command_at_the_head_names_the_file_that_was_written(log):
    run(log, "--out", "my configs/clicks.toml")
    with open("my configs/clicks.toml") as file:
        assert "#   fieldwise compare 'my configs/clicks.toml' --out" in file.read()
    assert "#   fieldwise compare fieldwise.toml --out" in run(log).stdout


def test_json_is_the_same_configuration(log):
    assert json.loads(run(log, "--json").stdout)["data"]["label"] == "click"


def test_files_without_a_header_get_the_names_that_are_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.txt").write_text("".join(f"{i % 2};u{i % 7};i{i % 5}\n" for i in range(50)))
    result = run("log.txt", "--format", "csv", "--columns", "click,user,item", "--delimiter", ";")
    config = parse_config(result.stdout)
    assert config.data.csv.columns == ("click", "user", "item")
    assert not config.data.csv.header
    assert list(config.fields) == ["user", "item"]


@pytest.mark.parametrize("cells", [["728,90", "12,5"], ["728,90", "7"], ["1.728,90", "0,05", ""], ["728,90", "NULL"]])
def test_decimal_commas_in_quoted_cells_are_numbers(tmp_path, cells):
    path = tmp_path / "log.csv"
    rows = [f'{i % 2},"{cells[i // 2 % len(cells)].replace("8", str(i % 10), 1)}",u{i % 7}' for i in range(400)]
    path.write_text("\n".join(["click,price,user", *rows]) + "\n")
    config = parse_config(run(str(path)).stdout)
    assert (config.fields["price"].type, config.fields["price"].decimal) == ("number", ",")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.csv"], "none.csv"),
        (["log.csv", "--label", "clik"], "did you mean click?"),
        (["log.csv", "--delimiter", "||"], "a single character"),
        ([], "LOG..."),
    ],
)
def test_a_log_or_column_that_is_not_there_is_named(log, arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in result.stderr
