"""What `prepare` writes follows from the rows: threads, memory, disk, chunks and where files are cut change no byte.

And it is the rows: what the cache holds, decoded through the encoder, is the canonical text of every cell.
"""

from __future__ import annotations

import json
import math
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.reference.canonical import canonical

import fieldwise as fw
from fieldwise.jobs.prepare.budget import Budget
from fieldwise.kernels.threads import num_threads, set_num_threads

CONFIG = """
[data]
train = {files}
split = "part"
label = "click"
weight = "weight"
group = "code"
[fields.city]
type = "category"
min_count = 2
[fields.code]
type = "category"
max_features = 3
[fields.price]
type = "number"
bins = 3
[fields.size]
type = "number"
scale = "log"
[fields.tags]
type = "bag"
[fields.tags_x_city]
cross = ["tags", "city"]
[fields.city_x_code]
cross = ["city", "code"]
buckets = 7
"""
TWO_PASSES = """
[fields.price_x_city]
cross = ["price", "city"]
"""
TEXTS = st.sampled_from(["", "Rome", "Oslo", "5", "5.0", "TRUE", "nan", "ä", "a b", "日本", "x" * 40])
NUMBERS = st.none() | st.sampled_from([0.0, -1.5, 2.0, 1e9]) | st.floats(-1e6, 1e6)
ROW = st.fixed_dictionaries(
    {
        "city": st.none() | TEXTS,
        "code": st.none() | st.integers(-3, 9),
        "price": NUMBERS,
        "size": NUMBERS,
        "tags": st.none() | st.lists(TEXTS, max_size=4),
        "click": st.sampled_from([0, 1, None]),
        "weight": st.sampled_from([0.0, 0.5, 1.0, -1.0]),
        "part": st.sampled_from(["train", "train", "train", "valid", "test", "none"]),
    }
)
TYPES = {
    "city": pa.string(), "code": pa.int64(), "price": pa.float64(), "size": pa.float64(), "tags": pa.list_(pa.string()),
    "click": pa.int8(), "weight": pa.float64(), "part": pa.string(),
}  # fmt: skip
CERTAIN = [
    {
        "city": "Rome",
        "code": 1,
        "price": 1.0,
        "size": 1.0,
        "tags": ["a"],
        "click": click,
        "weight": 1.0,
        "part": "train",
    }
    for click in (0, 1)
]
"""Without them a log may have one class only."""


@pytest.fixture
def threads():
    before = num_threads()
    yield set_num_threads
    set_num_threads(before)


