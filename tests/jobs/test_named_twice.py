"""A file that several paths lead to is read once, and whoever reads the log says so."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import fieldwise as fw
from fieldwise.cli import main
from fieldwise.data.log import open_log

REMARK = "a.csv is named more than once, and read once"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        rows = [f"{i % 2},{name}{i % 7}" for i in range(300)]
        Path(f"{name}.csv").write_text("\n".join(["click,ad", *rows]) + "\n")
    return tmp_path


@settings(max_examples=40)
@given(names=st.lists(st.sampled_from(["a.csv", "./a.csv", "ABSOLUTE", "*.csv", "[a].csv", "b.csv", "."]), min_size=1))
def test_however_a_file_is_named_again_it_is_read_once_and_said(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("log")
    for name in "ab":
        (folder / f"{name}.csv").write_text("click,ad\n1,x\n0,y\n")
    here = Path.cwd()
    os.chdir(folder)
    try:
        log = open_log([str(folder / "a.csv") if name == "ABSOLUTE" else name for name in names])
        rows = sum(chunk.table.num_rows for chunk in log.chunks())
    finally:
        os.chdir(here)
    of_a = [name for name in names if name != "b.csv"]
    of_b = [name for name in names if name in ("*.csv", "b.csv", ".")]
    assert rows == 2 * (bool(of_a) + bool(of_b))
    assert {Path(path).name for path in log.repeated} == {
        name for name, found in (("a.csv", of_a), ("b.csv", of_b)) if len(found) > 1
    }


def test_links_to_a_file_are_files_of_their_own(folder):
    Path("c.csv").symlink_to("a.csv")
    log = open_log(["a.csv", "c.csv"])
    assert (len(log.files), log.remarks) == (2, [])


def test_every_verb_says_that_a_file_was_named_twice(folder):
    Path("fieldwise.toml").write_text('[data]\ntrain = ["a.csv", "*.csv"]\nvalid = 0.2\nlabel = "click"\n')

    def run(*words: str) -> dict:
        result = CliRunner().invoke(main, [*words, "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    assert run("init", "a.csv", "./a.csv")["read"]["remarks"] == [REMARK]
    for verb in ("check", "prepare"):
        assert any(remark.endswith(REMARK) for remark in run(verb, "fieldwise.toml")["read"]["remarks"])
    small = ["--set", "model.kind=lr", "--set", "train.epochs=1", "--no-report"]
    assert any(
        remark.endswith(REMARK) for remark in run("train", "fieldwise.toml", "--out", "run", *small)["read"]["remarks"]
    )
    twice = ["--data", "a.csv", "--data", str(folder / "a.csv")]
    assert run("evaluate", "run", *twice)["read"]["remarks"] == [REMARK]
    found = run("predict", "run", *twice, "--out", "predictions.csv")
    assert (found["read"]["remarks"], found["examples"]) == ([REMARK], 300)
    assert fw.evaluate("run", ["a.csv", "a.csv"]).read.remarks == [REMARK]
