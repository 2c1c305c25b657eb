"""Rows that are answered have the features that the same rows have when a log is prepared."""

from __future__ import annotations

import datetime as dt
import math
import random
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import fieldwise as fw
from fieldwise.features import field_types
from fieldwise.features.encoder import Encoder
from fieldwise.features.field_types import register_field_type
from fieldwise.schema import CustomType, Field, Schema
from fieldwise.serving.encode import RowEncoder

TEXTS = [
    *(
        "Rome",
        "Oslo",
        "5",
        "5.0",
        "05",
        "-0.0",
        "1.25e+10",
        "TRUE",
        "true",
        "nan",
        "NaN",
        "",
        "NULL",
        "-12",
        "7e5",
        "0",
    ),
    *("2026-11-08T09:30:00Z", "2026-11-08 00:00:00", "2026-11-08 09:30:00.2500", " a ", "a|b", "ünï", "日本語"),
    *("x" * 15, "y" * 16, "z" * 33, "w" * 100),
]
NUMBERS = [0.0, -1.5, 3, 2.5, 1e12, 7, -999, 18.0, 65.0, 64.9]
SCHEMA = Schema(
    label="click",
    fields=(
        Field(name="city", column="city", missing=("NULL",)),
        Field(name="city again", column="city", buckets=50),
        Field(name="often", column="city", min_count=9, default="Rome"),
        Field(name="code", column="code"),
        Field(name="age", type="number", column="age", edges=(18.0, 65.0)),
        Field(name="height", type="number", column="age", missing=("-999",)),
        Field(name="log", type="number", column="other", scale="log", default=4),
        Field(name="root", type="number", column="other", scale="sqrt"),
        Field(name="raw", type="number", column="other", scale="none"),
        Field(name="tags", type="bag", column="tags", norm="sqrt", max_length=3, missing=("NULL",)),
        Field(name="tags by mean", type="bag", column="tags", norm="mean", default="Rome", buckets=20),
        Field(name="weighted", type="bag", column="weighted", weighted=True),
        Field(name="in brackets", type="bag", column="brackets", brackets=True, separator=","),
        Field(name="hour", type="time", column="at", part="hour"),
        Field(name="weekday", type="time", column="at", part="weekday", timezone="Europe/Rome"),
        Field(name="days", type="time", column="at", part="age", since="since", bins=3),
        Field(name="price", type="number", column="price", decimal=",", symbol="€", default=2.0),
        Field(name="city x age", type="cross", parts=("city", "age")),
        Field(name="five", type="cross", parts=("city", "code", "age", "hour", "often"), buckets=1000),
        Field(name="city x tags", type="cross", parts=("city", "tags")),
    ),
)


def row_of(rng):
    moment = dt.datetime(2026, 11, rng.randrange(1, 29), rng.randrange(24), rng.randrange(60))
    return {
        "city": rng.choice([*TEXTS, None]),
        "code": rng.choice([rng.randrange(5), "3", None]),
        "age": rng.choice([*NUMBERS, None]),
        "other": rng.choice([*NUMBERS, "4", " 5.5 ", "", None, math.nan]),
        "tags": rng.choice([None, "", "NULL", "|".join(rng.choices(TEXTS, k=rng.randrange(6)))]),
        "weighted": rng.choice([None, "a:1|b:0.5", "c:2"]),
        "brackets": rng.choice(["[]", '["a", "b"]', "['c']", None]),
        "at": rng.choice([moment.isoformat(), None, str(moment.date())]),
        "since": "2026-11-01",
        "price": rng.choice(["3,50 €", "1.200,00 €", None, ""]),
        "more": rng.random(),
    }


def table_of(rows):
    """Return rows as a table whose columns are texts where values are mixed, as a CSV has them."""
    columns = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        if any(isinstance(value, str) for value in values):
            values = [None if value is None or value != value else str(value) for value in values]
        columns[name] = pa.array(values)
    return pa.table(columns)


@pytest.fixture(scope="module")
def encoder():
    rng = random.Random(0)
    rows = [{**row_of(rng), "click": number % 2} for number in range(600)]
    return Encoder(SCHEMA).fit([table_of(rows)])


def same(found, expected):
    for name, one, other in zip(found._fields, found, expected, strict=True):
        if one.dtype.kind == "f":
            np.testing.assert_allclose(one, other, rtol=3e-7, atol=1e-9, err_msg=name)
        else:
            np.testing.assert_array_equal(one, other, err_msg=name)


@pytest.mark.parametrize("num_rows", [1, 2, 40])
def test_rows_in_every_form_have_the_features_of_preparing(encoder, num_rows):
    rng, fast = random.Random(num_rows), RowEncoder(encoder)
    for _ in range(40):
        rows = [row_of(rng) for _ in range(num_rows)]
        expected = encoder.transform(table_of(rows), labelled=False).batch
        same(fast.encode(rows), expected)
        same(fast.encode({name: [row[name] for row in rows] for name in rows[0]}), expected)
        same(fast.encode(table_of(rows)), expected)
        if num_rows == 1:
            same(fast.encode(rows[0]), expected)


@pytest.mark.parametrize("form", ["lists", "numpy"])
def test_columns_with_one_cell_for_all_rows_have_the_features_of_whole_ones(encoder, form):
    rng, fast = random.Random(7), RowEncoder(encoder)
    for _ in range(20):
        rows, once = [row_of(rng) for _ in range(9)], row_of(rng)
        shared = frozenset(rng.sample(sorted(once), rng.randrange(1, len(once))))
        columns = {name: [once[name]] * 9 if name in shared else [row[name] for row in rows] for name in once}
        expected = fast.encode_table(
            table_of([dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)])
        )
        short = {name: cells[:1] if name in shared else cells for name, cells in columns.items()}
        if form == "numpy":  # of which the encoder makes a table
            short["more"] = np.array(short["more"])
        same(fast.encode_columns(short, shared), expected)


