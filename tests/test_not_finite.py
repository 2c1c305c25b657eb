"""A NaN or an infinity in one cell, wherever and however written: missing, or a rejected row, never a number."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tests.logs import write

import fieldwise as fw

NUM_ROWS, BAD_ROW = 120, 7
CONFIG = """
[data]
train = "log.{ending}"
label = "{label}"
{more}
[model]
kind = "lr"
[train]
threads = 1
[pretrain]
epochs = 1
"""
FIELDS = """weight = "w"
[fields.x]
type = "number"
[fields.b]
type = "number"
bins = 4
[fields.t]
type = "bag"
weighted = true
"""


def make_columns() -> dict[str, list[object]]:
    rng = np.random.default_rng(0)
    label = (np.arange(NUM_ROWS) % 2).tolist()
    numbers = [rng.normal(size=NUM_ROWS).round(3).tolist() for _ in range(2)]
    return {"x": numbers[0], "b": numbers[1], "t": ["a:0.5|b:2"] * NUM_ROWS, "w": [1.5] * NUM_ROWS, "y": label}


def prepared_with(folder: Path, ending: str, column: str, value: object) -> tuple[fw.Config, list[dict[str, object]]]:
    """Write a log with one such cell, train on it, and return the configuration and the rejects."""
    columns = make_columns()
    texts = {name: [str(cell) for cell in cells] for name, cells in columns.items()}
    if ending == "csv":
        texts[column][BAD_ROW] = str(value)
        table = pa.table(texts)
    else:
        columns[column][BAD_ROW] = value if column == "t" else float(value)
        table = pa.table(columns)
    write(table, folder / f"log.{ending}")
    text = CONFIG.format(ending=ending, label="y", more=FIELDS)
    config = fw.parse_config(text, base=folder)
    prepared = fw.prepare(config)
    assert prepared.summary["classes"] == ["0", "1"]
    cache = prepared.parts["train"]
    examples = cache.gather(np.arange(cache.num_examples))
    parts = (examples.batch.values, examples.batch.bag_weights, examples.weights)
    assert all(np.isfinite(part).all() for part in parts if part is not None)
    lines = (prepared.folder / "rejects.jsonl").read_text().splitlines()
    assert cache.num_examples + len(lines) == NUM_ROWS
    return config, [json.loads(line) for line in lines]


IN_CSV = [
    *((column, value) for column in ("x", "b", "w") for value in ("inf", "-inf", "Infinity", "1e999")),
    ("w", "nan"), ("w", ""), ("w", "1e39"),
    *(("t", value) for value in ("a:inf", "a:nan", "b:1|a:-inf", "a:1e999", "a:1e39")),
    *(("y", value) for value in ("nan", "inf", "-inf", "")),
]  # fmt: skip


@pytest.mark.parametrize(("column", "value"), IN_CSV)
def test_in_a_csv_it_rejects_its_row_alone(tmp_path, column, value):
    _, rejects = prepared_with(tmp_path, "csv", column, value)
    assert [(line["row"], line["column"]) for line in rejects] == [(BAD_ROW + 1, column)]


IN_PARQUET = [
    *((column, value) for column in ("x", "b", "w", "y") for value in (math.inf, -math.inf)),
    ("w", math.nan), ("y", math.nan), ("t", "a:inf"), ("t", "a:nan"),
]  # fmt: skip


@pytest.mark.parametrize(("column", "value"), IN_PARQUET)
def test_in_a_parquet_file_it_rejects_its_row_alone(tmp_path, column, value):
    _, rejects = prepared_with(tmp_path, "parquet", column, value)
    assert [(line["row"], line["column"]) for line in rejects] == [(BAD_ROW + 1, column)]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("column", ["x", "b"])
def test_a_number_that_is_none_is_a_missing_one(tmp_path, ending, column):
    _, rejects = prepared_with(tmp_path, ending, column, math.nan)
    assert rejects == []


@pytest.mark.parametrize("row", [b"1 3:nan", b"1 3:inf", b"0 3:-inf", b"1 3:1e999", b"nan 3:1", b"inf 3:1"])
def test_in_libsvm_it_rejects_its_row_alone(tmp_path, row):
    lines = [b"%d %d:1 9:0.5" % (number % 2, number % 5) for number in range(NUM_ROWS)]
    lines[BAD_ROW] = row
    (tmp_path / "log.libsvm").write_bytes(b"\n".join(lines) + b"\n")
    config = fw.parse_config(CONFIG.format(ending="libsvm", label="label", more=""), base=tmp_path)
    prepared = fw.prepare(config)
    rejects = [json.loads(line) for line in (prepared.folder / "rejects.jsonl").read_text().splitlines()]
    assert [line["row"] for line in rejects] == [BAD_ROW + 1]
    assert prepared.summary["classes"] == ["0", "1"]


def test_predicting_names_the_row_that_has_one_and_gives_numbers_for_all_others(tmp_path):
    config, _ = prepared_with(tmp_path, "parquet", "x", 0.5)
    fw.train(config, tmp_path / "run")
    predictor = fw.Predictor(tmp_path / "run")
    for column, value in (("x", math.inf), ("b", -math.inf), ("t", "a:nan")):
        columns = {name: cells[:5] for name, cells in make_columns().items()}
        columns[column][3] = value
        with pytest.raises(fw.DataError, match=f"row 4, column {column}"):
            predictor.predict(pa.table(columns))
    columns = {name: cells[:5] for name, cells in make_columns().items()}
    columns["x"][3] = math.nan
    assert np.isfinite(predictor.predict(pa.table(columns))).all()
