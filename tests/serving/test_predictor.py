"""A predictor answers raw rows, and says what it reads."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import fieldwise as fw
from fieldwise.errors import ConfigError, DataError, UserError
from fieldwise.serving.predictor import Predictor

TRAINING = 300


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    rng = np.random.default_rng(1)
    log = pa.table(
        {
            "click": rng.integers(0, 2, TRAINING),
            "user": [f"u{number}" for number in rng.integers(0, 30, TRAINING)],
            "price": rng.normal(size=TRAINING),
            "tags": ["|".join(f"t{tag}" for tag in rng.integers(0, 9, 3)) for _ in range(TRAINING)],
            "at": [f"2026-11-03 {hour:02d}:10:00" for hour in rng.integers(0, 24, TRAINING)],
        }
    )
    fields = {
        "user": fw.FieldConfig(),
        "price": fw.FieldConfig(type="number"),
        "tags": fw.FieldConfig(type="bag"),
        "hour": fw.FieldConfig(type="time", column="at", part="hour"),
        "weekday": fw.FieldConfig(type="time", column="at", part="weekday"),
        "both": fw.FieldConfig(cross=("user", "hour")),
    }
    config = fw.Config(
        data=fw.DataConfig(train="in memory", label="click"),
        fields=fields,
        model=fw.ModelConfig(kind="lr"),
        train=fw.TrainConfig(epochs=1, threads=1),
        base=str(folder),
    )
    fw.train(config, folder / "run", data=log)
    return folder / "run"


ROWS = [
    {"user": "u1", "price": 0.5, "tags": "t1|t2", "at": "2026-11-03 05:00:00"},
    {"user": "nobody", "price": None, "tags": "", "at": "2026-11-07 23:00:00"},
]


def test_it_says_which_columns_it_reads_and_as_what(run):
    predictor = Predictor(run)
    assert [(column.name, column.kind) for column in predictor.columns] == [
        ("user", "text"),
        ("price", "number"),
        ("tags", "bag"),
        ("at", "time"),
    ]
    assert {"hour", "weekday"} <= set(predictor.columns[3].fields)
    assert predictor.classes == ("0", "1")
    assert predictor.positive == "1"
    assert predictor.version == predictor.bundle.digest


def test_rows_and_columns_give_the_same_probabilities(run):
    predictor = Predictor(run)
    expected = predictor.predict(ROWS)
    assert expected.shape == (2,)
    assert ((expected > 0) & (expected < 1)).all()
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    for rows in (columns, pa.table(columns)):
        np.testing.assert_allclose(predictor.predict(rows), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(predictor.score(predictor.encode_columns(columns)), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(predictor.predict(ROWS[0]), expected[:1], rtol=0, atol=1e-6)
    assert predictor.predict([]).shape == (0,)


def test_a_value_that_cannot_be_read_is_an_error_that_names_its_column(run):
    with pytest.raises(fw.DataError, match="price") as caught:
        Predictor(run).predict([ROWS[0], {**ROWS[1], "price": "dear"}])
    assert "row 2" in str(caught.value)
    with pytest.raises(fw.DataError, match="user"):
        Predictor(run).predict({"price": 1.0, "tags": "", "at": None})


@pytest.mark.parametrize("price", ["dear", "3,5", "$5", True, [1.5]])
def test_what_cannot_be_read_comes_without_settings_that_only_training_has(run, price):
    with pytest.raises(DataError) as caught:
        Predictor(run).predict([{**ROWS[0], "price": price}])
    assert caught.value.expected
    assert not any(word in str(caught.value) for word in ("would read", "name it in missing", "category"))


def test_columns_without_rows_have_no_answers(run):
    predictor = Predictor(run)
    columns = {column.name: [] for column in predictor.columns}
    assert predictor.predict(columns).shape == (0,)
    places, probabilities = predictor.rank({"user": "u1"}, {**columns, "price": []})
    assert (len(places), len(probabilities)) == (0, 0)
    with pytest.raises(DataError, match="lacks a column"):
        predictor.predict(pa.table({"a": [1, 2, 3]}).select([]))


@pytest.mark.parametrize("top", [0, -1, True, 1.5, "2"])
def test_a_number_of_candidates_that_is_none_is_refused(run, top):
    with pytest.raises(ConfigError, match="whole number, 1 or more"):
        Predictor(run).rank(ROWS[0], [{"user": "u2"}], top=top)


@pytest.mark.parametrize("candidates", ["ab", {"user": "u2"}, {"user": 3}, [1], pa.table({"user": ["u1"]}), 7])
def test_candidates_of_another_form_are_refused(run, candidates):
    with pytest.raises(TypeError, match="a list of dicts, or a dict of lists"):
        Predictor(run).rank(ROWS[0], candidates)


@pytest.mark.parametrize("columns", [False, True])
def test_an_integer_of_thousands_of_digits_is_an_error_that_names_its_row(run, columns):
    row = {**ROWS[0], "user": 10**5000}
    with pytest.raises(DataError, match="cannot be read") as refused:
        Predictor(run).predict({name: [value] for name, value in row.items()} if columns else [row])
    assert "row 1" in str(refused.value)


def test_a_closed_predictor_lets_go_of_its_files_and_says_that_it_is_closed(run):
    predictor = Predictor(run)
    predictor.warm()
    predictor.predict(ROWS)
    gc.collect()
    gc.disable()  # it lets go at once
    try:
        predictor.close()
        predictor.close()
        maps = Path("/proc/self/maps")
        assert not maps.exists() or str(run) not in maps.read_text()
    finally:
        gc.enable()
    with pytest.raises(UserError, match="closed"):
        predictor.predict(ROWS)
    with pytest.raises(AttributeError):
        _ = predictor.nothing
