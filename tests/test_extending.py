"""docs/extending.md is run: its files, its commands, its Python; and each file is as short as is promised."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fieldwise import events
from fieldwise.cli import main
from fieldwise.features import field_types
from fieldwise.metrics import own
from fieldwise.models import registry

PAGE = Path(__file__).parent.parent / "docs" / "extending.md"
LONGEST = {"networks": 100, "gated": 15, "lift": 30, "curve": 15, "fwfm": 60}


@pytest.fixture
def nothing_stays(monkeypatch):
    """Let what is registered be forgotten."""
    tables = registry._DEEP, registry._MODELS, registry._LABELS, own.OWN, field_types._TYPES
    before = [dict(table) for table in tables]
    monkeypatch.setattr(events, "_CALLBACKS", [])
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for table, content in zip(tables, before, strict=True):
        table.clear()
        table.update(content)
    for name in LONGEST:
        sys.modules.pop(name, None)


def test_the_page_runs_from_top_to_bottom(tmp_path, monkeypatch, nothing_stays):
    monkeypatch.chdir(tmp_path)
    sys.path.insert(0, str(tmp_path))
    files = []
    for language, text in re.findall(r"```(python|console)\n(.*?)```", PAGE.read_text(), re.DOTALL):
        if language == "console":
            for line in text.splitlines():
                program, *words = shlex.split(line)
                assert program == "fieldwise"
                done = CliRunner().invoke(main, words)
                assert done.exit_code == 0, f"{line}\n{done.output}"
        elif named := re.match(r"# (\w+)\.py\n", text):
            files.append(named[1])
            lines = [line for line in text.splitlines()[1:] if line.strip()]
            assert len(lines) <= LONGEST[named[1]]
            (tmp_path / f"{named[1]}.py").write_text(text)
        else:
            exec(compile(text, PAGE.name, "exec"), {})
    assert files == list(LONGEST)


def test_a_module_that_is_not_there_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["params", "--fields", "2", "--features", "9", "--hidden", "4", "--import", "mine"])
    assert done.exit_code == 2
    assert "mine: No module named 'mine'" in done.output


def test_names_of_others_are_not_taken(nothing_stays):
    for register, name in ((registry.register_model, "lr"), (own.register_metric, "auc"), (own.register_metric, "a b")):
        with pytest.raises(Exception, match="is taken"):
            register(name, print)
