"""Rows by day: which columns hold points in time, and on which day (UTC) each row lies.

It reads Arrow dates and timestamps, texts that begin with a date such as 2026-11-08, numbers such as 20261108,
2026110809 or 26110809 (year, month, day, hour), and seconds since 1970, or milli-, micro- or nanoseconds. Which numbers
are times at all is for `infer` to decide.
"""

from __future__ import annotations

import datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fieldwise.features.canonical import plain
from fieldwise.features.columns import Columns
from fieldwise.features.numerals import read_numbers
from fieldwise.profile.survey.cells import unfold

__all__ = ["DayCounts", "day_text", "days_of"]

Int64s = npt.NDArray[np.int64]

_SECONDS = 86_400
_EPOCH = (1e8, 4e9)
_UNITS = (1.0, 1e3, 1e6, 1e9)
_MAX_DAYS = 10_000
_DATE = r"^\s*(?P<year>(?:19[7-9]|20[0-9])[0-9])[-/.]?(?P<month>[0-9]{2})[-/.]?(?P<day>[0-9]{2})"
_SHORT_DATE = r"^\s*(?P<year>[0-9]{2})(?P<month>[0-9]{2})(?P<day>[0-9]{2})(?:[0-9]{2})?$"
"""Not with minutes: ten digits are seconds since 1970."""

NO_DAY = np.iinfo(np.int64).min
"""The day of a row without one."""


def days_of(columns: Columns, name: str) -> Int64s:
    """Return the day of each row, (B,): days since 1970, `NO_DAY` where the cell is missing or holds none.

    Examples
    --------
    >>> days_of(Columns(pa.table({"at": [86_400 * 20_000 + 5, None]})), "at").tolist() == [20_000, NO_DAY]
    True
    >>> [day_text(days_of(Columns(pa.table({"at": [text]})), "at")[0]) for text in ("2026-11-08 09:30", "26110809")]
    ['2026-11-08', '2026-11-08']
    """
    array = plain(columns.array(name))
    if pa.types.is_date(array.type) or pa.types.is_timestamp(array.type):
        days = array.cast(pa.timestamp(array.type.unit) if pa.types.is_timestamp(array.type) else pa.date32())
        return _filled(days.cast(pa.date32(), safe=False).cast(pa.int32()))
    if pa.types.is_integer(array.type) or pa.types.is_floating(array.type):
        numbers, _ = read_numbers(columns, name)
        return _of_numbers(numbers)
    text = plain(columns.text(name)).cast(pa.large_string())
    numbers, bad = read_numbers(columns, name)
    days = _of_numbers(numbers)
    return np.where(bad, _of_parts(text, _DATE), days)


def _of_numbers(numbers: npt.NDArray[np.float64]) -> Int64s:
    days = np.full(len(numbers), NO_DAY, dtype=np.int64)
    some = np.isfinite(numbers)
    if not some.any():
        return days
    digits = pa.array(np.clip(numbers[some], 0, 9e18).astype(np.int64)).cast(pa.large_string())
    for pattern in (_DATE + "(?:[0-9]{2}){0,3}$", _SHORT_DATE):
        read = _of_parts(digits, pattern)
        if (read != NO_DAY).all():
            days[some] = read
            return days
    first, last = _EPOCH
    for unit in _UNITS:
        within = some & (numbers >= first * unit) & (numbers <= last * unit)
        days[within] = np.floor(numbers[within] / unit / _SECONDS).astype(np.int64)
    return days


def _of_parts(text: pa.Array, pattern: str) -> Int64s:
    """Read year, month and day out of texts."""
    year, month, day = pc.extract_regex(text, pattern).flatten()
    iso = pc.binary_join_element_wise(year, month, day, pa.scalar("-", text.type))
    found = np.full(len(text), NO_DAY, dtype=np.int64)
    shown = iso.dictionary_encode()
    of_texts = np.array([_day(written) for written in shown.dictionary.to_pylist()] + [NO_DAY], dtype=np.int64)
    found[:] = of_texts[shown.indices.fill_null(len(shown.dictionary)).to_numpy(zero_copy_only=False).astype(np.int64)]
    return found


def _day(written: str) -> int:
    year, month, day = map(int, written.split("-"))
    try:
        date = datetime.date(year + 2000 if year < 100 else year, month, day)
    except ValueError:
        return int(NO_DAY)
    return (date - datetime.date(1970, 1, 1)).days if date.year >= 1970 else int(NO_DAY)


def _filled(days: pa.Array) -> Int64s:
    wide: Int64s = days.cast(pa.int64()).fill_null(int(NO_DAY)).to_numpy(zero_copy_only=False)
    return wide


def day_text(day: int) -> str:
    """Return a day as people write it, also one that Python's dates do not hold.

    Examples
    --------
    >>> day_text(20_765), day_text(3_000_000)
    ('2026-11-08', '10183-09-21')
    """
    return str(np.datetime64(int(day), "D"))


class CountedDay(NamedTuple):
    """The rows of a day: days since 1970, and counts (classes, sets)."""

    day: int
    counts: Int64s


class DayCounts:
    """Counts rows by day and cell, chunk by chunk; at most 10,000 days, further ones are passed over."""

    def __init__(self) -> None:
        self._counts: dict[int, dict[int, int]] = {}

    def add(self, days: Int64s, cells: Int64s) -> None:
        """Count B rows."""
        pairs, counts = np.unique(np.stack([days, cells]), axis=1, return_counts=True)
        for day, cell, count in zip(*pairs.tolist(), counts.tolist(), strict=True):
            if day != NO_DAY and (day in self._counts or len(self._counts) < _MAX_DAYS):
                of_day = self._counts.setdefault(day, {})
                of_day[cell] = of_day.get(cell, 0) + count

    def finish(self, order: Int64s) -> list[CountedDay]:
        """Return the days in order; `order` is that of the classes (`cells.unfold`)."""
        found = []
        for day, of_day in sorted(self._counts.items()):
            counts = np.zeros(max(of_day) + 1, dtype=np.int64)
            for cell, count in of_day.items():
                counts[cell] = count
            found.append(CountedDay(day, unfold(counts, order)))
        return found