def prepare(
    folder: Path,
    rows: list[dict[str, Any]],
    cuts: list[int],
    chunk_bytes: int,
    counter_bytes: int,
    spool_bytes: int = 1 << 30,
    more: str = "",
) -> Path:
    """Prepare rows that lie in files cut at `cuts`, within a budget that makes chunks and spills of these sizes."""
    folder.mkdir()
    bounds = [0, *sorted(cut % (len(rows) + 1) for cut in cuts), len(rows)]
    files = []
    for number, (start, stop) in enumerate(pairwise(bounds)):
        columns = {name: pa.array([row[name] for row in rows[start:stop]], kind) for name, kind in TYPES.items()}
        files.append(f"{number}.parquet")
        pyarrow.parquet.write_table(pa.table(columns), folder / files[-1], row_group_size=max(chunk_bytes // 64, 1))
    of = Budget.of
    with pytest.MonkeyPatch.context() as patch:
        limits = {"chunk_bytes": chunk_bytes, "counter_bytes": counter_bytes, "table_bytes": 0}
        usage = shutil.disk_usage(folder)._replace(free=2 * spool_bytes)
        patch.setattr(shutil, "disk_usage", lambda folder: usage)
        patch.setattr(Budget, "of", lambda schema, limit: of(schema, limit)._replace(**limits))
        return fw.prepare(fw.parse_config(CONFIG.format(files=files) + more, base=folder)).folder


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files, and of the rejects what does not depend on where files are cut."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "prepared.json"]
    found = {str(path.relative_to(folder)): path.read_bytes() for path in files}
    lines = [json.loads(line) for line in found["rejects.jsonl"].splitlines()]
    assert lines == sorted(lines, key=lambda line: (line["file"], line["row"]))
    kept = [[line[key] for key in ("column", "value", "reason")] for line in lines]
    return {**found, "rejects.jsonl": json.dumps(kept).encode()}


def with_an_unknown_class(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"click": 2} if row["part"] in ("valid", "test") and row["weight"] == 0.5 else row


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(ROW.map(with_an_unknown_class), max_size=60),
    cuts=st.lists(st.integers(0, 100), max_size=3),
    num=st.integers(1, 4),
    chunk_bytes=st.sampled_from([1, 300, 5_000, 1 << 20]),
    counter_bytes=st.sampled_from([0, 2_000, 1 << 20]),
    spool_bytes=st.sampled_from([0, 2_000, 1 << 30]),
    more=st.sampled_from(["", TWO_PASSES]),
)
def test_no_byte_depends_on_threads_memory_disk_chunks_or_files(
    tmp_path_factory, threads, rows, cuts, num, chunk_bytes, counter_bytes, spool_bytes, more
):
    folder, rows = tmp_path_factory.mktemp("same"), [*CERTAIN, *rows]
    threads(1)
    whole = contents(prepare(folder / "whole", rows, [], 1 << 20, 1 << 20, 0, more))
    threads(num)
    other = contents(prepare(folder / "other", rows, cuts, chunk_bytes, counter_bytes, spool_bytes, more))
    assert other == whole
    assert {"rejects.jsonl", "encoder.safetensors", "train/examples.bin", "train/manifest.json"} <= whole.keys()


@settings(max_examples=25)
@given(rows=st.lists(ROW, max_size=40))
def test_what_is_encoded_is_what_was_written(tmp_path_factory, rows):
    rows = [*CERTAIN, *rows]
    folder = tmp_path_factory.mktemp("trip")
    prepare(folder / "log", rows, [], 1 << 20, 1 << 20)
    prepared = fw.prepare(fw.parse_config(CONFIG.format(files=["0.parquet"]), base=folder / "log"))
    used = [row for row in rows if row["click"] is not None and row["weight"] >= 0 and row["part"] != "none"]
    assert prepared.summary["rows_rejected"] == len(rows) - len(used)
    encoder = prepared.encoder
    names = [field.name for field in encoder.schema.fields]
    for part, cache in prepared.parts.items():
        of_part = [row for row in used if row["part"] == part]
        batch, labels, weights, _ = cache.gather(np.arange(cache.num_examples))
        assert labels is not None
        assert weights is not None
        assert labels.tolist() == [row["click"] for row in of_part]
        assert weights.tolist() == [row["weight"] for row in of_part]
        layout = encoder.layout
        for name in ("city", "code"):
            ids = batch.ids[layout.single[names.index(name)]].tolist()
            for id_, text, row in zip(ids, encoder.feature_texts(name, ids), of_part, strict=True):
                expected = canonical(None if row[name] is None else str(row[name]))
                assert (id_ == 0) == (expected is None)
                assert id_ == 1 or text == expected
        bag = layout.bag[names.index("tags")]
        for b, row in enumerate(of_part):
            ids = batch.bag_ids[batch.offsets[bag, b] : batch.offsets[bag, b + 1]].tolist()
            values = [value for value in map(canonical, row["tags"] or []) if value is not None]
            texts = encoder.feature_texts("tags", ids)
            assert len(ids) == max(len(values), 1)
            assert all(id_ == 1 or text == value for id_, text, value in zip(ids, texts, values or [None], strict=True))
        size = batch.values[layout.value[names.index("size")]].tolist()
        missing = batch.ids[layout.single[names.index("size")]] == 0
        described = encoder.describe()["fields"]["size"]
        for value, none, row in zip(size, missing, of_part, strict=True):
            assert none == (row["size"] is None)
            if row["size"] is not None:
                curved = math.copysign(math.log1p(abs(row["size"])), row["size"])
                assert value == pytest.approx((curved - described["mean"]) / described["std"], rel=1e-5, abs=1e-6)
