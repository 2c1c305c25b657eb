"""Rows as programs have them: every kind gives what the same rows give as an Arrow table."""

from __future__ import annotations

import copy
import datetime
import enum
import math
import pickle
import shutil
import time
import uuid
from array import array
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.predict.conftest import QUICK, log_rows

import fieldwise as fw
from fieldwise.data.tables import as_table
from fieldwise.errors import DataError
from fieldwise.features.canonical import canonical
from fieldwise.jobs.prepare.logs import with_tables

RECORDS = [
    {"user": "00001", "ts": "2026-11-02 10:00:00", "price": 0.5, "rid": "a"},
    {"user": "00002", "ts": None, "price": None, "rid": "b"},
    {"user": None, "ts": "2026-11-03 11:00:00", "price": 2, "rid": "c"},
]
COLUMNS = {name: [row[name] for row in RECORDS] for name in RECORDS[0]}


USERS = pl.Enum(["00001", "00002"])


class Frame:
    """What offers the Arrow C stream, and nothing else."""

    def __arrow_c_stream__(self, requested_schema=None):
        return pa.table(COLUMNS).__arrow_c_stream__(requested_schema)


KINDS = {
    "list of dicts": lambda: RECORDS,
    "list of dicts that lack keys": lambda: [{k: v for k, v in row.items() if v is not None} for row in RECORDS],
    "dict of lists": lambda: COLUMNS,
    "dict of arrays": lambda: {**COLUMNS, "price": np.array([0.5, np.nan, 2])},
    "dict of series": lambda: {name: pd.Series(values, dtype=object) for name, values in COLUMNS.items()},
    "record batch": lambda: pa.table(COLUMNS).to_batches()[0],
    "reader": lambda: pa.table(COLUMNS).to_reader(),
    "Arrow C stream": Frame,
    "pandas": lambda: pd.DataFrame(RECORDS),
    "pandas of objects": lambda: pd.DataFrame(RECORDS, dtype=object),
    "pandas of categories": lambda: pd.DataFrame(RECORDS).astype({"user": "category", "price": "Float32"}),
    "pandas with an index": lambda: pd.DataFrame(RECORDS).set_index("rid"),
    "what nobody reads": lambda: {**COLUMNS, 5: [1, 2, 3], "seen": [object(), 1, [2]]},
    "pandas with more": lambda: pd.DataFrame(RECORDS).assign(seen=[object(), 1, {}]).rename(columns={"seen": 0}),
    "other arrays": lambda: {**COLUMNS, "price": array("d", [0.5, math.nan, 2])},
    "long doubles": lambda: {**COLUMNS, "price": np.array([0.5, np.nan, 2], dtype="longdouble")},
    "a tensor": lambda: {**COLUMNS, "price": torch.tensor([0.5, math.nan, 2])},
    "run-end encoded": lambda: pa.table({**COLUMNS, "user": pc.run_end_encode(pa.array(COLUMNS["user"]))}),
    "polars": lambda: pl.DataFrame(RECORDS),
    "polars of enumerations": lambda: pl.DataFrame(RECORDS).with_columns(pl.col("user").cast(USERS)),
    "polars of categories": lambda: pl.DataFrame(RECORDS).with_columns(pl.col("user").cast(pl.Categorical)),
    "structured array": lambda: np.array(
        [tuple(row.values()) for row in RECORDS], dtype=[("user", "O"), ("ts", "O"), ("price", "f8"), ("rid", "U1")]
    ),
}


@pytest.fixture(scope="module")
def predictor(run) -> fw.Predictor:
    return fw.Predictor(run)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_rows_gives_what_an_arrow_table_gives(predictor, kind):
    found, expected = predictor.predict(KINDS[kind]()), predictor.predict(pa.table(COLUMNS))
    assert found.tobytes() == expected.tobytes()


def test_one_row_may_be_a_dict_or_a_record(predictor):
    expected = predictor.predict(pa.table(COLUMNS).slice(0, 1))
    assert expected.shape == (1,)
    assert predictor.predict(RECORDS[0]) == expected
    assert predictor.predict(KINDS["structured array"]()[0]) == expected


def test_an_array_without_dimensions_is_a_value(predictor):
    row = {**RECORDS[0], "price": np.array(0.5)}
    assert predictor.predict(row) == predictor.predict(RECORDS[0])


