from __future__ import annotations

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fieldwise.data.csv_dialect import CsvOptions
from fieldwise.data.log import open_log
from fieldwise.errors import DataError


def test_files_are_read_in_order_with_their_names_and_positions(tmp_path):
    (tmp_path / "b.csv").write_text("x,y\n1,2\n3\n")
    (tmp_path / "a.csv").write_text("y,x\n4,5\n")  # in another order: columns go by name
    log = open_log(tmp_path)
    chunks = list(log.chunks(["x"]))
    assert log.columns == ("y", "x")
    assert log.num_bytes == 18
    assert [(chunk.path, chunk.file) for chunk in chunks[:2]] == [(log.files[0], 0), (log.files[1], 1)]
    assert [value for chunk in chunks for value in chunk.table.column("x").to_pylist()] == ["5", "1"]


def test_one_log_may_mix_formats(tmp_path):
    (tmp_path / "a.csv").write_text("x\n1\n")
    pq.write_table(pa.table({"x": [2]}), tmp_path / "b.parquet")
    values = [value for chunk in open_log(tmp_path).chunks() for value in chunk.table.column("x").to_pylist()]
    assert values == ["1", 2]


def test_a_column_that_some_files_lack_is_none_of_the_log_and_who_asks_for_it_is_told_the_file(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.csv").write_text("z,x\n9,3\n")
    log = open_log(tmp_path)
    assert log.columns == ("x",)
    assert log.layout.partial.keys() == {"y", "z"}
    assert [value for chunk in log.chunks() for value in chunk.table.column("x").to_pylist()] == ["1", "3"]
    with pytest.raises(DataError, match=r"lacks a column(.|\n)*where: .*b\.csv\n  expected: column y, as in .*a\.csv"):
        log.chunks(["x", "y"])


def test_files_without_a_common_column_are_refused_with_both(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.csv").write_text("x;y\n1;2\n")
    with pytest.raises(
        DataError, match=r"b\.csv\n  expected: columns x, y, as in .*a\.csv\n  got: x;y\n(.|\n)*delimiter"
    ):
        open_log(tmp_path, csv=CsvOptions(delimiter=","))


@pytest.mark.parametrize("other", ["User", " user", "user ", "USER"])
def test_a_column_that_a_file_spells_otherwise_is_refused_with_a_suggestion(tmp_path, other):
    (tmp_path / "a.csv").write_text("click,user\n1,2\n")
    (tmp_path / "b.csv").write_text(f"click,{other}\n1,2\n")
    log = open_log(tmp_path)
    assert set(log.layout.misspelled()) == {"user", other}
    with pytest.raises(DataError, match=f"is {other!r} the same column"):
        log.layout.require(["user"])


def test_the_rows_of_mixed_formats_are_counted_exactly_or_judged_by_text_of_each_kind(tmp_path):
    pq.write_table(pa.table({"x": list(range(1000))}), tmp_path / "a.parquet")
    (tmp_path / "b.csv").write_text("x\n" + "1234567\n" * 100)
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress(b"x\n" + b"1\n" * 5000))
    num_rows, exact = open_log(tmp_path).count_rows()
    assert not exact
    assert 6100 <= num_rows <= 6102  # the headers count as lines


def test_a_column_that_is_not_there_is_refused_before_anything_is_read(tmp_path):
    (tmp_path / "a.csv").write_text("click,ad\n1,2\n")
    with pytest.raises(DataError, match=r"no such column(.|\n)*did you mean click\?"):
        open_log(tmp_path).chunks(["clik"])


@pytest.mark.parametrize("name", ["a.csv", "a.tsv.gz", "a.svm"])
def test_a_log_can_be_read_again_and_again(tmp_path, name):
    text = {"a.csv": b"x,y\n1,2\n", "a.tsv.gz": gzip.compress(b"x\ty\n1\t2\n"), "a.svm": b"1 1:1\n"}[name]
    (tmp_path / name).write_bytes(text)
    log = open_log(tmp_path / name)
    first, second = ([chunk.table.to_pydict() for chunk in log.chunks() if len(chunk.rows)] for _ in range(2))
    assert first == second != []
