"""Rows that nobody can use, by the thousand: each is rejected with its place and reason, and no other row is changed.

The logs are written by `tests.malformed`, which knows what it broke, and read by `tests.reference.rows`, which shares
no code with ours. Rows read are rows accepted and rejected, whatever is in them.
"""

from __future__ import annotations

import gzip
import json
import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from tests import malformed
from tests.malformed import COLUMNS, TextFile
from tests.reference import rows as reference

import fieldwise as fw
from fieldwise.data.cache import Cache
from fieldwise.errors import DataError
from fieldwise.features.encoder import Encoder

CONFIG = """
[data]
train = ["log"]
label = "click"
classes = ["0", "1"]
weight = "weight"
[fields.city]
type = "category"
[fields.age]
type = "number"
scale = "none"
[fields.tags]
type = "bag"
weighted = true
norm = "none"
[fields.when]
type = "time"
part = "hour"
[model]
kind = "lr"
[train]
epochs = 1
threads = 1
"""
SPARSE = """
[data]
train = ["log"]
label = "label"
classes = ["0", "1"]
[model]
kind = "lr"
[train]
epochs = 1
threads = 1
"""


def text_log(folder: Path, num_malformed: int, seed: int) -> list[TextFile]:
    """Write a log of CSV and TSV files with at least so many malformed rows."""
    rng = random.Random(seed)
    (folder / "log").mkdir(parents=True)
    (folder / "fieldwise.toml").write_text(CONFIG)
    found: list[TextFile] = []
    while sum(file.kinds.total() for file in found) < num_malformed:
        number = len(found)
        name = f"part-{number:04d}.{('csv', 'tsv', 'csv.gz', 'tsv.gz')[number % 4]}"
        share = (0.6, 0.02, 0.95, 0.3)[number // 4 % 4]
        found.append(malformed.text_file(folder / "log" / name, rng, rng.choice([40, 1500, 4000]), share))
    return found


def meaning_of(file: TextFile) -> list[reference.Row]:
    data = file.path.read_bytes()
    data = gzip.decompress(data) if file.path.name.endswith(".gz") else data
    header, *rows = reference.delimited(data, b"\t" if ".tsv" in file.path.name else b",")
    assert [name.decode() for name in header] == list(COLUMNS)
    return reference.meaning_of_cells(rows, COLUMNS)


def rejects_of(path: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """Return the lines of a rejects file by place; no place is there twice, and every line is complete."""
    lines = [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []
    by_place = {(line["file"], line["row"]): line for line in lines}
    assert len(by_place) == len(lines)
    for line in lines:
        assert line.keys() >= {"file", "row", "column", "value", "reason"}
        assert line["reason"]
    return by_place


def assert_rejected(line: dict[str, Any], row: reference.Row) -> None:
    """Check that a reject blames a column that is to blame; a row of the wrong length blames none."""
    blamed = line["column"]
    assert blamed in row["bad"], (line, row)
    if blamed is None:
        assert "expected 6 cells" in line["reason"] or "a quote that opens a cell" in line["reason"], line


def decoded(prepared: fw.Prepared) -> list[dict[str, Any]]:
    """Return what the cache holds, example by example, as values."""
    encoder = prepared.encoder
    assert [field.name for field in encoder.schema.fields] == ["age", "city", "tags", "when"]
    cache: Cache = prepared.parts["train"]
    batch, labels, weights, _ = cache.gather(np.arange(cache.num_examples))
    assert labels is not None
    assert weights is not None
    tags = encoder.feature_texts("tags", batch.bag_ids)
    offsets = batch.offsets[0]
    return [
        {"label": str(label), "weight": float(weight), "city": city, "age": float(age) if id_ else None, "hour": hour,
         "tags": [(tags[at], float(batch.bag_weights[at])) for at in range(offsets[b], offsets[b + 1])]}
        for b, (label, weight, city, id_, age, hour) in enumerate(
            zip(labels, weights, encoder.feature_texts("city", batch.ids[1]), batch.ids[0], batch.values[0],
                _hours(encoder, batch.ids[2]), strict=True)
        )
    ]  # fmt: skip


def _hours(encoder: Encoder, ids: np.ndarray) -> list[str | None]:
    texts = encoder.feature_texts("when", ids)
    return [("missing", "no time")[id_] if id_ < 2 else text for id_, text in zip(ids, texts, strict=True)]


def as_encoded(row: reference.Row) -> dict[str, Any]:
    """Return what the cache must hold of a row: numbers as float32."""
    age = row["age"]
    return {
        "label": row["label"], "weight": row["weight"], "city": row["city"], "tags": row["tags"], "hour": row["hour"],
        "age": None if age is None else reference.float32(max(min(age, 3.4028234663852886e38), -3.4028234663852886e38)),
    }  # fmt: skip


def check_prepare(folder: Path, meanings: dict[str, list[reference.Row]]) -> None:
    prepared = fw.prepare(fw.load_config(folder / "fieldwise.toml"))
    rejects = rejects_of(prepared.folder / "rejects.jsonl")
    expected: list[dict[str, Any]] = []
    for path, rows in meanings.items():
        for number, row in enumerate(rows, start=1):
            line = rejects.pop((path, number), None)
            if row["bad"]:
                assert line is not None, (row["bad"], row, path, number)
                assert_rejected(line, row)
            else:
                assert line is None, (line, row)
                expected.append(as_encoded(row))
    assert not rejects, "rows that are not there"
    summary = prepared.summary
    assert summary["rows_read"] == sum(map(len, meanings.values()))
    assert summary["rows_read"] - summary["rows_rejected"] == len(expected)
    got = decoded(prepared)
    assert len(got) == len(expected)
    for ours, theirs in zip(got, expected, strict=True):
        assert ours == theirs


def train_clean(folder: Path, config: str = CONFIG, log: bytes | None = None, name: str = "log.csv") -> Path:
    """Train a model on rows that are all good, for other rows to be judged by."""
    (folder / "clean").mkdir(parents=True)
    if log is None:
        rng = random.Random(1)
        rows = [[*COLUMNS], *([cell.decode() for cell in malformed.good(rng)] for _ in range(300))]
        table = pa.table(dict(zip(COLUMNS, zip(*rows[1:], strict=True), strict=True)))
        pyarrow.csv.write_csv(table, folder / "clean" / name)
    else:
        (folder / "clean" / name).write_bytes(log)
    (folder / "clean" / "fieldwise.toml").write_text(config.replace('"log"', f'"{name}"'))
    fw.train(fw.load_config(folder / "clean" / "fieldwise.toml"), folder / "run")
    return folder / "run"


def check_predict(folder: Path, meanings: dict[str, list[reference.Row]]) -> None:
    """Predict every row: label and weight are not asked for, so what is wrong there is not seen."""
    out = folder / "predictions.parquet"
    prediction = fw.predict(train_clean(folder), folder / "log", out)
    rejects = rejects_of(folder / "predictions.parquet.rejects.jsonl")
    needed = {None, "age", "city", "tags"}
    numbers: list[int] = []
    total = 0
    for path, rows in meanings.items():
        for number, row in enumerate(rows, start=1):
            total += 1
            line = rejects.pop((path, number), None)
            if row["bad"] & needed:
                assert line is not None, (row["bad"], row, path, number)
                assert_rejected(line, row)
            else:
                assert line is None, (line, row)
                numbers.append(total)
    assert not rejects
    table = pa.parquet.read_table(out)
    assert table["row"].to_pylist() == numbers
    assert np.isfinite(table["probability"].to_numpy()).all()
    assert prediction.examples + prediction.rejected_rows == total


def check_text(folder: Path, num_malformed: int, seed: int) -> Counter[str]:
    log = text_log(folder, num_malformed, seed)
    meanings = {str(file.path): meaning_of(file) for file in log}
    for file in log:
        bad = sum(bool(row["bad"]) for row in meanings[str(file.path)])
        spared = sum(file.kinds[kind] for kind in malformed.ODD)
        assert bad == file.kinds.total() - spared, "the reference sees what was planned"
    check_prepare(folder, meanings)
    check_predict(folder, meanings)
    return sum((file.kinds for file in log), Counter())


def test_malformed_rows_of_csv_are_rejected_one_by_one_and_no_other_row_is_changed(tmp_path):
    kinds = check_text(tmp_path, 3_000, seed=0)
    assert set(malformed.KINDS) <= set(kinds)


@pytest.mark.long
def test_forty_thousand_malformed_rows_of_csv(tmp_path):
    kinds = check_text(tmp_path, 40_000, seed=1)
    assert {*malformed.KINDS, *malformed.ODD} == set(kinds)


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(6, 100))])
def test_a_file_with_open_quotes_is_refused_by_its_line_or_every_row_is_used_or_rejected(tmp_path, seed):
    rng = random.Random(seed)
    (tmp_path / "log").mkdir()
    (tmp_path / "fieldwise.toml").write_text(CONFIG)
    name = f"part.{('csv', 'tsv', 'csv.gz', 'tsv.gz')[seed % 4]}"
    file = malformed.text_file(tmp_path / "log" / name, rng, rng.choice([40, 300]), 0.05, num_open=seed % 3 + 1)
    refused = ""
    try:
        prepared = fw.prepare(fw.load_config(tmp_path / "fieldwise.toml"))
    except DataError as error:
        refused = str(error)
    if refused:
        assert "a quote is opened and not closed" in refused
        assert f"{file.path}, row " in refused
        return
    rows = meaning_of(file)
    assert prepared.summary["rows_read"] == len(rows)
    rejects = {row for _, row in rejects_of(prepared.folder / "rejects.jsonl")}
    assert len(rejects) + len(decoded(prepared)) == len(rows)
    # Rows of another length are gone for certain; which cells of others will do may follow from what was swallowed.
    assert rejects >= {number for number, row in enumerate(rows, start=1) if None in row["bad"]}


