"""`init` and `check` say how many rows cannot be used, and why."""

from __future__ import annotations

import gzip
import json
import random
import tomllib

import pytest
from click.testing import CliRunner

import fieldwise as fw
from fieldwise.cli import main


def run(*arguments):
    return CliRunner().invoke(main, list(map(str, arguments)))


def test_init_counts_the_rows_that_cannot_be_read_where_people_and_programs_look(tmp_path):
    rows = [f"{i % 2},u{i % 7},{i}\n".encode() for i in range(300)] + [b"1,\xe8,1\n"] * 100
    (tmp_path / "a.csv").write_bytes(b"click,city,price\n" + b"".join(rows))
    result = run("init", tmp_path / "a.csv")
    said = "100 of 400 rows could not be used:"
    assert result.exit_code == 0
    assert f"note: {said}" in result.stderr
    assert f"# {said}\n#   the cell is not UTF-8, column city (the first: " in result.stdout
    assert tomllib.loads(result.stdout)["data"]["label"] == "click"
    printed = json.loads(run("init", tmp_path / "a.csv", "--json").stdout)
    assert printed["read"]["rows_rejected"] == 100
    assert printed["read"]["reasons"][0]["row"] == 301


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.svm", "1:0.5 1:0.5\n", "a label with a weight (label:weight) is not read"),
        ("a.svm", "1 |user u1 |ad a7\n", "Vowpal Wabbit"),
        ("a.svm", "1 2 3\n", "there is no colon in it"),
        ("a.csv", "1,a,\n", "expected 2 cells, got 3: the line ends with a delimiter"),
        ("a.csv", "1,a,b\n", "expected 2 cells, got 3 ("),
        ("a.csv", "1,\xe8\n", "is not UTF-8"),
    ],
)
def test_where_no_row_can_be_read_the_true_reason_is_told(tmp_path, name, text, reason):
    path = tmp_path / name
    path.write_bytes((("click,city\n" if name == "a.csv" else "") + text * 20).encode("latin-1"))
    for verb in ("init", "check"):
        result = run(verb, path)
        assert result.exit_code == 2
        assert "no row of the log can be read" in result.stderr
        assert "20 of 20 rows could not be used: " in result.stderr
        assert reason in result.stderr


def test_init_takes_quotes_for_plain_characters_where_they_can_be_nothing_else_and_says_so(tmp_path):
    rng = random.Random(0)
    queries = ['"red' if i in (100, 900) else rng.choice(["red", "tv"]) for i in range(2_000)]
    text = "".join(f"{rng.randrange(2)}\t{query}\ta{rng.randrange(9)}\n" for query in queries)
    (tmp_path / "q.tsv").write_text("click\tquery\tad\n" + text)
    result = run("init", tmp_path / "q.tsv", "--out", tmp_path / "q.toml")
    assert "note: quotes are read as ordinary characters" in result.stderr
    assert "row 101 (line 102)" in result.stderr
    config = fw.load_config(tmp_path / "q.toml")
    assert config.data.csv.quote == ""
    assert fw.prepare(config).read.rows_used == 2_000
    assert run("init", tmp_path / "q.tsv", "--quote", "none").stderr == ""


def test_quotes_that_cannot_be_plain_characters_either_are_an_error_that_names_the_option(tmp_path):
    rows = ['1,"a, b",3\n'] * 50 + ['1,"a,3\n'] + ["1,b,3\n"] * 50 + ['1,"a,3\n'] + ['0,"a, b",3\n'] * 50
    (tmp_path / "a.csv").write_text("click,x,y\n" + "".join(rows))
    result = run("init", tmp_path / "a.csv")
    assert result.exit_code == 2
    assert "row 51 (line 52)" in result.stderr
    assert "--quote none" in result.stderr


@pytest.mark.parametrize(
    ("encode", "got", "fix"),
    [
        (lambda text: text.encode("utf-16-le"), "utf-16-le text without a byte order mark", "--encoding utf-16-le"),
        (lambda text: gzip.compress(text.encode()), "gzip", "a name that ends in .gz"),
        (lambda text: text.encode() + b"1,\0\n", "binary data, a zero byte at", "write it again"),
    ],
)
def test_a_file_that_is_no_utf8_text_is_refused_with_what_mends_it(tmp_path, encode, got, fix):
    (tmp_path / "a.csv").write_bytes(encode("click,ad\n" + "1,a\n0,b\n" * 50))
    result = run("init", tmp_path / "a.csv")
    assert result.exit_code == 2
    assert f"got: {got}" in result.stderr
    assert fix in result.stderr


def test_gzip_members_end_to_end_and_a_last_line_without_its_end_are_read_whole(tmp_path):
    parts = ["click,ad\n" + "1,a\n0,b\n" * 50, "1,a\n" * 10 + "0,c"]
    (tmp_path / "a.csv.gz").write_bytes(b"".join(gzip.compress(part.encode()) for part in parts))
    read = json.loads(run("init", tmp_path / "a.csv.gz", "--json").stdout)["read"]
    assert (read["rows_read"], read["rows_used"]) == (111, 111)


def test_rows_that_are_not_utf8_come_with_the_setting_that_reads_them(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"click,city\n" + b"1,Roma\n0,Milano\n" * 50 + b"1,Forl\xec\n")
    assert "set data.csv.encoding (init: --encoding)" in run("init", tmp_path / "a.csv").stderr


def test_query_ids_of_libsvm_are_the_group_and_no_input(tmp_path):
    rng = random.Random(0)
    lines = [f"{rng.randrange(2)} qid:{i // 6} {1 + i % 7}:1 {20 + rng.randrange(9)}:.5\n" for i in range(600)]
    (tmp_path / "a.svm").write_text("".join(lines))
    result = run("init", tmp_path / "a.svm", "--out", tmp_path / "a.toml")
    assert result.exit_code == 0
    config = fw.load_config(tmp_path / "a.toml")
    assert (config.data.group, config.data.exclude) == ("qid", ("qid",))
    prepared = fw.prepare(config)
    assert [field["name"] for field in prepared.summary["fields"]] == ["features"]
    assert prepared.read.columns_not_used == {"qid": "GAUC group (data.group)"}
    assert prepared.read.rows_used == 600
