"""Times and weighted bags of random rows have the ids of preparing, and the kernel takes those that are usual."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.serving.test_encode import same

from fieldwise.data.tables import as_table
from fieldwise.errors import DataError
from fieldwise.features.encoder import Encoder
from fieldwise.features.times import zone_changes
from fieldwise.schema import Field, Schema
from fieldwise.serving.encode import RowEncoder

SCHEMA = Schema(
    label="click",
    fields=(
        Field(name="hour", type="time", column="at", part="hour", missing=("NULL", "1900-01-01")),
        Field(name="weekday", type="time", column="at", part="weekday", timezone="America/New_York"),
        Field(name="day", type="time", column="at", part="day", timezone="+05:30"),
        Field(name="month", type="time", column="at", part="month", unit="ms"),
        Field(name="text", column="at"),
        Field(name="stamp", type="time", column="stamp", part="hour", format="%y%m%d%H"),
        Field(name="clock", type="time", column="clock", part="day", format="%d/%m %H:%M", timezone="Europe/Rome"),
        Field(name="age", type="time", column="at", part="age", since="since", default=3.0),
        Field(name="bins", type="time", column="since", part="age", since="at", edges=(-5.0, 0.0, 40.0)),
        Field(name="weighted", type="bag", column="weighted", weighted=True, norm="sqrt", missing=("NULL",)),
        Field(name="beside", type="bag", column="values", weights="weights", norm="mean", weight_scale="log"),
        Field(name="cut", type="bag", column="values", weights="weights", max_length=2, buckets=30, default="a"),
        Field(name="plain", type="bag", column="values", norm="sqrt"),
        Field(name="hour x weekday", type="cross", parts=("hour", "weekday", "text")),
    ),
)
MOMENTS = st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31))
RECENT = st.datetimes(dt.datetime(1965, 1, 1), dt.datetime(2055, 1, 1))
ISO = st.builds(
    lambda moment, form: form(moment),
    RECENT | MOMENTS,
    st.sampled_from(
        [
            lambda moment: moment.isoformat(),
            lambda moment: moment.isoformat(" ", "milliseconds"),
            lambda moment: str(moment.date()),
            lambda moment: moment.isoformat(" ", "minutes"),
            lambda moment: moment.isoformat(timespec="seconds") + "Z",
            lambda moment: moment.isoformat(timespec="seconds") + "+02:00",
        ]
    ),
)
NUMBERS = st.integers(-(10**11), 10**19) | st.floats(0, 1e12) | st.sampled_from(["17", "1762594200999", "007", "-5"])
TIMES = ISO | NUMBERS | st.sampled_from([None, "", "1900-01-01"])
SINCE = ISO | st.sampled_from([None, ""])
STAMPS = RECENT.map(lambda moment: moment.strftime("%y%m%d%H")) | st.sampled_from([None, "", 14102109])
CLOCKS = RECENT.map(lambda moment: moment.strftime("%d/%m %H:%M")) | st.none()
NAMES = st.sampled_from(["a", "b", "x:y", "", "5.0", "5", "NULL", "é"])
WEIGHTS = st.floats(-1e6, 1e6).map(lambda weight: round(weight, 3)) | st.integers(-3, 3) | st.just(1e-7)
PAIRS = st.lists(st.tuples(NAMES, WEIGHTS), max_size=4)
WEIGHTED = st.none() | PAIRS.map(lambda pairs: "|".join(f"{name}:{weight}" for name, weight in pairs))
CELLS = st.fixed_dictionaries(
    {"at": TIMES, "since": SINCE, "stamp": STAMPS, "clock": CLOCKS, "weighted": WEIGHTED, "pairs": PAIRS}
)


def row_of(cells, *, as_text):
    """Return a row; the bag and its weights as texts or as lists, one form for all rows of a batch."""
    names, weights = ([pair[side] for pair in cells["pairs"]] for side in (0, 1))
    if as_text:
        names, weights = "|".join(names), "|".join(map(str, weights))
    return {**{name: cell for name, cell in cells.items() if name != "pairs"}, "values": names, "weights": weights}


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    row = {"at": "2026-11-08 09:30:00", "since": "2026-11-01", "stamp": "14102109", "clock": "08/11 09:30"}
    row |= {"weighted": "a:1|b:0.5|5:2", "values": "a|b|5", "weights": "1|0.5|2"}
    later = {**row, "at": "2026-12-24 18:00:00", "values": "a|x:y|é"}
    return Encoder(SCHEMA).fit([pa.Table.from_pylist([{**row, "click": 0}, {**later, "click": 1}] * 3)])


def by_preparing(encoder, rows):
    """Return the batch of the encoder's own way; None for rows that it refuses."""
    try:
        found = encoder.transform(as_table(rows), labelled=False)
    except DataError:
        return None
    return None if found.rejects else found.batch


@given(all_cells=st.lists(CELLS, min_size=1, max_size=4), as_text=st.booleans())
@settings(max_examples=100)
def test_random_rows_have_the_ids_of_preparing(encoder, all_cells, as_text):
    rows = [row_of(cells, as_text=as_text) for cells in all_cells]
    fast, expected = RowEncoder(encoder), by_preparing(encoder, rows)
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    for given_as in (rows, columns):
        if expected is None:
            with pytest.raises(DataError):
                fast.encode(given_as)
        else:
            same(fast.encode(given_as), expected)


def test_usual_rows_are_taken_by_the_kernel(encoder, monkeypatch):
    rows = [
        {"at": "2026-11-08T09:30:00Z", "since": "2026-11-01", "stamp": "14102109", "clock": "08/11 09:30",
         "weighted": "a:1|b:0.5", "values": ["a", "b"], "weights": [1, 2.5]},
        {"at": 1762594200, "since": None, "stamp": 14102109, "clock": None,
         "weighted": {"a": 1.0, "b": 0.5}, "values": "", "weights": None},
    ]  # fmt: skip
    expected = [by_preparing(encoder, [row]) for row in rows]
    monkeypatch.setattr(encoder, "transform", None)
    for row, batch in zip(rows, expected, strict=True):
        same(RowEncoder(encoder).encode([row]), batch)
    table = pa.table({"at": pa.array([dt.datetime(2026, 11, 8, 9, 30)]), "since": pa.array([dt.date(2026, 11, 1)]),
                      "stamp": ["14102109"], "clock": ["08/11 09:30"], "weighted": ["a:1|b:0.5"],
                      "values": [["a", "b"]], "weights": [[1.0, 2.5]]})  # fmt: skip
    same(RowEncoder(encoder).encode(table), expected[0])


@pytest.mark.parametrize("zone", ["Europe/Rome", "Africa/Casablanca", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"])
def test_the_changes_of_a_clock_are_those_of_the_database(zone):
    from zoneinfo import ZoneInfo

    quarters, ahead = zone_changes(zone)
    rng = np.random.default_rng(1)
    near = np.concatenate([quarters[:-1, None] + np.arange(-2, 3), rng.integers(0, quarters[-1], (1000, 5))])
    near = near[(near >= 0) & (near < quarters[-1])]
    for quarter in near.tolist():
        told = dt.datetime.fromtimestamp(quarter * 900, ZoneInfo(zone)).utcoffset()
        assert ahead[np.searchsorted(quarters, quarter, side="right") - 1] == told.total_seconds()
