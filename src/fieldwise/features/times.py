"""What a clock and a calendar show of a moment: hour, weekday, day or month; and the days between two columns.

`timezone` says by which clock and calendar parts are taken, daylight saving included; `moments` how cells are read.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.errors import DataError
from fieldwise.features.cells import Arrays, Cells
from fieldwise.features.columns import Columns, Reject
from fieldwise.features.fields import FieldEncoder
from fieldwise.features.moments import read_moments
from fieldwise.features.scratch import Scratch
from fieldwise.kernels.layout import MISSING, SINGLE, UNSEEN
from fieldwise.schema import Field

__all__ = ["CalendarEncoder", "read_age", "zone_changes"]

Float64s = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]
_FIRST = UNSEEN + 1
_DAY = 86_400
_QUARTER = 900
_QUARTERS_PER_DAY, _LAST_KNOWN = 96, 80 * 365 * 96
_QUARTERS = -69_030_000, 281_550_000  # in which a datetime of any zone lies in these years
_NOT_A_TIME = "not a point in time"
_NO_FORMAT = f'{_NOT_A_TIME}: state how the field has them, as in format = "%d/%m/%Y %H:%M"'
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_VALUES: dict[str, tuple[str, ...]] = {
    "hour": tuple(f"{hour:02d}:00" for hour in range(24)),
    "weekday": _WEEKDAYS,
    "day": tuple(f"day {day}" for day in range(1, 32)),
    "month": _MONTHS,
}


def read_age(columns: Columns, field: Field) -> tuple[Float64s, tuple[Reject, ...]]:
    """Return the days from the moment in `since` to that in `column`, (B,), NaN where one is missing; and rejects."""
    assert field.column is not None
    assert field.since is not None
    moments, rejects = [], []
    reason = _NO_FORMAT if field.format is None else f"{_NOT_A_TIME} in the format of its field, {field.format}"
    for name in (field.column, field.since):
        seconds, bad = read_moments(columns, name, field)
        moments.append(seconds)
        rejects += [columns.reject(int(row), name, reason) for row in np.flatnonzero(bad)]
    return (moments[0] - moments[1]) / _DAY, tuple(rejects)


class CalendarEncoder(FieldEncoder):
    """A part of a moment as one feature per value: local id 2 + i, for hours 0 to 23, weekdays from Monday on, ...

    The values are fixed, met in training or not. Id 0 is missing, and id 1 what is no moment, of which no row is left
    out; where a log holds nothing else, the field is refused.
    """

    form = SINGLE

    def __init__(self, field: Field) -> None:
        assert field.part is not None
        super().__init__(field, num_ids=_FIRST + len(_VALUES[field.part]))
        self._part = field.part
        self._no_moment: str | None = None

    def read(self, columns: Columns, others: Mapping[str, Cells]) -> Cells:
        """Read the moments, and look at the clock or the calendar."""
        name = self.field.column
        assert name is not None
        seconds, bad = read_moments(columns, name, self.field)
        known = ~np.isnan(seconds)
        ids = np.where(bad, UNSEEN, MISSING).astype(np.uint64)
        local = _local(seconds[known].astype(np.int64), self.field.timezone)
        ids[known] = _PARTS[self._part](local).astype(np.uint64) + np.uint64(_FIRST)
        if bad.any() and self._no_moment is None:
            self._no_moment = columns.reject(int(np.argmax(bad)), name, _NOT_A_TIME).value
        return Cells(ids, lambda at: pa.array(self.texts(ids[at].tolist()), pa.string()))

    def learned(self) -> Arrays:
        """Return the counts, and a value that is no moment."""
        value = (self._no_moment or "").encode()
        return {**super().learned(), "no_moment": np.frombuffer(value, dtype=np.uint8)}

    def add_learned(self, arrays: Arrays) -> None:
        """Add counts."""
        super().add_learned(arrays)
        self._no_moment = self._no_moment or arrays["no_moment"].tobytes().decode() or None

    def finish(self, scratch: Scratch) -> None:
        """Refuse a column without any moment."""
        if self._counts[UNSEEN] and not self._counts[_FIRST:].any():
            raise DataError(
                "no value of the column is a point in time",
                where=f"[fields.{self.field.name}], column {self.field.column}",
                expected=self.field.format or "a timestamp, ISO 8601 or a number",
                got=self._no_moment,
                fix='state how times are written, as in format = "%d/%m/%Y %H:%M", or leave the field out',
            )
        super().finish(scratch)

    def texts(self, ids: Iterable[int]) -> list[str | None]:
        """Return names: ``09:00``, ``Monday``, ``day 31``, ``November``."""
        values = _VALUES[self._part]
        return [values[id_ - _FIRST] if id_ >= _FIRST else None for id_ in ids]


def _local(seconds: Int64s, timezone: str | None) -> Int64s:
    """Return what the clock of a zone shows, as seconds since its own 1970-01-01 00:00.

    By Python's database of zones: Arrow's knows no daylight saving after 2037, nor, where a system keeps its files in
    the slim form, after the last change of the rules. Since 1972 clocks change at full quarters of an hour alone.
    """
    if timezone is None:
        return seconds
    quarters, at = np.unique(np.clip(seconds // _QUARTER, *_QUARTERS), return_inverse=True)
    ahead = [_ahead(timezone, quarter) for quarter in quarters.tolist()]
    return seconds + np.array(ahead, dtype=np.int64)[at]


@lru_cache(maxsize=1 << 16)
def _ahead(timezone: str, quarter: int) -> int:
    """Seconds by which the clock of a zone is ahead of UTC, in a quarter of an hour since 1970."""
    if timezone[0] in "+-":
        hours, minutes = int(timezone[1:3]), int(timezone[4:])
        return (hours * 3600 + minutes * 60) * (-1 if timezone[0] == "-" else 1)
    offset = dt.datetime.fromtimestamp(quarter * _QUARTER, ZoneInfo(timezone)).utcoffset()
    assert offset is not None
    return offset // dt.timedelta(seconds=1)


@lru_cache(maxsize=64)
def zone_changes(timezone: str) -> tuple[Int64s, Int64s]:
    """Return from which quarters of an hour since 1970 on (Z,) a clock is ahead of UTC by how many seconds (Z,).

    Every day from 1970 to 2050 is asked for, and between two that differ the quarters: 15 ms. The last entry is the end
    of what is known.

    Examples
    --------
    >>> quarters, ahead = zone_changes("Europe/Rome")
    >>> summer, winter = 1_782_864_000 // 900, 1_795_000_000 // 900
    >>> ahead[np.searchsorted(quarters, [summer, winter], side="right") - 1].tolist()
    [7200, 3600]
    """
    if timezone[0] in "+-":
        return np.array(_QUARTERS), np.full(2, _ahead(timezone, 0))
    look = _ahead.__wrapped__  # the days would drive what is asked for out of its memory
    quarters, ahead = [0], [look(timezone, 0)]
    for low in range(0, _LAST_KNOWN, _QUARTERS_PER_DAY):
        high = low + _QUARTERS_PER_DAY
        if (after := look(timezone, high)) != ahead[-1]:
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if look(timezone, middle) == ahead[-1] else (low, middle)
            quarters.append(high)
            ahead.append(after)
    return np.array([*quarters, _LAST_KNOWN]), np.array([*ahead, ahead[-1]])


def _hour(local: Int64s) -> Int64s:
    return local // 3600 % 24


def _weekday(local: Int64s) -> Int64s:
    return (local // _DAY + 3) % 7  # 1970-01-01 was a Thursday


def _day(local: Int64s) -> Int64s:
    days = (local // _DAY).astype("datetime64[D]")
    since_first: Int64s = (days - days.astype("datetime64[M]")).astype(np.int64)
    return since_first


def _month(local: Int64s) -> Int64s:
    return (local // _DAY).astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12


_PARTS = {"hour": _hour, "weekday": _weekday, "day": _day, "month": _month}
