"""Points in time: the hour, weekday, day or month that a clock and calendar show, and the days between two columns.

A moment is read alike from every type of column, as whole seconds since 1970 in UTC:

======================================  ================================================================================
cell                                    moment
======================================  ================================================================================
timestamp, date                         itself; timestamps without a zone and dates are in UTC
text in ISO 8601                        ``2026-11-08``, ``2026-11-08 09:30:00.25``, ``2026-11-08T09:30+02:00``; in UTC
                                        without a zone (`kernels.times`)
number, also as text                    time since 1970 in the field's `unit`; where none is stated, by its size:
                                        seconds below 10^11, milliseconds below 10^14, microseconds below 10^17, else
                                        nanoseconds. So seconds are read rightly up to the year 5138, the others from
                                        1973 on: state the unit for others
text or whole number with a `format`    the time of this pattern: 14102109 with ``%y%m%d%H``
null, NaN, empty text; texts of the     missing
field's `missing`
======================================  ================================================================================

Anything else, and what lies before the year 1 or after 9999, is no moment. `timezone` says by which clock and calendar
parts are taken, daylight saving included.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fieldwise.errors import DataError
from fieldwise.features.canonical import buffers, is_text, plain
from fieldwise.features.cells import Arrays, Cells
from fieldwise.features.columns import Columns, Reject, reading
from fieldwise.features.fields import FieldEncoder
from fieldwise.features.missing import is_missing
from fieldwise.features.numerals import parse_text, read_numbers
from fieldwise.features.scratch import Scratch
from fieldwise.kernels.layout import MISSING, SINGLE, UNSEEN
from fieldwise.kernels.times import ISO, compile_pattern, parse_times
from fieldwise.schema import Field

__all__ = ["CalendarEncoder", "read_age", "read_moments"]

Float64s = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]
_FIRST = UNSEEN + 1
_DAY = 86_400
_QUARTER = 900
_FIRST_MOMENT, _LAST_MOMENT = -62_135_596_800.0, 253_402_300_799.0  # the years 1 to 9999
_QUARTERS = -69_030_000, 281_550_000  # in which a datetime of any zone lies in these years
_NOT_A_TIME = "not a point in time"
_NO_FORMAT = f'{_NOT_A_TIME}: state how the field has them, as in format = "%d/%m/%Y %H:%M"'
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
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


def read_moments(columns: Columns, name: str, field: Field) -> tuple[Float64s, Bools]:
    """Read a column as moments.

    Parameters
    ----------
    columns, name
        The column.
    field
        Its `unit` and `format`, and what means missing in it.

    Returns
    -------
    Whole seconds since 1970 in UTC, (B,), NaN for missing and for what is no moment; and which cells are none, (B,).

    Raises
    ------
    DataError
        The column's type holds no points in time.

    Examples
    --------
    >>> field = Field(name="time", type="time", column="time", part="hour")
    >>> columns = Columns(pa.table({"time": ["1970-01-02", "86400", "1762594200999", "soon", None]}))
    >>> seconds, bad = read_moments(columns, "time", field)
    >>> seconds.tolist(), bad.tolist()
    ([86400.0, 86400.0, 1762594200.0, nan, nan], [False, False, False, True, False])
    """
    array = columns.array(name)
    kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        seconds = _of_temporal(plain(array))
        bad = np.zeros(len(seconds), dtype=np.bool_)
    elif field.format is not None:
        seconds, bad = _of_pattern(columns, name, field.format, field.missing)
    elif is_text(kind):
        seconds, bad = _of_text(columns.text(name), field.unit, field.missing)
    else:
        numbers, bad = _numbers(columns, name, field.missing)
        seconds = _of_numbers(numbers, field.unit)
    bad |= ~np.isnan(seconds) & ~((seconds >= _FIRST_MOMENT) & (seconds <= _LAST_MOMENT))
    gone = bad if not (sentinels := _missing_moments(field)) else bad | np.isin(seconds, sentinels)
    return np.where(gone, np.nan, seconds), bad


@lru_cache(maxsize=1024)
def _missing_moments(field: Field) -> tuple[float, ...]:
    """Return the moments that mean missing, such as 1900-01-01 where a configuration says so."""
    # A moment in ISO, or as a number, begins with a digit: nothing is parsed, nor compiled, for the usual texts.
    texts = [text for text in field.missing if field.format is not None or any(map(str.isdigit, text))]
    if not texts:
        return ()
    bare = Field(name=field.name, type="time", column="at", part="hour", unit=field.unit, format=field.format)
    seconds, _ = read_moments(Columns(pa.table({"at": texts})), "at", bare)
    return tuple(seconds[~np.isnan(seconds)].tolist())


def _of_temporal(array: pa.Array) -> Float64s:
    if pa.types.is_timestamp(array.type):
        unit = array.type.unit
    else:
        array, unit = array.cast(pa.date32()).cast(pa.timestamp("s")), "s"
    counted = array.cast(pa.int64())
    seconds = counted.fill_null(0).to_numpy(zero_copy_only=False) // _PER_SECOND[unit]
    return np.where(pc.is_null(counted).to_numpy(zero_copy_only=False), np.nan, seconds.astype(np.float64))


def _numbers(columns: Columns, name: str, missing: tuple[str, ...]) -> tuple[Float64s, Bools]:
    try:
        return read_numbers(columns, name, missing)
    except DataError as error:
        raise DataError(
            "a column of this type holds no points in time",
            where=f"column {name}",
            expected="timestamps, dates, text or numbers",
            got=error.got,
            fix="leave the field out, or cast the column",
        ) from None


def _of_numbers(numbers: Float64s, unit: str | None) -> Float64s:
    if unit is not None:
        return np.asarray(numbers // _PER_SECOND[unit])
    size = np.abs(numbers)
    per_second = np.select([size < 1e11, size < 1e14, size < 1e17], [1e0, 1e3, 1e6], 1e9)
    with np.errstate(invalid="ignore"):  # infinity
        return np.asarray(numbers // per_second)


def _of_text(text: pa.Array, unit: str | None, missing: tuple[str, ...]) -> tuple[Float64s, Bools]:
    if pa.types.is_dictionary(text.type):
        seconds, bad = _of_text(text.dictionary, unit, missing)
        return _taken(text.indices, seconds, bad)
    seconds = _of_iso(text)
    left = np.flatnonzero(np.isnan(seconds))
    bad = np.zeros(len(text), dtype=np.bool_)
    if len(left):
        numbers, bad[left] = parse_text(text.take(pa.array(left)), missing)
        seconds[left] = _of_numbers(numbers, unit)
    return seconds, bad


def _of_iso(text: pa.Array) -> Float64s:
    """Return the seconds of texts in ISO 8601, (B,), NaN for others."""
    for kind in (pa.timestamp("s"), pa.timestamp("s", "UTC")):
        # Arrow reads a column whose times are all whole seconds, all with a zone or all without, three times as fast
        # as our kernel, which need not be compiled then; at the first cell that is not, it gives up.
        with suppress(pa.ArrowInvalid):
            return _of_temporal(text.cast(kind))
    return parse_times(*buffers(text), ISO)


def _of_pattern(columns: Columns, name: str, pattern: str, missing: tuple[str, ...]) -> tuple[Float64s, Bools]:
    # Digits may come as a number, and then as 14102109.0 where its column has gaps; all else is read as it is written,
    # for canonical text leaves midnight out.
    with reading(name):
        only_digits = not pattern.translate({ord(letter): None for letter in "%YymdHMS"})
        text = plain(columns.text(name) if only_digits else columns.written(name))
    seconds = parse_times(*buffers(text), compile_pattern(pattern))
    empty = pc.equal(pc.binary_length(text), 0).fill_null(True).to_numpy(zero_copy_only=False)
    bad = np.isnan(seconds) & ~empty
    if missing and bad.any():
        bad[bad] = ~is_missing(text.filter(pa.array(bad)), missing).to_numpy(zero_copy_only=False)
    return seconds, bad


def _taken(indices: pa.Array, seconds: Float64s, bad: Bools) -> tuple[Float64s, Bools]:
    """Return what a dictionary's values are, in its places."""
    at: npt.NDArray[np.int64] = indices.cast(pa.int64()).fill_null(len(seconds)).to_numpy()
    return np.append(seconds, np.nan)[at], np.append(bad, False)[at]


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
