"""Standard output: JSON that every parser reads, tables that every terminal shows."""

from __future__ import annotations

import json
import math

import pytest

from fieldwise.cli.output import Footnotes, print_commands, print_json, print_table


def test_json_keeps_the_order_of_keys_and_every_digit(capsys):
    print_json({"b": 0.1 + 0.2, "a": 1})
    printed = capsys.readouterr().out
    assert printed.index('"b"') < printed.index('"a"')
    assert json.loads(printed)["b"] == 0.1 + 0.2


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_has_null_where_a_float_is_not_finite(value, capsys):
    print_json({"auc": value, "models": [{"valid": (value, 1.5)}]})
    assert json.loads(capsys.readouterr().out) == {"auc": None, "models": [{"valid": [None, 1.5]}]}


def test_json_is_ascii_so_that_no_terminal_refuses_it(capsys):
    print_json("Zürich")
    assert capsys.readouterr().out.strip() == '"Z\\u00fcrich"'


def test_a_table_shows_names_in_brackets_as_they_are_and_no_more_than_100_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "500")
    print_table("A title", ["field", "features"], [["[bold]user[/bold]", "12,000"], ["x" * 300, "1"]])
    printed = capsys.readouterr().out
    assert "[bold]user[/bold]" in printed
    assert "12,000" in printed
    assert max(len(line.rstrip()) for line in printed.splitlines()) <= 100
    assert "\x1b" not in printed


def test_an_empty_table_still_has_its_headings(capsys):
    print_table("Nothing", ["model", "AUC"], [])
    assert "model" in capsys.readouterr().out


def test_commands_can_be_copied_whatever_their_length(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    path = "/a folder/" + "x" * 200
    print_commands("Next:", [("all metrics", ["fieldwise", "evaluate", path])])
    assert f"  fieldwise evaluate '{path}'" in capsys.readouterr().out.splitlines()


def test_equal_reasons_share_a_footnote():
    notes = Footnotes()
    marks = [notes.mark(reason) for reason in ("one class", "no groups", "one class")]
    assert marks[0] == marks[2] != marks[1]
    assert len(notes.lines()) == 2