def test_the_kernel_takes_them(encoder, monkeypatch):
    fast = RowEncoder(encoder)
    monkeypatch.setattr(encoder, "transform", None)
    rng = random.Random(5)
    rows = [row_of(rng) for _ in range(20)]
    assert fast.encode(rows).num_examples == 20
    assert fast.encode(table_of(rows)).num_examples == 20


def test_a_row_does_not_depend_on_its_neighbours(encoder):
    rng, fast = random.Random(9), RowEncoder(encoder)
    rows = [row_of(rng) for _ in range(30)]
    whole = fast.encode(rows)
    for place, row in enumerate(rows):
        alone = fast.encode(row)
        np.testing.assert_array_equal(alone.ids[:, 0], whole.ids[:, place])
        np.testing.assert_array_equal(alone.values[:, 0], whole.values[:, place])
        for line in range(len(whole.offsets)):
            begin, end = whole.offsets[line, place : place + 2]
            first, last = alone.offsets[line]
            np.testing.assert_array_equal(alone.bag_ids[first:last], whole.bag_ids[begin:end])
            np.testing.assert_array_equal(alone.bag_weights[first:last], whole.bag_weights[begin:end])


ODD = [
    True, 10**30, -(10**25), 2**63, 1e-7, 1e300, Decimal("5.50"), dt.date(2026, 11, 8), dt.datetime(2026, 11, 8, 9, 30),
    b"Rome", "Ro\0me", "\0", np.float32(0.1), np.int64(5), np.str_("Rome"), float("inf"),
]  # fmt: skip


@pytest.mark.parametrize("value", ODD, ids=repr)
def test_values_of_any_type_have_the_id_of_their_text(encoder, value):
    fast, row = RowEncoder(encoder), row_of(random.Random(3))
    for rows in ([{**row, "city": value}], [row, {**row, "city": value}]):
        got = fast.encode(rows)
        table = table_of([{**each, "city": None} for each in rows])
        from fieldwise.data.tables import as_table

        cities = as_table({"city": [each["city"] for each in rows]}, lambda name: True)["city"]
        expected = encoder.transform(table.set_column(0, "city", cities), labelled=False).batch
        same(got, expected)


@pytest.mark.parametrize(
    ("column", "value"),
    [("city", "a\ud800"), ("age", "dear"), ("age", float("inf")), ("age", True), ("city", {"a": 1}), ("city", [1, 2]),
     ("weighted", "a:x"), ("price", "3.5 €"), ("age", "1_0"), ("age", 10**400)],
)  # fmt: skip
def test_what_cannot_be_read_is_an_error_that_names_the_column(encoder, column, value):
    row = row_of(random.Random(4))
    for rows in ({**row, column: value}, [row, {**row, column: value}]):
        if isinstance(rows, dict) and isinstance(value, list):
            continue
        with pytest.raises(fw.DataError, match=column):
            RowEncoder(encoder).encode(rows)


def test_a_column_that_is_not_there_is_named_and_others_are_ignored(encoder):
    row = row_of(random.Random(4))
    fast = RowEncoder(encoder)
    same(fast.encode({**row, "unknown": object()}), fast.encode(row))
    del row["city"]
    with pytest.raises(fw.DataError, match="city"):
        fast.encode(row)
    with pytest.raises(fw.DataError, match="city"):
        fast.encode([row])
    whole = row_of(random.Random(4))
    same(fast.encode([whole, row]), fast.encode([whole, {**row, "city": None}]))


def test_no_rows_have_no_features(encoder):
    assert RowEncoder(encoder).encode([]).num_examples == 0


@pytest.mark.long
def test_a_million_rows_have_the_ids_of_preparing(encoder):
    rng, fast = random.Random(1), RowEncoder(encoder)
    pool = table_of([row_of(rng) for _ in range(20_000)])
    for number in range(50):
        mixed = np.random.default_rng(number)
        places = {name: pa.array(mixed.integers(0, len(pool), len(pool))) for name in pool.column_names}
        rows = pa.table({name: pool[name].take(at) for name, at in places.items()})
        expected = encoder.transform(rows, labelled=False).batch
        same(fast.encode(rows.to_pydict()), expected)
        same(fast.encode(rows), expected)


def test_field_types_of_ones_own_are_read_as_in_preparing():
    register_field_type("first-letter", lambda texts: pc.utf8_slice_codeunits(texts, 0, 1))
    register_field_type("letters", lambda texts: pc.split_pattern(texts, " "), bag=True)
    try:
        fields = (
            Field(name="city", column="city"),
            Field(name="first", column="city", custom=CustomType("first-letter", 1)),
            Field(name="words", type="bag", column="city", custom=CustomType("letters", 1)),
            Field(name="both", type="cross", parts=("city", "first")),
        )
        rng = random.Random(2)
        rows = [
            {"city": rng.choice(["new york", "rome", "new delhi", "", None, "riga"]), "click": n % 2} for n in range(90)
        ]
        encoder = Encoder(Schema(fields=fields, label="click")).fit([table_of(rows)])
        fast, asked = RowEncoder(encoder), [{"city": row["city"]} for row in rows[:20]]
        expected = encoder.transform(table_of(asked), labelled=False).batch
        same(fast.encode(asked), expected)
        same(fast.encode(table_of(asked)), expected)
        same(fast.encode(asked[0]), encoder.transform(table_of(asked[:1]), labelled=False).batch)
    finally:
        for name in ("first-letter", "letters"):
            del field_types._TYPES[name]
