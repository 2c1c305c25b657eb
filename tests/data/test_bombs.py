"""Files of a few kB that unpack to gigabytes: refused by name, in memory that is bounded."""

from __future__ import annotations

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fieldwise.data.find_files import find_files
from fieldwise.data.log import open_log
from fieldwise.data.sources import rows_per_byte
from fieldwise.errors import DataError

MB = 1 << 20


def read_all(path) -> int:
    return sum(chunk.table.num_rows for chunk in open_log(path).chunks())


@pytest.mark.parametrize(("ending", "head"), [("csv", b"a,b\n1,2\n"), ("libsvm", b"1 1:1\n")])
def test_a_row_without_an_end_in_a_gzipped_file_is_refused(tmp_path, ending, head):
    path = tmp_path / f"log.{ending}.gz"
    path.write_bytes(gzip.compress(head + b"1" * (70 * MB), 1))
    with pytest.raises(DataError, match="does not end"):
        read_all(path)


def test_empty_lines_without_end_are_read_in_pieces(tmp_path):
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n1,2\n" + b"\n" * (40 * MB) + b"3,4\n", 1))
    assert read_all(path) == 2


def test_rows_of_a_gzipped_file_are_counted_without_unpacking_it(tmp_path):
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * (8 * MB), 1))
    [source] = find_files(path)[0]
    assert rows_per_byte(source) * path.stat().st_size == pytest.approx(8 * MB, rel=0.1)


@pytest.mark.parametrize("as_dictionary", [True, False], ids=["dictionary", "plain type"])
def test_one_large_value_that_many_rows_of_a_parquet_file_share_is_refused(tmp_path, as_dictionary):
    path = tmp_path / "log.parquet"
    shared = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100, np.int32)), pa.array(["x" * (66 * MB)]))
    pq.write_table(pa.table({"a": shared, "b": range(100)}), path, compression="zstd", store_schema=as_dictionary)
    assert path.stat().st_size < MB
    with pytest.raises(DataError, match=r"column a(.|\n)*bytes a cell"):
        read_all(path)


def test_a_cell_of_a_parquet_file_that_is_larger_than_any_should_be_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table({"a": ["x" * (130 * MB)], "b": [1]}), path, compression="zstd", use_dictionary=False)
    with pytest.raises(DataError, match=r"column a(.|\n)*bytes a cell"):
        open_log(path)


def test_what_compresses_well_is_read_as_it_is(tmp_path):
    path = tmp_path / "log.parquet"
    texts = pa.array(["https://example.org/a/page/with/a/long/name"] * 2_000_000)
    pq.write_table(pa.table({"a": texts}), path, compression="zstd", use_dictionary=False, row_group_size=2_000_000)
    first = next(iter(open_log(path).chunks())).table
    assert first.column("a").combine_chunks() == texts[: first.num_rows]
