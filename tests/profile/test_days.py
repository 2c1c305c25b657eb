"""Points in time in every way of writing them."""

from __future__ import annotations

import datetime

import pyarrow as pa
import pytest

from fieldwise.features.columns import Columns
from fieldwise.profile.survey.days import NO_DAY, day_text, days_of

MOMENT = datetime.datetime(2014, 10, 21, 23, 30, tzinfo=datetime.UTC)
SECONDS = int(MOMENT.timestamp())


@pytest.mark.parametrize(
    "array",
    [
        pa.array([MOMENT]),
        pa.array([MOMENT]).cast(pa.timestamp("ns", "America/New_York")),
        pa.array([MOMENT.date()]),
        pa.array([MOMENT.date()]).cast(pa.date64()),
        pa.array([SECONDS]),
        pa.array([SECONDS * 1000]),
        pa.array([SECONDS * 1_000_000]),
        pa.array([float(SECONDS)]),
        pa.array([str(SECONDS)]),
        pa.array(["2014-10-21"]),
        pa.array(["2014-10-21T23:30:00Z"]),
        pa.array(["2014/10/21 23:30"]),
        pa.array([20141021]),
        pa.array([2014102123]),
        pa.array([14102123]),
        pa.array(["14102123"]),
    ],
    ids=lambda array: f"{array.type} {array[0]}",
)
def test_a_day_is_read_from_what_logs_write(array):
    assert day_text(days_of(Columns(pa.table({"at": array})), "at")[0]) == "2014-10-21"


@pytest.mark.parametrize(
    "array", [pa.array([None], pa.int64()), pa.array(["soon"]), pa.array([5]), pa.array([20141399])]
)
def test_what_is_no_day_has_none(array):
    assert days_of(Columns(pa.table({"at": array})), "at").tolist() == [NO_DAY]
