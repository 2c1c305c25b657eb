import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import times as reference

from fieldwise.errors import ConfigError, DataError
from fieldwise.features.columns import Columns
from fieldwise.features.encoder import Encoder
from fieldwise.features.moments import read_moments
from fieldwise.schema import Field, Schema

MOMENT = dt.datetime(2026, 11, 8, 9, 30, 15)
SECONDS = 1_794_130_215
COLUMNS = {
    "timestamp in s": pa.array([MOMENT, None], pa.timestamp("s")),
    "timestamp in ns": pa.array([MOMENT, None], pa.timestamp("ns")),
    "timestamp with a zone": pa.array([MOMENT, None], pa.timestamp("us", "Asia/Tokyo")),
    "text": pa.array(["2026-11-08 09:30:15", None]),
    "text with a zone": pa.array(["2026-11-08T11:30:15.75+02:00", ""]),
    "seconds": pa.array([SECONDS, None]),
    "seconds with a fraction": pa.array([SECONDS + 0.75, float("nan")]),
    "milliseconds": pa.array([SECONDS * 1000 + 999, None]),
    "microseconds in text": pa.array([f"{SECONDS}999999", ""]),
    "nanoseconds": pa.array([SECONDS * 10**9, None]),
    "whole floats in text": pa.array([f"{SECONDS}.0", "nan"]),
}


CLOCKS = [
    "",
    " 09",
    "T09:30",
    " 09:30:59",
    "t09:30:00",
    " 9:30",
    " 093000",
    " 24:00:00",
    " 23:59:60",
    " 09:30:00.5",
    "T09:30:00,5",
]
ZONES = ["", "Z", " UTC", "+02", "-0230", "+02:30", " +02:00", "+24:00"]


@settings(max_examples=300)
@given(
    st.lists(st.dates().map(str) | st.from_regex(r"\A[0-9]{4}-[0-3][0-9]-[0-3][0-9]\Z"), min_size=1, max_size=3),
    st.sampled_from(CLOCKS),
    st.sampled_from(ZONES),
)
def test_times_in_iso_are_read_as_the_reference_does_whatever_reads_them(days, clock, zone):
    texts = [f"{day}{clock}{zone if clock else ''}" for day in days]
    expected = [reference.iso(text) for text in texts]
    known = [-62_135_596_800 <= second <= 253_402_300_799 for second in expected]
    seconds, bad = moments(pa.array(texts))
    assert bad == [not each for each in known]
    assert np.array_equal(seconds, np.where(known, expected, np.nan), equal_nan=True)


def field(**settings) -> Field:
    return Field(name="t", type="time", column="t", **settings)


def moments(array: pa.Array, **settings) -> tuple[list[float], list[bool]]:
    seconds, bad = read_moments(Columns(pa.table({"t": array})), "t", field(part="hour", **settings))
    return seconds.tolist(), bad.tolist()


def fitted(array: pa.Array, **settings) -> tuple[Encoder, pa.Table]:
    table = pa.table({"t": array, "click": [i % 2 for i in range(len(array))]})
    return Encoder(Schema(fields=(field(**settings),), label="click")).fit([table]), table


def ids(array: pa.Array, **settings) -> list[int]:
    encoder, table = fitted(array, **settings)
    return encoder.transform(table).batch.ids[0].tolist()


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("encoded", [False, True])
def test_one_moment_is_read_alike_from_every_type(name, encoded):
    array = COLUMNS[name].dictionary_encode() if encoded else COLUMNS[name]
    seconds, bad = moments(array)
    assert seconds[0] == SECONDS
    assert np.isnan(seconds[1])
    assert bad == [False, False]


def test_a_date_is_its_midnight_in_utc():
    for kind in (pa.date32(), pa.date64()):
        assert moments(pa.array([dt.date(2026, 11, 8)], kind))[0] == [SECONDS // 86_400 * 86_400]


def test_a_stated_unit_holds_whatever_the_size():
    assert moments(pa.array([5000, -1]), unit="ms")[0] == [5.0, -1.0]
    assert moments(pa.array(["4000000000", "1970-01-01"]), unit="ns")[0] == [4.0, 0.0]


def test_a_format_reads_numbers_and_text_alike():
    for array in (
        pa.array([14102109]),
        pa.array(["14102109"]),
        pa.array([14102109.0, None]),
        pa.array(["14102109.0"]),
        pa.array([dt.datetime(2014, 10, 21, 9)]),
    ):
        assert moments(array, format="%y%m%d%H")[0][0] == 1_413_882_000
    midnight = pa.array(["2026-11-08 00:00:00", "", "8.11.26"])
    seconds, bad = moments(midnight, format="%Y-%m-%d %H:%M:%S")
    assert (seconds[0], bad) == (1_794_096_000, [False, False, True])


@pytest.mark.parametrize("cell", ["soon", "2023-02-29", "08.11.2026", "inf", "1e300", "10:30"])
def test_what_is_no_moment_is_pointed_out(cell):
    assert moments(pa.array([cell]))[1] == [True]


def test_years_that_no_calendar_prints_are_no_moments():
    assert moments(pa.array([10**17], pa.timestamp("s")))[1] == [True]
    assert moments(pa.array([2**62]), unit="s")[1] == [True]


def test_types_without_moments_are_refused_by_name():
    for array in (pa.array([[1]]), pa.array([True]), pa.array([dt.time(9)])):
        with pytest.raises(DataError, match=r"no points in time\n  where: column t"):
            moments(array)


def test_parts_have_a_feature_per_value_met_or_not():
    array = pa.array(["2026-11-08 09:30", "2026-12-31 23:59", None, "never"])
    assert ids(array, part="hour") == [2 + 9, 2 + 23, 0, 1]
    assert ids(array, part="weekday") == [2 + 6, 2 + 3, 0, 1]
    assert ids(array, part="day") == [2 + 7, 2 + 30, 0, 1]
    assert ids(array, part="month") == [2 + 10, 2 + 11, 0, 1]
    rows = [fitted(array, part=part)[0].num_features for part in ("hour", "weekday", "day", "month")]
    assert rows == [26, 9, 33, 14]


def test_parts_have_names_and_counts():
    encoder, _ = fitted(pa.array(["2026-11-08 09:30", None, "2026-11-08 10:30"]), part="weekday")
    assert encoder.feature_texts("t", [0, 1, 2, 8]) == [None, None, "Monday", "Sunday"]
    assert encoder.counts.tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 2]


