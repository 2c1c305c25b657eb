from __future__ import annotations

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

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


def test_files_with_other_columns_are_refused_with_the_difference(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.csv").write_text("x,z\n1,2\n")
    with pytest.raises(DataError, match=r"b\.csv\n  expected: those of .*a\.csv\n  got: without y; with z"):
        open_log(tmp_path)


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