@pytest.mark.parametrize(
    "rows", [[], pd.DataFrame(), pl.DataFrame(), pa.table(COLUMNS).slice(0, 0), pd.DataFrame(COLUMNS)[:0]]
)
def test_no_rows_give_no_rows(predictor, rows):
    assert predictor.predict(rows).shape == (0,)


@pytest.mark.parametrize(
    "rows",
    [
        "00001",
        5,
        None,
        (row for row in RECORDS),
        {"user", "ts"},
        [["00001", 1]],
        [None],
        np.zeros((2, 2)),
        pd.Series([1]),
        pl.Series([1]),
        pl.LazyFrame(COLUMNS),
        pa.dataset.dataset(pa.table(COLUMNS)),
        [pa.table(COLUMNS)],
        {"user": {"a"}},
        {"user": (text for text in "ab")},
        pd.DataFrame([[1, 2]]),
    ],
    ids=lambda rows: type(rows).__name__,
)
def test_what_is_no_table_is_a_type_error_that_says_what_is_taken(predictor, rows):
    with pytest.raises(TypeError, match=r"rows are|a column is|names of columns are"):
        predictor.predict(rows)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"user": ["a"], "price": [1.0]}, "column ts"),
        ({"user": ["a", "b"], "ts": ["c"]}, "user 2, ts 1"),
        ({"user": ["a"], "ts": "c"}, "lists in user only"),
        ({}, "no columns"),
        ([{}], "no columns"),
        ({**COLUMNS, "user": ["a", "\ud800", 5]}, "column user, row 2"),
        ({"\ud800": [1, 2, 3]}, "name of a column"),
        ({**COLUMNS, "user": ["a", object(), 5]}, "column user, row 2"),
        ({**COLUMNS, "user": ["a", ["b"], None]}, "column user, row 1"),
        (pd.DataFrame([[1, 2]], columns=["user", "user"]), "user"),
        ({**COLUMNS, "user": [1 + 2j, 5, "a"]}, "column user, row 1"),
    ],
)
def test_a_table_that_cannot_be_used_is_a_data_error_that_says_where(predictor, rows, message):
    with pytest.raises(fw.DataError, match=message):
        predictor.predict(rows)


class Colour(str, enum.Enum):  # noqa: UP042 - of these str() is the name
    RED = "red"


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**80), 2**80),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=3),
    st.decimals(allow_infinity=False, places=2),
    st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1)),
    st.dates(),
    st.uuids(),
    st.sampled_from([np.float32(0.1), np.int8(3), np.datetime64("NaT"), pd.NA, pd.NaT, np.bool_(True), np.str_("x")]),
    st.sampled_from([np.datetime64("2026-11-02T05", "h"), np.datetime64("2026-11"), Colour.RED]),
    st.sampled_from([np.datetime64("2026-11-08"), np.datetime64(5, "ps"), np.datetime64(1, "25s")]),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(values, max_size=6))
def test_a_value_has_the_same_text_among_others_as_alone(column):
    def texts(values):
        return canonical(as_table({"f": values})["f"].combine_chunks()).cast(pa.large_binary()).to_pylist()

    assert texts(column) == [texts([value])[0] for value in column]


def test_spellings_of_one_value_in_one_column_are_one_value():
    column = canonical(as_table({"f": [5, "5", 5.0, Decimal("5.00"), np.float32(5), b"5"]})["f"].combine_chunks())
    assert column.cast(pa.string()).to_pylist() == ["5"] * 6
    assert as_table({"f": [2**70, None, 1]})["f"].to_pylist() == [str(2**70), None, "1"]


def test_cells_that_hold_several_values_are_bags():
    rows = {
        "tags": [["a", 1], ("b",), {"d", "c"}, np.array(["e"]), None, []],
        "w": [{"a": 0.5}, None, {}, {"b": 1}, None, None],
    }
    table = as_table(rows)
    assert table["tags"].to_pylist() == [["a", "1"], ["b"], ["c", "d"], ["e"], None, []]
    assert table["w"].to_pylist()[0] == [{"value": "a", "weight": 0.5}]