def check_sparse(folder: Path, num_malformed: int, parts: int, seed: int) -> None:
    rng = random.Random(seed)
    (folder / "log").mkdir(parents=True)
    (folder / "fieldwise.toml").write_text(SPARSE)
    ending = "libsvm" if parts == 2 else "libffm"
    files: list[TextFile] = []
    while sum(file.kinds.total() for file in files) < num_malformed:
        name = f"{len(files):03d}.{ending}{('', '.gz')[len(files) % 2]}"
        files.append(
            malformed.libsvm_file(folder / "log" / name, rng, rng.choice([50, 2000]), rng.choice([0.1, 0.7]), parts)
        )
    prepared = fw.prepare(fw.load_config(folder / "fieldwise.toml"))
    rejects = rejects_of(prepared.folder / "rejects.jsonl")
    expected: list[dict[str, list[tuple[str, float]]]] = []
    labels: list[str] = []
    num_rows = 0
    for file in files:
        data = file.path.read_bytes()
        rows = reference.libsvm(gzip.decompress(data) if file.path.name.endswith(".gz") else data, parts)
        num_rows += len(rows)
        assert sum(row is None or row[0] not in ("0", "1") for row in rows) == file.kinds.total()
        for number, row in enumerate(rows, start=1):
            line = rejects.pop((str(file.path), number), None)
            if row is None or row[0] not in ("0", "1"):
                assert line is not None, (file.path, number, row)
                assert line["column"] == (None if row is None else "label")
                continue
            assert line is None, (line, row)
            by_field: dict[str, list[tuple[str, float]]] = {}
            for token in row[1]:
                *field, value, weight = token.split(":")
                name = f"field_{int(field[0])}" if field else "features"
                by_field.setdefault(name, []).append((value, reference.float32(float(weight))))
            expected.append(by_field)
            labels.append(row[0])
    assert not rejects
    assert prepared.summary["rows_read"] == num_rows == len(expected) + prepared.summary["rows_rejected"]
    cache = prepared.parts["train"]
    batch, got_labels, _, _ = cache.gather(np.arange(cache.num_examples))
    assert got_labels is not None
    assert got_labels.astype(str).tolist() == labels
    names = [field.name for field in prepared.encoder.schema.fields]
    for line, name in enumerate(names):
        texts = prepared.encoder.feature_texts(name, batch.bag_ids[batch.offsets[line, 0] : batch.offsets[line, -1]])
        weights = batch.bag_weights[batch.offsets[line, 0] : batch.offsets[line, -1]].tolist()
        offsets = (batch.offsets[line] - batch.offsets[line, 0]).tolist()
        for b, row in enumerate(expected):
            span = slice(offsets[b], offsets[b + 1])
            values = row.get(name, [(None, 1.0)])
            length = math.hypot(*(weight for _, weight in values)) or 1.0  # bags are divided by it
            assert texts[span] == [value for value, _ in values]
            assert weights[span] == pytest.approx([weight / length for _, weight in values], rel=1e-6)
    clean = b"".join(b"%d %s\n" % (i % 2, b":".join([b"%d" % (i % 9)] * (parts - 1) + [b"1"])) for i in range(200))
    run = train_clean(folder, SPARSE, clean, f"clean.{ending}")
    prediction = fw.predict(run, folder / "log", folder / "out.csv")
    assert prediction.examples + prediction.rejected_rows == num_rows


@pytest.mark.parametrize("parts", [2, 3], ids=["libsvm", "libffm"])
@pytest.mark.parametrize(
    "num_malformed", [pytest.param(500, id="some"), pytest.param(5_000, id="thousands", marks=pytest.mark.long)]
)
def test_nonsense_in_libsvm_and_libffm_is_rejected_row_by_row(tmp_path, parts, num_malformed):
    check_sparse(tmp_path, num_malformed, parts, seed=num_malformed + parts)
