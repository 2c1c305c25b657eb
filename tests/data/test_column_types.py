from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fieldwise.data.column_types import are_alike, concatenated
from fieldwise.features.canonical import canonical, plain

WHOLE = st.integers(-(2**31), 2**31 - 1)
KINDS = [
    pa.int32(), pa.int64(), pa.float64(), pa.decimal128(12, 0), pa.string(), pa.large_string(), pa.string_view(),
    pa.binary(), pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.int64()),
]  # fmt: skip


def column(values, kind):
    """Return whole numbers as an array of a type, as a writer of that type would."""
    if pa.types.is_dictionary(kind):
        plain_values = column(values, kind.value_type)
        return plain_values.dictionary_encode()
    if pa.types.is_floating(kind):
        return pa.array([None if value is None else float(value) for value in values], kind)
    if pa.types.is_decimal(kind):
        return pa.array([None if value is None else Decimal(value) for value in values], kind)
    if pa.types.is_integer(kind):
        return pa.array(values, kind)
    return pa.array([None if value is None else str(value) for value in values], pa.string()).cast(kind)


@settings(suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no fault
@given(
    st.lists(
        st.tuples(st.sampled_from(KINDS), st.lists(st.none() | WHOLE, min_size=1, max_size=5)), min_size=1, max_size=4
    )
)
def test_whole_numbers_of_any_types_are_the_same_values_in_one_column(files):
    found = concatenated([column(values, kind) for kind, values in files])
    texts = [text for chunk in found.chunks for text in plain(canonical(plain(chunk))).to_pylist()]
    assert texts == [None if value is None else str(value) for _, values in files for value in values]


@given(st.sampled_from(KINDS), st.sampled_from(KINDS), st.sampled_from(["text", "number"]))
def test_types_that_can_write_whole_numbers_are_read_alike_in_either_order(one, other, reading):
    assert are_alike(one, other, reading)
    assert are_alike(other, one, reading)


def test_large_identifiers_beside_doubles_keep_their_digits():
    found = concatenated([pa.array([2**53 + 1]), pa.array([1.5, None])])
    assert found.to_pylist() == ["9007199254740993", "1.5", None]


def test_a_column_without_any_value_takes_the_type_of_the_others():
    for other in (pa.array([1]), pa.array(["a"]), pa.array([[1]]), pa.array([dt.date(2026, 11, 1)])):
        found = concatenated([pa.nulls(2), other])
        assert found.type == other.type
        assert found.to_pylist() == [None, None, *other.to_pylist()]


def test_points_in_time_of_any_type_have_one_text():
    moment = dt.datetime(2026, 11, 8, 9, 30)
    units = [pa.array([moment], pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")]
    zoned = pa.array([moment], pa.timestamp("us", "UTC")).cast(pa.timestamp("us", "Europe/Rome"))
    midnights = [pa.array([moment.date()], kind) for kind in (pa.date32(), pa.date64())]
    assert concatenated([*units, zoned, *midnights]).to_pylist() == ["2026-11-08 09:30:00"] * 5 + ["2026-11-08"] * 2


def test_lists_of_all_sorts_become_lists_of_one_type():
    arrays = [
        pa.array([[1, 2], None, []]),
        pa.array([["2", "x"]], pa.large_list(pa.string())),
        pa.array([[3.0, 4.5]], pa.list_(pa.float64(), 2)),
        pa.nulls(1),
    ]
    assert concatenated(arrays).to_pylist() == [["1", "2"], None, [], ["2", "x"], ["3", "4.5"], None]


def test_a_dictionary_in_one_file_marks_the_column_as_a_category():
    found = concatenated([pa.array([7, 8]), pa.array([8]).dictionary_encode()])
    assert pa.types.is_dictionary(found.type)
    assert found.to_pylist() == [7, 8, 8]


@pytest.mark.parametrize(
    ("one", "other", "alike_as"),
    [
        (pa.int8(), pa.uint64(), {"text", "number", "time", "bag"}),
        (pa.float32(), pa.float64(), {"text", "number", "time", "bag"}),
        (pa.bool_(), pa.int64(), {"label"}),
        (pa.bool_(), pa.string(), {"text", "number", "time", "bag"}),
        (pa.decimal128(9, 2), pa.decimal128(9, 3), {"number", "time"}),
        (pa.decimal128(9, 2), pa.decimal128(5, 2), {"text", "number", "time", "bag"}),
        (pa.decimal128(9, 2), pa.float64(), {"number", "time"}),
        (pa.decimal128(9, 2), pa.int64(), {"text", "number", "time", "bag"}),
        (pa.timestamp("s"), pa.timestamp("ns", "UTC"), {"text", "number", "time", "bag"}),
        (pa.timestamp("s"), pa.date32(), {"text", "number", "time", "bag"}),
        (pa.timestamp("s"), pa.int64(), {"time"}),
        (pa.list_(pa.int32()), pa.large_list(pa.string()), {"bag"}),
        (pa.list_(pa.int32()), pa.list_(pa.bool_()), set()),
        (pa.list_(pa.int32()), pa.int64(), {"bag"}),
        (pa.time32("s"), pa.string(), set()),
        (pa.struct([("a", pa.int8())]), pa.int8(), set()),
        (pa.null(), pa.struct([("a", pa.int8())]), {"text", "number", "time", "bag"}),
    ],
)
def test_types_are_read_alike_where_equal_values_are_one_feature(one, other, alike_as):
    for reading in ("text", "number", "time", "bag", "label"):
        expected = reading in alike_as or (reading == "label" and "text" in alike_as)
        assert are_alike(one, other, reading) == are_alike(other, one, reading) == expected
