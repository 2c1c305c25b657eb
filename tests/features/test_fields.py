"""Each kind of field against the reference, alone and in a cross, on tables made by hypothesis."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference.encoder import ReferenceEncoder

from fieldwise.features.encoder import Encoder
from fieldwise.kernels.layout import BAG, VALUE, Batch
from fieldwise.schema import Field, Schema
from fieldwise.serving.encode import RowEncoder

FIELDS = (
    Field(name="category", column="text"),
    Field(name="frequent", column="text", min_count=2, max_features=3),
    Field(name="hashed", column="text", buckets=5),
    Field(name="integer", column="integer"),
    Field(name="value", type="number", column="number"),
    Field(name="log", type="number", column="number", scale="log"),
    Field(name="root", type="number", column="number", scale="sqrt"),
    Field(name="raw", type="number", column="number", scale="none"),
    Field(name="bins", type="number", column="number", bins=4),
    Field(name="own bins", type="number", column="number", bins=0),
    Field(name="edges", type="number", column="number", edges=(-1.0, 0.0, 2.5)),
    Field(name="tags", type="bag", column="tags", min_count=2),
    Field(name="weighted", type="bag", column="weighted", separator=";", weighted=True),
    Field(name="first tags", type="bag", column="tags", max_length=2),
    Field(name="first weighted", type="bag", column="weighted", separator=";", weighted=True, max_length=1),
    Field(name="list", type="bag", column="list", buckets=3),
    Field(name="beside", type="bag", column="values", weights="weights", max_length=2),
    Field(name="beside in text", type="bag", column="letters", separator=",", weights="numbers", default="z"),
    Field(name="hour", type="time", column="time", part="hour"),
    Field(name="weekday", type="time", column="time", part="weekday", timezone="America/New_York"),
    Field(name="day", type="time", column="time", part="day", timezone="+05:30"),
    Field(name="month", type="time", column="moment", part="month"),
    Field(name="age", type="time", column="moment", since="since", part="age", bins=3),
    Field(name="scaled age", type="time", column="moment", since="since", part="age", scale="sqrt"),
    Field(name="text or a", column="text", default="a", min_count=2),
    Field(name="integer or 2", column="integer", default=2.0),
    Field(name="number or 1.5", type="number", column="number", default=1.5, bins=3),
    Field(name="number or -2", type="number", column="number", default=-2),
    Field(name="age or 7", type="time", column="moment", since="since", part="age", default=7, edges=(0.0, 7.0)),
    Field(name="tags or d", type="bag", column="tags", default="d", max_length=1),
    Field(name="weighted or é", type="bag", column="weighted", separator=";", weighted=True, default="é"),
    Field(name="list or 3", type="bag", column="list", default=3),
    Field(name="text x integer", type="cross", parts=("category", "integer")),
    Field(name="hashed x bins", type="cross", parts=("hashed", "bins"), min_count=2),
    Field(name="edges x text", type="cross", parts=("edges", "category"), buckets=7),
    Field(name="tags x weighted x list", type="cross", parts=("tags", "weighted", "list")),
    Field(name="first tags x list", type="cross", parts=("first tags", "list")),
    Field(name="defaults", type="cross", parts=("text or a", "number or 1.5", "tags or d")),
    Field(name="hour x age", type="cross", parts=("hour", "age")),
    Field(name="cross x cross", type="cross", parts=("hashed x bins", "text x integer")),
)
WORDS = st.text("aé\0:", min_size=1, max_size=2)
WEIGHTED = st.tuples(WORDS, st.sampled_from(["1", "0.5", "-2", "3e-1"])).map(":".join)
TIMES = st.datetimes(dt.datetime(1950, 1, 1), dt.datetime(2090, 1, 1))
TIME_TEXTS = st.one_of(
    TIMES.map(str),
    TIMES.map(lambda time: f"{time:%Y-%m-%dT%H:%M}+03:00"),
    TIMES.map(lambda time: f"{time:%Y-%m-%d}"),
    st.integers(0, 2**31).map(str),
    st.sampled_from(["", "soon", "2023-02-29", "1700000000000", "86399.9", "-1"]),
)
PAIRS = st.lists(st.tuples(st.none() | st.integers(0, 4), st.sampled_from([0.5, -1.0, 3.25])), max_size=3)
PAIRS_IN_TEXT = st.lists(st.tuples(st.sampled_from(["a", "b", ""]), st.sampled_from(["1", "-0.5"])), max_size=3)
ROWS = st.fixed_dictionaries(
    {
        "text": st.none() | st.sampled_from(["a", "b", "", "5.0", "5", "True", "é\0"]) | WORDS,
        "integer": st.none() | st.integers(-2, 3),
        "number": st.none() | st.floats(-100, 100, width=16) | st.sampled_from([0.0, 1.0, -1.0, 2.5]),
        "tags": st.none() | st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=4).map("|".join),
        "weighted": st.none() | st.lists(WEIGHTED | st.just(""), max_size=3).map(";".join),
        "list": st.none() | st.lists(st.none() | st.integers(0, 4), max_size=3),
        "time": st.none() | TIME_TEXTS,
        "moment": st.none() | TIMES,
        "since": st.none() | TIMES.map(dt.datetime.date),
        "pairs": st.none() | PAIRS,
        "pairs in text": st.none() | PAIRS_IN_TEXT,
        "label": st.booleans(),
    }
)
KINDS = pa.schema(
    {
        "text": pa.string(),
        "integer": pa.int32(),
        "number": pa.float64(),
        "tags": pa.large_string(),
        "weighted": pa.string(),
        "list": pa.list_(pa.int64()),
        "time": pa.string(),
        "moment": pa.timestamp("us"),
        "since": pa.date32(),
        "label": pa.bool_(),
        "values": pa.list_(pa.int64()),
        "weights": pa.large_list(pa.float32()),
        "letters": pa.string(),
        "numbers": pa.string(),
    }
)


def apart(row: dict) -> dict:
    """Put values and weights into columns of their own."""
    pairs, in_text = row.pop("pairs"), row.pop("pairs in text")
    row["values"], row["weights"] = (None if pairs is None else [pair[k] for pair in pairs] for k in range(2))
    row["letters"], row["numbers"] = (
        None if in_text is None else ",".join(pair[k] for pair in in_text) for k in (0, 1)
    )
    return row


ROWS = ROWS.map(apart)


def table_of(rows: list[dict]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=KINDS)


def decoded(encoder: Encoder, batch: Batch) -> dict[str, list[list[tuple[int, float]]]]:
    """Ids and weights (or inputs) by field and row."""
    layout, num_rows = encoder.layout, batch.num_examples
    found = {}
    for f, field in enumerate(encoder.schema.fields):
        if layout.form[f] == BAG:
            bounds = batch.offsets[layout.bag[f]]
            pairs = list(zip(batch.bag_ids.tolist(), batch.bag_weights.tolist(), strict=True))
            found[field.name] = [pairs[bounds[b] : bounds[b + 1]] for b in range(num_rows)]
        else:
            ids = batch.ids[layout.single[f]].tolist()
            values = batch.values[layout.value[f]].tolist() if layout.form[f] == VALUE else [1.0] * num_rows
            found[field.name] = [[pair] for pair in zip(ids, values, strict=True)]
    return found


@settings(max_examples=60)
@given(st.lists(ROWS, max_size=12), st.lists(ROWS, max_size=4))
def test_every_field_is_encoded_and_answered_as_the_reference_does(rows, new_rows):
    classes = [rows[0] | {"label": True}, rows[0] | {"label": False}] if rows else []
    rows = [*classes, *rows] or [dict.fromkeys(KINDS.names) | {"label": label} for label in (True, False)]
    rows.append(dict.fromkeys(KINDS.names) | {"label": True, "time": "2026-11-08"})  # all but no time is refused
    encoder = Encoder(Schema(fields=FIELDS, label="label")).fit([table_of(rows)])
    reference = ReferenceEncoder(FIELDS, rows)
    answering = RowEncoder(encoder)
    for some in (rows, new_rows):
        assert_as_the_reference_says(decoded(encoder, encoder.transform(table_of(some)).batch), reference, some)
        if some:
            assert_as_the_reference_says(decoded(encoder, answering.encode(table_of(some))), reference, some)


def assert_as_the_reference_says(found, reference, rows):
    for field in reference.fields.values():
        expected = [reference.encode(field.name, row) for row in rows]
        ids = [[id_ for id_, _ in row] for row in found[field.name]]
        assert ids == [[id_ for id_, _ in row] for row in expected], field.name
        weights = [weight for row in found[field.name] for _, weight in row]
        assert weights == pytest.approx([weight for row in expected for _, weight in row], rel=1e-5, abs=1e-6), (
            field.name
        )


@settings(max_examples=30)
@given(st.lists(ROWS, min_size=1, max_size=12))
def test_a_cross_parts_the_rows_as_the_cross_of_the_strings_does(rows):
    fields = (
        Field(name="text", column="text"),
        Field(name="integer", column="integer"),
        Field(name="cross", type="cross", parts=("text", "integer")),
        Field(name="joined", column="joined"),
    )
    rows = [rows[0] | {"label": True}, rows[0] | {"label": False}, *rows]
    for row in rows:
        present = row["text"] and row["integer"] is not None
        spelled = {"5.0": "5", "True": "true"}.get(row["text"], row["text"])
        row["joined"] = f"{spelled} x {row['integer']}" if present else None
    table = pa.Table.from_pylist(rows, schema=KINDS.append(pa.field("joined", pa.string())))
    ids = Encoder(Schema(fields=fields, label="label")).fit([table]).transform(table).batch.ids
    pairs = set(zip(ids[2].tolist(), ids[3].tolist(), strict=True))
    assert len(pairs) == len(set(ids[2].tolist())) == len(set(ids[3].tolist()))
    assert np.array_equal(ids[2] == 0, ids[3] == 0)