def test_the_clock_is_that_of_the_zone_daylight_saving_included():
    array = pa.array(["2026-01-08 23:30:00", "2026-07-08 23:30:00"])
    assert ids(array, part="hour", timezone="Europe/Rome") == [2 + 0, 2 + 1]
    assert ids(array, part="day", timezone="Europe/Rome") == [2 + 8, 2 + 8]
    assert ids(array, part="hour", timezone="-03:30") == [2 + 20, 2 + 20]


def test_hours_and_days_before_1970_count_forward():
    assert ids(pa.array([-1, -86_400 * 31]), part="hour") == [2 + 23, 2 + 0]
    assert ids(pa.array([-1, -86_400 * 31]), part="weekday") == [2 + 2, 2 + 0]


def test_a_column_without_any_moment_is_refused_with_a_cell_of_it():
    with pytest.raises(DataError, match=r"(?s)no value.*\[fields.t\], column t.*got: 08.11.2026"):
        fitted(pa.array(["08.11.2026", None]), part="hour")
    assert ids(pa.array([None, None], pa.string()), part="hour") == [0, 0]


def test_an_age_is_the_number_of_days_between_two_columns():
    table = pa.table(
        {
            "t": ["2026-11-08 12:00", "2026-11-08", None, "x", "2026-11-09"],
            "joined": [dt.date(2026, 11, 8), dt.date(2026, 11, 10), dt.date(2026, 1, 1), dt.date(2026, 1, 1), None],
            "click": [0, 1, 0, 1, 0],
        }
    )
    schema = Schema(fields=(field(part="age", since="joined", scale="none"),), label="click")
    assert schema.columns == ("t", "joined")
    encoded = Encoder(schema).fit([table]).transform(table)
    assert encoded.batch.values[0].tolist() == [0.5, -2.0, 1.0, 1.0]
    assert encoded.batch.ids[0].tolist() == [1, 1, 0, 0]
    assert [(reject.row, reject.column, reject.value) for reject in encoded.rejects] == [(3, "t", "x")]


def test_ages_may_be_binned_and_crossed():
    fields = (
        field(part="age", since="s", edges=(1.0, 7.0)),
        Field(name="hour", type="time", column="t", part="hour"),
        Field(name="both", type="cross", parts=("t", "hour")),
    )
    table = pa.table({"t": ["2026-11-08 12:00", "2026-11-08"], "s": ["2026-11-08", "2026-10-08"], "click": [0, 1]})
    encoder = Encoder(Schema(fields=fields, label="click")).fit([table])
    assert encoder.transform(table).batch.ids[:2].tolist() == [[2, 4], [14, 2]]
    assert sorted(encoder.feature_texts("both", [2, 3])) == ["< 1 × 12:00", ">= 7 × 00:00"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "requires a part"),
        ({"part": "age"}, "requires since, and vice versa"),
        ({"part": "hour", "since": "s"}, "requires since, and vice versa"),
        ({"part": "age", "since": "s", "timezone": "UTC"}, "does not depend on the time zone"),
        ({"part": "age", "since": "click"}, "label cannot be a field"),
        ({"part": "hour", "unit": "s", "format": "%H"}, "unit and format are mutually exclusive"),
        ({"part": "hour", "format": "%Y-%m-%d"}, "invalid time format"),
        ({"part": "day", "format": "%B %Y"}, "invalid time format"),
        ({"part": "hour", "format": "%I:%M"}, "invalid time format"),
        ({"part": "hour", "format": "%H:%M %Z"}, "invalid time format"),
        ({"part": "hour", "timezone": "Rome"}, "unknown time zone"),
        ({"part": "hour", "timezone": "../x"}, "unknown time zone"),
        ({"part": "hour", "timezone": "+5"}, "unknown time zone"),
        ({"part": "hour", "bins": 4}, "bins and edges"),
        ({"part": "hour", "min_count": 2}, "min_count"),
        ({"part": "hour", "buckets": 2}, "buckets"),
    ],
)
def test_settings_of_times_that_contradict_each_other_are_refused(settings, says):
    with pytest.raises(ConfigError, match=says):
        Schema(fields=(field(**settings),), label="click").check()


def test_only_times_have_the_settings_of_times():
    with pytest.raises(ConfigError, match="only allowed for times: part, timezone"):
        Field(name="a", column="a", part="hour", timezone="UTC").check()
