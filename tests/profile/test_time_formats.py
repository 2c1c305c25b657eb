import datetime as dt

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldwise.features.columns import Columns
from fieldwise.features.moments import read_moments
from fieldwise.profile.infer.guess import guess_column
from fieldwise.schema import Field

FORMATS = [
    "%d/%b/%Y:%H:%M:%S +0000", "[%d/%b/%Y:%H:%M:%S +0000]", "%m/%d/%Y %I:%M %p", "%m/%d/%Y %I:%M:%S %p",
    "%d-%b-%y %I.%M.%S.%f %p", "%a %b %d %H:%M:%S +0000 %Y", "%a, %d %b %Y %H:%M:%S GMT", "%Y%m%d %H:%M",
    "%Y%m%d%H%M%S", "%b %d, %Y %I:%M %p", "%Y%m%dT%H%M%SZ", "%Y-%m-%d-%H.%M.%S.%f", "%d%b%Y:%H:%M:%S", "%d.%m.%Y %H:%M",
    "%Y-%m-%d %H:%M:%S UTC", "%Y-%m-%d %H:%M:%S.%f+00", "%Y-%m-%dT%H:%M:%S.%fZ", "%a %b %d %H:%M:%S UTC %Y",
    "%Y/%m/%d %H:%M:%S", "%d. %B %Y %H:%M", "%Y-%m-%d %H:%M:%S,%f",
]  # fmt: skip


@pytest.mark.parametrize("format_", FORMATS)
@settings(max_examples=5)
@given(hours=st.lists(st.integers(0, 24 * 400), min_size=3, max_size=20, unique=True))
def test_times_as_systems_write_them_have_the_hour_that_they_show(format_, hours):
    begin = dt.datetime(2025, 12, 30, 0, 59)  # the 30th and 31st tell days from months
    moments = [begin, begin + dt.timedelta(days=1, hours=12), *(begin + dt.timedelta(hours=hour) for hour in hours)]
    cells = pa.array([moment.strftime(format_) for moment in moments])
    guess = guess_column("at", cells)
    assert guess.parts == ("hour", "weekday")
    field = Field(name="at", type="time", column="at", part="hour", format=guess.format)
    seconds, bad = read_moments(Columns(pa.table({"at": cells})), "at", field)
    expected = [moment.replace(tzinfo=dt.UTC, second=moment.second).timestamp() for moment in moments]
    if "%S" not in format_:
        expected = [moment - moment % 60 for moment in expected]
    assert seconds.tolist() == expected
    assert not bad.any()


@pytest.mark.parametrize("format_", ["%H:%M", "%I:%M:%S %p", "%H:%M:%S.%f"])
def test_times_of_day_have_an_hour_where_the_name_says_so(format_):
    cells = pa.array([dt.time(hour, minute).strftime(format_) for hour in range(24) for minute in (5, 59)])
    assert guess_column("time", cells).parts == ("hour",)
    assert guess_column("duration", cells).type == "category"


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        (["1/2/2026 10:00", "3/4/2026 11:00"], "in the format %d/%m/%Y %H:%M or %m/%d/%Y %H:%M: specify it"),
        (["2026-Q1-01 x", "2026-01-01 dawn", "2026-01-02 dusk"][1:], "in an unknown format: specify it"),
    ],
)
def test_times_that_are_not_understood_are_left_out_with_what_to_do(cells, says):
    guess = guess_column("at", pa.array(cells))
    assert guess.left_out
    assert says in guess.reason
    assert 'format = "%d/%m/%Y %H:%M"' in guess.reason


@pytest.mark.parametrize(
    "cells",
    [
        ["10.0.12", "1.2.34"],
        ["192.168.1.1", "10.1.12.5"],
        ["12-05-26", "11-04-12"],
        ["12345678-1234", "12345678-1235"],
        ["May 12 mg", "Mar 1"],
    ],
)
def test_versions_addresses_and_codes_are_no_times(cells):
    guess = guess_column("x", pa.array(cells * 9))
    assert (guess.type, guess.left_out) == ("category", False)
