from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fieldwise.data.log import open_log
from fieldwise.errors import DataError


def test_types_pass_through_as_they_are(tmp_path):
    table = pa.table(
        {
            "i": pa.array([1, None], pa.int8()),
            "s": pa.array(["a", None], pa.large_string()),
            "d": pa.array(["x", "y"]).dictionary_encode(),
            "l": pa.array([["a", "b"], []]),
            "t": pa.array([datetime.datetime(2026, 1, 1)] * 2),
            "p.q": pa.array([True, False]),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    log = open_log(tmp_path / "a.parquet")
    [chunk] = log.chunks()
    assert log.columns == tuple(table.column_names)
    assert chunk.table.to_pydict() == table.to_pydict()
    assert chunk.table.schema.types == table.schema.types
    assert chunk.rows.tolist() == [1, 2]
    assert chunk.rejects == []


def test_only_the_columns_asked_for_come_in_the_order_asked(tmp_path):
    pq.write_table(pa.table({"a": [1], "a.b": [2], "c": [[3]]}), tmp_path / "a.parquet")
    log = open_log(tmp_path / "a.parquet")
    for columns in (["c", "a"], ["a.b"], ["a"]):
        [chunk] = log.chunks(columns)
        assert chunk.table.column_names == columns


def test_rows_are_numbered_through_row_groups_and_chunks(tmp_path):
    pq.write_table(pa.table({"a": np.arange(150_000)}), tmp_path / "a.parquet", row_group_size=70_000)
    chunks = list(open_log(tmp_path / "a.parquet").chunks())
    assert max(chunk.table.num_rows for chunk in chunks) <= 65_536
    rows = np.concatenate([chunk.rows for chunk in chunks])
    values = np.concatenate([chunk.table.column("a").to_numpy() for chunk in chunks])
    assert np.array_equal(rows, np.arange(1, 150_001))
    assert np.array_equal(values, rows - 1)


def test_chunks_of_wide_rows_hold_fewer_rows(tmp_path):
    pq.write_table(
        pa.table({"a": ["x" * 100_000 + str(i) for i in range(1500)]}), tmp_path / "a.parquet", compression="none"
    )
    chunks = list(open_log(tmp_path / "a.parquet").chunks())
    assert max(chunk.table.nbytes for chunk in chunks) < 1 << 27
    assert sum(chunk.table.num_rows for chunk in chunks) == 1500


def test_a_file_without_rows_has_columns(tmp_path):
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), tmp_path / "a.parquet")
    log = open_log(tmp_path / "a.parquet")
    assert log.columns == ("a",)
    assert sum(chunk.table.num_rows for chunk in log.chunks()) == 0


def test_two_columns_of_one_name_are_refused(tmp_path):
    pq.write_table(pa.Table.from_arrays([pa.array([1])] * 2, names=["a", "a"]), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="duplicate column names"):
        open_log(tmp_path / "a.parquet")


def test_a_damaged_footer_is_refused_when_the_log_is_opened(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    data[-12:-8] = b"\xff" * 4
    data[-8:-4] = (2**31 - 1).to_bytes(4, "little")
    (tmp_path / "a.parquet").write_bytes(data)
    with pytest.raises(DataError, match="Parquet file is damaged"):
        open_log(tmp_path / "a.parquet")


def test_a_damaged_page_is_refused_where_the_file_has_checksums(tmp_path):
    path = tmp_path / "a.parquet"
    table = pa.table({"a": np.random.default_rng(0).random(1000)})
    pq.write_table(table, path, write_page_checksum=True, use_dictionary=False, compression="none")
    data = bytearray(path.read_bytes())
    data[2000] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"Parquet file is damaged\n  where: .*after row 0"):
        list(open_log(path).chunks())
