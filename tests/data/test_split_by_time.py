"""Parts that are cut by time: no row of a later part lies before one of an earlier part."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from fieldwise.data.chunk import Chunk
from fieldwise.data.log import open_table
from fieldwise.data.split import NO_PART
from fieldwise.data.split_by_time import MomentCounts, SplitByTime
from fieldwise.errors import ConfigError, DataError
from fieldwise.schema import Field

FIELD = Field(name="time", type="time", column="time", part="hour")


def dealt(times, valid=0.2, test=0.2, field=FIELD):
    table = pa.table({"time": times})
    split = SplitByTime(lambda: open_table(table), field, valid, test)
    parts, rejects = split.parts(Chunk(table, "log.csv", 0, np.arange(1, table.num_rows + 1), []))
    return split, parts.tolist(), rejects


def test_the_last_rows_are_tested_on_and_those_before_them_validated():
    days = [f"2026-01-{day:02d}" for day in (3, 1, 2, 10, 9, 4, 5, 6, 8, 7)]
    split, parts, rejects = dealt(days)
    assert parts == [0, 0, 0, 2, 2, 0, 0, 0, 1, 1]
    assert not rejects
    assert split.remarks == [
        "parts are cut by the time in time: train first, valid from 2026-01-07 00:00:00 UTC on, "
        "test from 2026-01-09 00:00:00 UTC on"
    ]


@given(
    st.lists(st.integers(0, 10_000_000), min_size=2, max_size=60).filter(lambda times: len(set(times)) > 1),
    st.sampled_from([(0.1, 0.1), (0.3, 0.0), (0.0, 0.4), (0.25, 0.5)]),
)
def test_no_row_lies_before_one_of_an_earlier_part(times, shares):
    try:
        _, parts, _ = dealt(times, *shares)
    except DataError:  # few moments, and nothing left to train on
        reject()
    for one, part in zip(times, parts, strict=True):
        for other, of_other in zip(times, parts, strict=True):
            assert one <= other or part >= of_other
            assert one != other or part == of_other


@given(st.lists(st.integers(0, 3000), min_size=2, max_size=40, unique=True))
def test_shares_are_met_to_a_row_where_no_two_rows_have_one_moment(times):
    counts = MomentCounts()
    counts.add(np.array(times, dtype=np.float64))
    for share in (0.1, 0.25, 0.5, 0.9):
        number = (np.array(times) >= counts.latest(share)).sum()
        assert abs(number - share * len(times)) <= 0.5


@given(st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=50), st.integers(1, 6), st.integers(1, 7))
def test_counts_do_not_depend_on_how_rows_come(times, most, size):
    one, other = MomentCounts(most), MomentCounts(most)
    one.add(np.array(times, dtype=np.float64))
    backwards = times[::-1]
    for first in range(0, len(times), size):
        other.add(np.array(backwards[first : first + size], dtype=np.float64))
    assert one.step == other.step
    assert [one.latest(share) for share in (0.1, 0.5, 0.9)] == [other.latest(share) for share in (0.1, 0.5, 0.9)]


def test_a_row_without_a_time_is_rejected_with_the_reason():
    _, parts, rejects = dealt(["2026-01-01", "", "soon", "2026-01-02", "2026-01-03", "2026-01-04", "2026-01-05"])
    assert parts == [0, 3, 3, 0, 0, 1, 2]
    assert [(reject.row, reject.reason) for reject in rejects] == [
        (2, "the time is missing, so the row has no part"),
        (3, "the time is not a point in time, so the row has no part"),
    ]


def test_times_are_read_as_the_field_says():
    field = Field(name="time", type="time", column="time", part="hour", format="%d/%m/%Y")
    _, parts, _ = dealt(["01/02/2026", "02/01/2026", "03/01/2026", "01/03/2026"], 0.25, 0.25, field)
    assert parts == [1, 0, 0, 2]


def test_rows_of_one_moment_are_not_parted():
    _, parts, _ = dealt(["2026-01-01"] * 4)
    assert parts == [0, 0, 0, 0]


@pytest.mark.parametrize("days", [["2026-01-01"] * 9 + ["2026-01-02"], ["2026-01-01"] * 4])
def test_times_that_leave_nothing_to_train_on_are_refused_with_how_many_there_are(days):
    with pytest.raises(DataError, match=r"(?s)nothing to train on.*last 0.7 of all.*[12] moments? in \d+ rows"):
        dealt(days, 0.4, 0.3)


def test_a_log_without_times_is_refused():
    with pytest.raises(DataError, match="cannot be cut by time"):
        dealt(["", "x", "", ""])


def test_shares_that_leave_nothing_to_train_on_are_refused():
    with pytest.raises(ConfigError, match="nothing to train on"):
        SplitByTime(lambda: open_table(pa.table({})), FIELD, 0.5, 0.5)


def test_rows_of_later_folds_have_no_part_and_that_is_said():
    table = pa.table({"time": [f"2026-01-{day:02d}" for day in range(1, 11)]})
    split = SplitByTime(lambda: open_table(table), FIELD, 0.2, 0.2, later=0.3)
    parts, rejects = split.parts(Chunk(table, "log.csv", 0, np.arange(1, 11), []))
    assert parts.tolist() == [0, 0, 0, 1, 1, 2, 2, NO_PART, NO_PART, NO_PART]
    assert not rejects
    assert split.remarks[0].endswith("later folds from 2026-01-08 00:00:00 UTC on")


@pytest.mark.parametrize("each", [1, 2, 7])
@pytest.mark.parametrize("folds", [3, 7, 10])
def test_every_row_behind_the_first_stretches_is_tested_in_one_fold_however_many_share_a_moment(folds, each):
    stretch = 1 / (folds + 2)
    for num_moments in range(folds + 2, 60):
        table = pa.table({"time": np.repeat(np.arange(num_moments) * 100, each)})
        chunk = Chunk(table, "log.csv", 0, np.arange(1, table.num_rows + 1), [])
        tested = np.zeros(table.num_rows, dtype=int)
        for fold in range(folds):
            later = (folds - 1 - fold) * stretch
            split = SplitByTime(lambda: open_table(table), FIELD, stretch, stretch, later=later)  # noqa: B023
            tested += split.parts(chunk)[0] == 2
        first = int(tested.argmax())
        assert (tested[first:] == 1).all()
        assert (tested[:first] == 0).all()
