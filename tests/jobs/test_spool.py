"""The spool: what was put aside comes back, and where it does not fit the log is read again."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tests.logs import config_text, make_table, write

import fieldwise as fw
from fieldwise.data.chunk import Chunk
from fieldwise.features.cells import Cells
from fieldwise.features.encoder import Encoder
from fieldwise.jobs.prepare import passes
from fieldwise.jobs.prepare.spool import Record, Spool
from fieldwise.schema import Field, Schema

FIELDS = (
    Field(name="city", column="city", min_count=2),
    Field(name="age", type="number", column="age", scale="log"),
    Field(name="tags", type="bag", column="tags", weighted=True),
    Field(name="pair", type="cross", parts=("city", "tags"), buckets=10),
)
NO_TABLE = pa.table({})
TABLE = pa.table(
    {
        "city": pa.array(["Rome", None, "Oslo", "Rome", "Bern"]).dictionary_encode(),
        "age": ["1.5", "x", None, "0.1", "7"],
        "tags": ["a:1|b:2", "a:1", None, "c:0.5", "a:1"],
        "click": [0, 1, 1, None, 0],
        "weight": [1.0, 2.0, 0.25, 1.0, 3.0],
        "user": ["u", "v", None, "u", "w"],
    }
)


def assert_same(one, other, *, types: bool) -> None:
    """Compare what hold arrays, and the types of these or their numbers alone; what reads texts is passed over."""
    if isinstance(one, np.ndarray):
        assert not types or one.dtype == other.dtype
        assert np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_same(one[name], other[name], types=types)
    elif isinstance(one, Cells):
        assert_same(one._replace(texts=None, rejects=())[:], other._replace(texts=None, rejects=())[:], types=types)
    elif isinstance(one, tuple | list):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b, types=types)
    else:
        assert one == other


def test_records_come_back_as_they_were_written_and_encode_as_their_rows_do(tmp_path):
    encoder = Encoder(Schema(fields=FIELDS, label="click", weight="weight", group="user"))
    spool = Spool(tmp_path, 10)
    rows = [np.array([3, 4, 5, 6, 7]), np.array([9, 12, 13, 400, 70_000]), np.array([], np.int64)]
    tables = [TABLE, TABLE.slice(0), TABLE.slice(0, 0)]
    line = {"file": "a.csv", "row": 8, "column": None, "value": "é", "reason": "short"}
    records = [
        Record(
            6,
            [line],
            {"valid": (Chunk(NO_TABLE, "a.csv", 1, of, []), encoder.condense(encoder.read(table), learn=learn))},
        )
        for of, table, learn in zip(rows, tables, [True, False, True], strict=True)
    ]
    places = [spool.write(record) for record in records]
    assert list(tmp_path.iterdir()) == []
    for place, record in zip(places, records, strict=True):
        back = spool.read(place)
        assert back[:2] == record[:2]
        assert_same(back.parts["valid"], record.parts["valid"], types=False)
    encoder.finish()
    for place, table in zip(places, tables, strict=True):
        assert_same(encoder.encode(spool.read(place).parts["valid"][1]), encoder.transform(table), types=True)
    spool.close()


def make_log(folder: Path) -> None:
    write(make_table(400), folder / "log.csv")
    (folder / "fieldwise.toml").write_text(config_text("log.csv", more=""))


def prepared(folder: Path) -> tuple[dict[str, bytes], int]:
    """Prepare a log; return all files, and how often a pass began to read it."""
    num_reads = 0
    read = passes._read

    def counted(*arguments):
        nonlocal num_reads
        num_reads += 1
        return read(*arguments)

    shutil.rmtree(folder / ".fieldwise", ignore_errors=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "_read", counted)
        of = fw.prepare(fw.load_config(folder / "fieldwise.toml")).folder
    return {str(path.relative_to(of)): path.read_bytes() for path in of.rglob("*") if path.is_file()}, num_reads


def test_the_log_is_read_once_where_there_is_room_and_again_where_there_is_none(tmp_path, monkeypatch):
    make_log(tmp_path)
    once, num_reads = prepared(tmp_path)
    assert num_reads == 1
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    assert prepared(tmp_path) == (once, 2)


def test_a_disk_that_is_full_before_its_time_is_no_error_of_the_spool(tmp_path, monkeypatch):
    make_log(tmp_path)
    once, _ = prepared(tmp_path)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    assert prepared(tmp_path) == (once, 2)


def test_whether_the_whole_log_will_fit_is_judged_by_its_beginning(tmp_path, monkeypatch):
    encoder = Encoder(Schema(fields=FIELDS, label="click"))
    rows = encoder.condense(encoder.read(TABLE), learn=True)
    record = Record(5, [], {"train": (Chunk(NO_TABLE, "a", 0, np.arange(5), []), rows)})
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    monkeypatch.setattr("fieldwise.jobs.prepare.spool._JUDGED_BYTES", 10)
    few, many = Spool(tmp_path, 10), Spool(tmp_path, 10_000_000)
    for spool in (few, many):
        spool.write(record)
    assert (few.is_open, many.is_open) == (True, False)
