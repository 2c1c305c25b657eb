from __future__ import annotations

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldwise.data.log import open_log
from fieldwise.data.partitions import keys_of
from fieldwise.errors import DataError


def write(path, text="click,user\n1,a\n0,b\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def rows(log, columns=None):
    return [row for chunk in log.chunks(columns) for row in chunk.table.to_pylist()]


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20))
def test_a_value_that_spark_escapes_is_read_back(value):
    escaped = "".join(
        char if char.isascii() and char.isalnum() else "".join(f"%{byte:02X}" for byte in char.encode())
        for char in value
    )
    assert keys_of(f"/log/key={escaped}/part.csv") == {"key": value}


def test_the_innermost_folder_counts_and_a_default_partition_is_missing():
    assert keys_of("/log/a=1/b=x=y/a=2/c=__HIVE_DEFAULT_PARTITION__/d=/=e/f=g") == {
        "a": "2",
        "b": "x=y",
        "c": None,
        "d": None,
    }


def test_folders_are_columns_of_text_and_parquet_alike(tmp_path):
    write(tmp_path / "day=1" / "place=N%2FA" / "a.csv")
    table = pa.table({"click": [1], "user": ["c"]})
    (tmp_path / "day=02" / "place=__HIVE_DEFAULT_PARTITION__").mkdir(parents=True)
    pq.write_table(table, tmp_path / "day=02" / "place=__HIVE_DEFAULT_PARTITION__" / "b.parquet")
    log = open_log(tmp_path)
    assert log.columns == ("click", "user", "day", "place")
    assert rows(log, ["place", "user", "day"]) == [
        {"place": None, "user": "c", "day": "02"},
        {"place": "N/A", "user": "a", "day": "1"},
        {"place": "N/A", "user": "b", "day": "1"},
    ]
    assert rows(log, ["day"]) == [{"day": "02"}, {"day": "1"}, {"day": "1"}]
    assert [chunk.rows.tolist() for chunk in log.chunks(["day"])] == [[1], [1, 2]]


def test_one_file_and_a_glob_are_read_as_the_folder_is(tmp_path, monkeypatch):
    path = write(tmp_path / "day=1" / "a.csv")
    write(tmp_path / "day=2" / "a.csv")
    whole = rows(open_log(tmp_path), ["click", "day"])
    assert rows(open_log(str(tmp_path / "day=*" / "*.csv")), ["click", "day"]) == whole
    assert rows(open_log(path), ["click", "day"]) == whole[:2]
    monkeypatch.chdir(path.parent)
    assert rows(open_log("a.csv"), ["click", "day"]) == whole[:2]


def test_a_key_above_what_was_named_is_no_column_unless_somebody_asks(tmp_path):
    write(tmp_path / "seed=1" / "log" / "day=1" / "a.csv")
    log = open_log(tmp_path / "seed=1" / "log")
    assert log.columns == ("click", "user", "day")
    assert rows(log, ["seed"]) == [{"seed": "1"}] * 2
    beside = write(tmp_path / "seed=2" / "log" / "day=1" / "a.csv")
    both = open_log([tmp_path / "seed=1" / "log" / "day=1" / "a.csv", beside])
    assert both.columns == ("click", "user", "seed")  # here it tells rows apart


def test_a_file_outside_of_the_folders_lacks_the_column(tmp_path):
    write(tmp_path / "a.csv")
    write(tmp_path / "day=1" / "b.csv")
    log = open_log(tmp_path)
    assert log.columns == ("click", "user")
    with pytest.raises(DataError, match=r"where: .*/a\.csv\n  expected: column day, as in .*b\.csv"):
        log.chunks(["day"])


def test_a_column_in_file_and_folder_must_hold_one_value(tmp_path):
    write(tmp_path / "day=01" / "a.csv", "click,day\n1,1\n0,01\n")
    assert rows(open_log(tmp_path)) == [{"click": "1", "day": "1"}, {"click": "0", "day": "01"}]
    bad = write(tmp_path / "day=02" / "b.csv", "click,day\n1,2\n0,3\n")
    log = open_log(tmp_path)
    with pytest.raises(
        DataError, match=rf"where: {bad}, row 2, column day\n  expected: 02, as the folder says\n  got: 3"
    ):
        rows(log)
    assert len(rows(log, ["click"])) == 4  # who does not read it does not mind


def test_what_a_folder_holds_besides_the_log_is_said(tmp_path):
    log_file = write(tmp_path / "_day=1" / "a.csv")
    write(tmp_path / "plain.csv")
    for name in ("_SUCCESS", ".a.csv.crc", "_temporary/b.csv", "c.csv.bz2", "part-0001", "d.json"):
        write(tmp_path / name)
    os.symlink(tmp_path / "_day=1", tmp_path / "latest")
    os.symlink(tmp_path / "nowhere", tmp_path / "gone.csv")
    log = open_log(tmp_path)
    assert set(log.files) == {str(log_file), str(tmp_path / "plain.csv")}
    assert {os.path.relpath(path, tmp_path): reason for path, reason in log.left_out.items()} == {
        "_SUCCESS": "its name begins with _",
        ".a.csv.crc": "its name begins with .",
        "_temporary/b.csv": "in a folder whose name begins with _",
        "c.csv.bz2": "packed as bz2: only gzip is read",
        "part-0001": "without an ending, its format is not known",
        "d.json": "its ending is not that of a log",
        "latest": "a link to a folder, which is not followed",
        "gone.csv": "a link that leads nowhere",
    }
    assert str(tmp_path / "d.json") not in open_log([tmp_path, tmp_path / "plain.csv"], format="csv").left_out


def test_a_key_of_a_large_file_has_a_value_in_every_row(tmp_path):
    (tmp_path / "day=1").mkdir()
    pq.write_table(pa.table({"x": np.arange(100_000)}), tmp_path / "day=1" / "a.parquet", row_group_size=30_000)
    log = open_log(tmp_path)
    assert sum(chunk.table.column("day").to_pylist().count("1") for chunk in log.chunks(["x", "day"])) == 100_000