@pytest.mark.parametrize("text_type", [pa.string_view(), pa.dictionary(pa.int8(), pa.string_view()), pa.binary_view()])
def test_text_in_views_is_the_same_text_in_memory_and_in_files(run, tmp_path, text_type):
    table = pa.Table.from_pylist(log_rows(40)).drop_columns("click")
    fw.predict(run, table, tmp_path / "expected.csv")
    for name in ("rid", "user", "ts"):
        column = table[name].combine_chunks()
        if pa.types.is_dictionary(text_type):
            coded = column.dictionary_encode()
            column = pa.DictionaryArray.from_arrays(coded.indices, coded.dictionary.cast(pa.string_view()))
        table = table.set_column(table.column_names.index(name), name, column.cast(text_type))
    fw.predict(run, table, tmp_path / "of_table.csv")
    assert (tmp_path / "of_table.csv").read_bytes() == (tmp_path / "expected.csv").read_bytes()
    if not pa.types.is_dictionary(text_type):  # Arrow cannot write these
        pq.write_table(table, tmp_path / "views.parquet")
        fw.predict(run, tmp_path / "views.parquet", tmp_path / "of_file.csv")
        assert (tmp_path / "of_file.csv").read_bytes() == (tmp_path / "expected.csv").read_bytes()


def test_uuids_are_the_texts_that_everybody_writes(tmp_path):
    ids = [uuid.UUID(int=7), None, uuid.UUID("12345678-9abc-def0-1234-56789abcdef0")]
    texts = [None if one is None else str(one) for one in ids]
    assert as_table({"f": ids})["f"].to_pylist() == texts
    stored = pa.array([None if one is None else one.bytes for one in ids], pa.binary(16))
    array_of_ids = pa.ExtensionArray.from_storage(pa.uuid(), stored)
    assert canonical(array_of_ids).to_pylist() == texts
    assert canonical(array_of_ids[1:]).to_pylist() == texts[1:]


@pytest.mark.parametrize(
    "tables",
    [{"train": pd.DataFrame(COLUMNS), "tset": pd.DataFrame(COLUMNS)}, {"valid": pd.DataFrame(COLUMNS)}],
    ids=["a name that is no part", "no training rows"],
)
def test_tables_under_names_that_are_no_parts_are_a_type_error(tmp_path, tables):
    with pytest.raises(TypeError, match="named train, valid, test with train among them, not"):
        fw.prepare(fw.Config(data=fw.DataConfig(label="click"), base=str(tmp_path), **QUICK), data=tables)


def test_predict_and_evaluate_take_tables_and_say_what_they_say_of_files(run, tmp_path):
    frame = pd.DataFrame(log_rows(50))
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "log.parquet")
    fw.predict(run, frame, tmp_path / "a.csv")
    fw.predict(run, tmp_path / "log.parquet", tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert fw.evaluate(run, frame).metrics == fw.evaluate(run, tmp_path / "log.parquet").metrics
    with pytest.raises(TypeError, match="rows are"):
        fw.predict(run, 5, tmp_path / "c.csv")
    with pytest.raises(fw.DataError, match="no rows to evaluate"):
        fw.evaluate(run, frame[:0])


def test_training_on_a_table_is_training_on_a_file_of_its_rows(tmp_path):
    frame = pd.DataFrame(log_rows(300)).drop(columns=["rid", "ts"])
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "log.parquet")
    settings = {"base": str(tmp_path), **QUICK}
    data = {"label": "click", "valid": 0.3}
    of_file = fw.train(fw.Config(data=fw.DataConfig(train="log.parquet", **data), **settings), tmp_path / "file")
    config = fw.Config(data=fw.DataConfig(**data), **settings)
    of_table = fw.train(config, tmp_path / "table", data=frame)
    assert of_table.valid == of_file.valid
    again = fw.train(
        config, tmp_path / "table", data=pl.from_pandas(frame).to_arrow().cast(pa.Table.from_pandas(frame).schema)
    )
    assert again == of_table  # a finished run, found by what is in the rows
    parts = {"train": pl.from_pandas(frame[:200]), "valid": frame[200:].to_dict("records"), "test": None}
    prepared = fw.prepare(fw.Config(data=fw.DataConfig(label="click"), **settings), data=parts)
    assert [prepared.parts[part].num_examples for part in ("train", "valid")] == [200, 100]
    with pytest.raises(TypeError, match="paths"):
        fw.prepare(config, data="log.parquet")
    with pytest.raises(fw.DataError, match="no rows"):
        fw.prepare(config, data=frame[:0])
    with pytest.raises(fw.DataError, match="names no file"):
        fw.prepare(config)


