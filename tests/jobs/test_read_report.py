"""Rows read = used + rejected, of all files together, and everyone who reads a log says so under the same names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import fieldwise as fw
from fieldwise.cli import main
from fieldwise.data.read_report import RejectTally, describe
from fieldwise.errors import DataError
from fieldwise.io.manifests import read_manifest, write_manifest

CONFIG = (
    '[data]\ntrain = ["log"]\nvalid = 0.2\nlabel = "click"\ncsv = { header = true }\n[fields.age]\ntype = "number"\n'
)
GOOD, TOO_LONG, NO_NUMBER, NO_LABEL, NOT_UTF8 = b"1,a,20\n", b"0,a,1,2\n", b"1,b,old\n", b",b,30\n", b"0,\xff,31\n"


def write_log(folder: Path, files: dict[str, list[bytes]]) -> None:
    (folder / "log").mkdir(exist_ok=True)
    for name, rows in files.items():
        (folder / "log" / name).write_bytes(b"click,ad,age\n" + b"".join(rows))


def test_train_evaluate_and_predict_say_how_many_rows_of_all_files_were_not_used_and_why(tmp_path: Path) -> None:
    rows = [GOOD, b"0,b,40\n"] * 60
    write_log(tmp_path, {"1.csv": [TOO_LONG, *rows], "2.csv": [*rows, NO_NUMBER, NO_LABEL, TOO_LONG, NOT_UTF8]})
    config = fw.parse_config(CONFIG, base=tmp_path, overrides=["model.kind=lr", "train.epochs=1", "pretrain.epochs=1"])
    result = fw.train(config, tmp_path / "run")
    read = result.read
    assert read is not None
    assert (read.files, read.rows_read, read.rows_used, read.rows_rejected) == (2, 245, 240, 5)
    first = read.reasons[0]
    assert (first.reason, first.rows, first.row, first.value) == ("expected 3 cells, got 4", 2, 1, "0,a,1,2")
    assert {(each.column, each.file[-5:], each.row) for each in read.reasons[1:]} == {
        ("age", "2.csv", 121),
        ("click", "2.csv", 122),
        ("ad", "2.csv", 124),
    }
    assert read.rejects is not None
    assert len(Path(read.rejects).read_bytes().splitlines()) == 5
    assert fw.train(config, tmp_path / "run").read == read, "of a finished run, too"
    evaluated = fw.evaluate(tmp_path / "run", tmp_path / "log").read
    assert (evaluated.files, evaluated.rows_read, evaluated.rows_used, evaluated.reasons) == (2, 245, 240, read.reasons)
    predicted = fw.predict(tmp_path / "run", tmp_path / "log", tmp_path / "p.csv")
    assert (predicted.read.rows_read, predicted.read.rows_used) == (245, 241), "a label is not needed"
    printed = (
        CliRunner().invoke(main, ["evaluate", str(tmp_path / "run"), "--data", str(tmp_path / "log"), "-q"]).stdout
    )
    assert "5 of 245 rows could not be used:\n  2 rows: expected 3 cells, got 4 (the first: " in printed


def test_a_log_that_was_prepared_by_an_earlier_version_says_it_too(tmp_path: Path) -> None:
    write_log(tmp_path, {"1.csv": [GOOD, b"0,b,40\n", NO_NUMBER]})
    config = fw.parse_config(CONFIG.replace("valid = 0.2\n", ""), base=tmp_path)
    prepared = fw.prepare(config)
    path = prepared.folder / "prepared.json"
    manifest, _ = read_manifest(path, dict[str, Any], format="fieldwise-prepared", version=2)
    assert manifest["summary"].pop("reasons")[0]["column"] == "age"
    write_manifest(path, manifest, format="fieldwise-prepared", version=2)
    assert fw.prepare(config).read == prepared.read


def test_where_no_row_can_be_used_the_message_says_why(tmp_path: Path) -> None:
    write_log(tmp_path, {"1.csv": [NO_NUMBER] * 30})
    config = fw.parse_config(CONFIG.replace("valid = 0.2\n", ""), base=tmp_path)
    says = r"30 of 30 rows could not be used: not a finite number: if it .* name it in missing, column age \(the first"
    with pytest.raises(DataError, match=says):
        fw.prepare(config)


@settings(max_examples=25)
@given(
    st.lists(
        st.lists(st.sampled_from([GOOD, TOO_LONG, NO_NUMBER, NO_LABEL, NOT_UTF8]), max_size=30), min_size=1, max_size=4
    )
)
def test_rows_read_are_those_used_and_those_rejected_whatever_is_damaged(tmp_path_factory, damage) -> None:
    folder = tmp_path_factory.mktemp("log")
    both = [GOOD, b"0,c,22\n"]
    write_log(folder, {f"{number}.csv": [*both, *rows] for number, rows in enumerate(damage)})
    read = fw.prepare(fw.parse_config(CONFIG.replace("valid = 0.2\n", ""), base=folder)).read
    every = [row for rows in damage for row in [*both, *rows]]
    assert (read.files, read.rows_read) == (len(damage), len(every))
    assert read.rows_used == sum(row in (GOOD, both[1]) for row in every)
    assert read.rows_used + read.rows_rejected == read.rows_read
    assert sum(each.rows for each in read.reasons) == read.rows_rejected


def test_the_column_of_the_groups_is_an_input_and_it_is_said_as_are_columns_that_are_none(tmp_path: Path) -> None:
    rows = "".join(f"{i % 2},u{i % 5},i{i},1\n" for i in range(50))
    (tmp_path / "log.csv").write_text("click,user,key,w\n" + rows)
    text = '[data]\ntrain = "log.csv"\nlabel = "click"\ngroup = "user"\nid = "key"\nweight = "w"\n'
    prepared = fw.prepare(fw.parse_config(text, base=tmp_path))
    assert prepared.encoder.schema.columns == ("user",)
    assert set(prepared.read.columns_not_used) == {"key", "w"}
    assert describe(prepared.read)[0].startswith("user is the GAUC group and also an input")
    without = fw.check(fw.parse_config(text + "[fields.w]\n[fields.user]\nexclude = true\n", base=tmp_path)).read
    assert set(without.columns_not_used) == {"key", "user"}
    assert without.remarks == []


def test_reasons_are_ranked_and_the_rest_comes_together() -> None:
    tally = RejectTally()
    for number in range(30):
        lines = [{"file": "a.csv", "row": number, "column": None, "value": "x" * 99, "reason": f"reason {number}"}]
        tally.add(lines * (number + 1))
    report = tally.report(rows_read=1_000, files=1, files_left_out={"b.txt": "its ending is unknown"})
    assert [each.rows for each in report.reasons] == [*range(30, 20, -1), sum(range(1, 21))]
    lines = describe(report)
    assert lines[0] == "465 of 1,000 rows could not be used:"
    assert lines[1] == f"  30 rows: reason 29 (the first: a.csv, row 29: '{'x' * 60}...')"
    assert lines[-2:] == ["1 file was left out:", "  b.txt: its ending is unknown"]


def test_cells_with_line_ends_are_pointed_out_by_whatever_reads_a_log(tmp_path: Path) -> None:
    """Two stray quotes a few lines apart take rows away, and look like a text of several lines."""
    rows = [GOOD, b"0,b,40\n"] * 60
    write_log(tmp_path, {"1.csv": rows, "2.csv": [*rows, b'1,"a,20\n', b'0,b",40\n', *rows]})
    config = fw.parse_config(CONFIG, base=tmp_path, overrides=["model.kind=lr", "train.epochs=1", "pretrain.epochs=1"])
    said = "1 row has line ends inside its cells, in "
    found = [
        fw.train(config, tmp_path / "run").read,
        fw.prepare(config).read,
        fw.check(config).read,
        fw.evaluate(tmp_path / "run", tmp_path / "log").read,
        fw.predict(tmp_path / "run", tmp_path / "log", tmp_path / "p.csv").read,
    ]
    for read in found:
        assert read is not None
        [remark] = [line for line in describe(read) if line.startswith(said)]
        assert remark.endswith('2.csv, line 122; set csv.quote = "" if quotes are plain characters')
    printed = CliRunner().invoke(main, ["init", str(tmp_path / "log"), "--out", str(tmp_path / "new.toml")])
    assert f"note: {said}" in printed.output
