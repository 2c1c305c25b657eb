"""How many rows there are, before they are read."""

from __future__ import annotations

import gzip

import numpy as np
import pyarrow as pa
import pytest
from tests.logs import write

from fieldwise.data.log import open_log
from fieldwise.errors import DataError


def table(num_rows: int) -> pa.Table:
    rng = np.random.default_rng(0)
    return pa.table({"click": rng.integers(0, 2, num_rows), "item": [f"i{n}" for n in rng.integers(0, 999, num_rows)]})


def test_parquet_says_how_many(tmp_path):
    paths = [str(write(table(num), tmp_path / f"{num}.parquet")) for num in (10, 70_000)]
    assert open_log(paths).count_rows() == (70_010, True)


def test_text_packed_or_not_is_estimated_by_its_first_lines(tmp_path):
    path = write(table(100_000), tmp_path / "log.csv")
    packed = tmp_path / "log.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert 95_000 < open_log(path).count_rows()[0] < 105_000
    assert 90_000 < open_log(packed).count_rows()[0] < 110_000


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "log.csv.gz"
    packed = bytearray(gzip.compress(np.random.default_rng(0).bytes(300_000).replace(b"\0", b"0"), mtime=0))
    packed[200_000:200_100] = bytes(100)
    path.write_bytes(packed)
    with pytest.raises(DataError, match=r"log\.csv\.gz"):
        open_log(path).count_rows()