def test_of_tables_in_memory_the_newest_and_those_of_a_day_are_kept(tmp_path, monkeypatch):
    config = fw.Config(data=fw.DataConfig(train="", label="click"), base=str(tmp_path))
    folder = tmp_path / ".fieldwise" / "tables"

    def give(number):
        [path] = with_tables(config, {"click": [0, 1], "ad": ["a", str(number)]}).paths("train")
        return Path(path)

    paths = [give(number) for number in range(12)]
    assert set(folder.iterdir()) == set(paths)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 90_000)
    assert give(0) == paths[0]
    assert set(folder.iterdir()) == {paths[0], *paths[3:]}, "what was given again is new again"
    assert give(2) == paths[2], "and what is gone comes back under the same name"


def test_metrics_take_series_of_any_kind_and_groups_of_text():
    p, y, g = [0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], ["a", "a", "b", "a"]
    expected = fw.evaluate_predictions(np.array(p), np.array(y), groups=np.array([0, 0, 1, 0]))
    for kind in (list, pd.Series, pl.Series, pa.array, lambda values: pa.chunked_array([values])):
        assert fw.evaluate_predictions(kind(p), kind(y), groups=kind(g)) == expected
    assert fw.evaluate_predictions(pd.Series(p, dtype="Float64"), pd.Series(y, dtype="Int64"), groups=g) == expected
    with pytest.raises(TypeError, match="`labels` must be"):
        fw.evaluate_predictions(p, iter(y))
    with pytest.raises(fw.DataError, match="values that are not numbers"):
        fw.evaluate_predictions([0.5, None], [1, 0])


def test_a_predictor_is_pickled_by_path_and_checksum(run, tmp_path, predictor):
    shutil.copytree(run, tmp_path / "run")
    rows = pa.table(COLUMNS)
    here = fw.Predictor(tmp_path / "run")
    pickled = pickle.dumps(here)
    assert len(pickled) < 1000
    for twin in (pickle.loads(pickled), copy.copy(here), copy.deepcopy(here)):  # noqa: S301
        assert twin.predict(rows).tobytes() == predictor.predict(rows).tobytes()
    config = fw.Config(data=fw.DataConfig(label="click", exclude=("rid", "ts")), base=str(tmp_path), **QUICK)
    fw.train(config, tmp_path / "run", data=log_rows(100), overwrite=True)
    with pytest.raises(fw.ArtefactError, match="replaced since it was opened"):
        pickle.loads(pickled)  # noqa: S301
    with pytest.raises(fw.UserError):
        here.save(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(fw.ArtefactError, match="pickled Predictor was not found"):
        pickle.loads(pickled)  # noqa: S301


def test_a_predictor_is_saved_once(predictor, tmp_path):
    predictor.save(tmp_path / "saved")
    with pytest.raises(fw.ConfigError, match="already"):
        predictor.save(tmp_path / "saved")
    assert fw.Predictor(tmp_path / "saved").predict(RECORDS).tobytes() == predictor.predict(RECORDS).tobytes()
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_threads_that_ask_one_predictor_get_what_one_alone_gets(predictor):
    tables = [pa.Table.from_pylist(log_rows(40)[first : first + 1 + first % 7]) for first in range(30)]
    expected = [predictor.predict(table) for table in tables]
    with ThreadPoolExecutor(16) as pool:
        assert all(map(np.array_equal, pool.map(predictor.predict, tables * 4), expected * 4))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.datetime64("2026-11-08"), "2026-11-08"),
        (np.datetime64(2, "25s"), "1970-01-01 00:00:50"),
        (np.datetime64("2026-11-08T05", "h"), "2026-11-08 05:00:00"),
    ],
)
def test_points_in_time_of_numpy_mean_what_they_say_in_every_form(value, text):
    expected = canonical(pa.array([text])).to_pylist()
    for column in ([value], np.array([value]), [value, None]):
        found = as_table({"f": column})["f"].combine_chunks()
        assert canonical(found).to_pylist()[:1] == expected


def test_a_span_of_time_is_no_value():
    with pytest.raises(DataError, match="not supported"):
        as_table({"f": [np.timedelta64(5, "s"), "x"]})
