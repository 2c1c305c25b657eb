import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import times as reference

from fieldwise.features.canonical import buffers
from fieldwise.kernels.times import ISO, compile_pattern, parse_times


def parsed(texts: list[str | None], pattern: str | None = None) -> list[float]:
    array = pa.array(texts, pa.string())
    return parse_times(*buffers(array), ISO if pattern is None else compile_pattern(pattern)).tolist()


def same(found: list[float], expected: list[float]) -> bool:
    return np.array_equal(found, expected, equal_nan=True)


CLOCKS = ["", "09", "09:30", "24:00", "23:60", "23:59:60", "9:30", "09:30:00,5", "09:"]
ZONES = ["", "Z", "z", " Z", " UTC", "UTC", "+02", "+0200", "-02:30", " +02:00", "+24:00", "+1", "+02:60", " ", "."]
NEARLY_ISO = st.tuples(
    st.sampled_from(["", " "]),
    st.dates().map(str) | st.from_regex(r"\A[0-9]{4}-[0-3][0-9]-[0-3][0-9]\Z"),
    st.sampled_from(["", "T", " ", "t", "x"]),
    st.times().map(str) | st.sampled_from(CLOCKS),
    st.sampled_from(ZONES),
).map("".join)


@settings(max_examples=400)
@given(st.lists(NEARLY_ISO | st.text("0123456789-:T. Z+", max_size=12), max_size=5))
def test_iso_is_read_as_the_reference_does(texts):
    assert same(parsed(texts), [reference.iso(text) for text in texts])


def test_days_that_no_calendar_has_are_refused():
    assert same(parsed(["2023-02-29", "1900-02-29", "2026-04-31", "2026-13-01", "0000-01-01"]), [math.nan] * 5)
    assert parsed(["2024-02-29", "2000-02-29"]) == [1_709_164_800.0, 951_782_400.0]


def test_a_fraction_never_moves_a_moment():
    assert parsed(["2026-11-08 09:59:59.999999999999"]) == parsed(["2026-11-08 09:59:59"])


def test_null_and_nothing_are_no_time():
    assert same(parsed([None, "", "  ", "1970-01-01"]), [math.nan, math.nan, math.nan, 0.0])
    assert parsed([]) == []


@pytest.mark.parametrize("pattern", ["%Y%m%d%H", "%y%m%d", "%d/%m/%Y %H:%M", "%m·%d·%y %H:%M:%S", "%H"])
@settings(max_examples=50)
@given(data=st.data())
def test_patterns_are_read_as_the_reference_does(pattern, data):
    filled = st.datetimes().map(lambda time: f"{time:%Y}".zfill(4).join(f"{time:{pattern}}".split(f"{time:%Y}")))
    digits = st.text("0123456789", min_size=8, max_size=10)
    texts = data.draw(
        st.lists(filled | digits | st.just("31/02/2026 10:00") | st.just("99·99·99 99:99:99"), max_size=5)
    )
    assert same(parsed(texts, pattern), [reference.patterned(text, pattern) for text in texts])


@pytest.mark.parametrize(
    ("text", "pattern", "moment"),
    [
        ("01/Nov/2026:10:01:02 +0000", "%d/%b/%Y:%H:%M:%S %z", "2026-11-01 10:01:02"),
        ("[1/NOVEMBER/2026:10:01:02 -07:30]", "[%d/%b/%Y:%H:%M:%S %z]", "2026-11-01 17:31:02"),
        ("11/1/2026 9:05 PM", "%m/%d/%Y %I:%M %p", "2026-11-01 21:05"),
        ("12:00 am", "%I:%M %p", "1970-01-01 00:00"),
        ("12:59 PM", "%I:%M %p", "1970-01-01 12:59"),
        ("01-NOV-26 10.01.02.123456 AM", "%d-%b-%y %I.%M.%S.%f %p", "2026-11-01 10:01:02"),
        ("Wed Aug 27 13:08:45 +0000 2008", "%a %b %d %H:%M:%S %z %Y", "2008-08-27 13:08:45"),
        ("Sun, 01 Nov 2026 10:01:02 GMT", "%a, %d %b %Y %H:%M:%S %z", "2026-11-01 10:01:02"),
        ("20261101T100102Z", "%Y%m%dT%H%M%S%z", "2026-11-01 10:01:02"),
        ("May 5, 2026", "%B %d, %Y", "2026-05-05"),
    ],
)
def test_names_halves_of_days_zones_and_fractions_are_read(text, pattern, moment):
    assert parsed([text], pattern) == parsed([moment])
    assert math.isfinite(parsed([text], pattern)[0])


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("13:00 PM", "%I:%M %p"),
        ("0:30 AM", "%I:%M %p"),
        ("9:30 XM", "%I:%M %p"),
        ("9:30", "%I:%M %p"),
        ("1/Nev/2026", "%d/%b/%Y"),
        ("1/No", "%d/%b/%Y"),
        ("10:00 CEST", "%H:%M %z"),
        ("10:00 ", "%H:%M %z"),
        ("202611011", "%Y%m%d%H"),
        ("10:00.", "%H:%M.%f"),
    ],
)
def test_what_does_not_follow_its_pattern_is_no_time(text, pattern):
    assert same(parsed([text], pattern), [math.nan])


def test_two_digits_of_a_year_are_of_the_century_that_posix_says():
    assert parsed(["690101", "700101", "000101"], "%y%m%d") == [-31_536_000.0, 0.0, 946_684_800.0]
