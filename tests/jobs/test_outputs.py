"""Where results may be written: each verb refuses what would destroy its input, or become a part of it."""

from __future__ import annotations

import hashlib

import pytest
from click.testing import CliRunner

import fieldwise as fw
from fieldwise.cli import main
from fieldwise.config import parse_config

ROWS = "click,user\n" + "1,a\n0,b\n" * 20
VERBS = {"train": fw.train, "compare": fw.compare, "tune": lambda config, out: fw.tune(config, out, trials=1)}


def digests(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def log_in(folder, data=""):
    (folder / "log").mkdir()
    (folder / "log" / "a.csv").write_text(ROWS)
    (folder / "model").mkdir()
    (folder / "model" / "manifest.json").write_text("{}")
    return parse_config(f'[data]\ntrain = "log"\nlabel = "click"\n{data}\n[model]\nkind = "lr"\n', base=folder)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("out", "data", "message"),
    [
        ("log/a.csv", "", "the output folder is an existing file"),
        ("/dev/null", "", "the output folder is an existing file"),
        (".", "", "the folder contains the log"),
        ("log", "", "the folder contains"),
        ("model", "", "the folder (contains a model|is not empty and not a run folder)"),
        ("log/run", 'format = "csv"', "would become part of the log"),
        ("log/run", 'valid = "log/*"', "would become part of the log"),
    ],
)
def test_a_folder_that_would_harm_the_log_is_refused_before_anything_is_written(tmp_path, verb, out, data, message):
    config = log_in(tmp_path, data)
    before = digests(tmp_path / "log")
    with pytest.raises(fw.ConfigError, match=message):
        VERBS[verb](config, tmp_path / out)
    assert digests(tmp_path / "log") == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "log/a.csv", "--html", "log/a.csv"],
        ["check", "c.toml", "--html", "c.toml"],
        ["check", "c.toml", "--html", "log/a.csv"],
        ["check", "log", "--format", "csv", "--html", "log/page.html"],
        ["init", "log", "--format", "csv", "--out", "log/c.toml"],
        ["check", "log/a.csv", "--html", "notes.html"],
        ["init", "log/a.csv", "--out", "log/a.csv"],
        ["init", "log/a.csv", "--out", "log/a.csv", "--overwrite"],
    ],
    ids=" ".join,
)
def test_a_page_or_a_configuration_is_not_written_over_or_among_what_it_describes(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    log_in(tmp_path)
    (tmp_path / "notes.html").write_text("<html>mine</html>")
    (tmp_path / "c.toml").write_text('[data]\ntrain = "log"\nlabel = "click"\n')
    before = digests(tmp_path)
    found = CliRunner().invoke(main, arguments)
    assert (found.exit_code, "Traceback" in found.output) == (2, False)
    assert digests(tmp_path) == before
