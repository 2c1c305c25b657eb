"""Whether a column holds points in time, how they are written, and what of them comes again."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fieldwise.features.columns import Columns
from fieldwise.features.times import read_moments
from fieldwise.infer.names import is_time
from fieldwise.infer.values import Values
from fieldwise.schema import Field, TimePart

__all__ = ["Times", "find_times"]

_DATE_TEXT = (
    r"^\s*([0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}|[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{4}"
    r"|[0-9]{1,2}[-/ ][A-Z][a-z]{2}[-/ ][0-9]{4})([T ].*)?$"
)
_MONTH_DAY = "(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])"
_CLOCK = "(([01][0-9]|2[0-3])([0-5][0-9]){0,2})?"
_DATE_NUMBER = f"^(19[7-9][0-9]|20[0-9]{{2}}){_MONTH_DAY}{_CLOCK}$"
_SHORT_DATE_NUMBER = f"^[0-9]{{2}}{_MONTH_DAY}{_CLOCK}$"
_EPOCH = (1e8, 4e9)
"""Seconds since 1970, from 1973 to 2096; or their thousandths, millionths, billionths."""
_STRAY_SHARE = 0.1
"""Of cells that look like times and are none, such as 0000-00-00: they are *unseen*."""
_DATES = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d")
_CLOCKS = ("", " %H:%M", " %H:%M:%S", "T%H:%M:%S")
_DIGITS = "%m%d%H%M%S"


class Times(NamedTuple):
    """What a column of points in time is good for.

    Attributes
    ----------
    parts
        Those of a moment that tell examples apart and come again: the hour, where there is a clock, and the weekday.
        None where it is not known how the times are written, or all are one and the same day.
    format
        See `schema.Field`.
    """

    parts: tuple[TimePart, ...] = ()
    format: str | None = None


def find_times(name: str, kind: pa.DataType, values: Values) -> Times | None:
    """Find out how points in time are written; None where the values are something else.

    Whole numbers such as 20261108 and 2026110809 are dates and hours; 14102109, and numbers since 1970, only where the
    column's name says that it is about time.

    Examples
    --------
    >>> find_times("hour", pa.string(), Values(pa.array(["14102100", "14102101"])))
    Times(parts=('hour', 'weekday'), format='%y%m%d%H')
    >>> find_times("price", pa.string(), Values(pa.array(["14102100", "14102101"]))) is None
    True
    """
    numbers, named = values.numbers, is_time(name)
    if pa.types.is_temporal(kind) or (numbers is None and values.all_match(_DATE_TEXT)):
        return _read(values, None)
    if numbers is None:
        return None
    if (named or values.num_distinct > 2) and values.all_match(_DATE_NUMBER):
        return _read(values, "%Y")
    if named and values.all_match(_SHORT_DATE_NUMBER):
        return _read(values, "%y")
    first, last = _EPOCH
    if named and any(numbers.min() >= first * unit and numbers.max() <= last * unit for unit in (1, 1e3, 1e6, 1e9)):
        return _read(values, None)
    return None


def _moments(values: Values, format_: str | None) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    field = Field(name="times", type="time", column="times", part="weekday", format=format_)
    return read_moments(Columns(pa.table({"times": values.texts})), "times", field)


def _find_format(values: Values) -> str | None:
    """Return the one format that nearly all values have; None where it could be the day or the month that is first."""
    fitting = [
        date + clock
        for date in _DATES
        for clock in _CLOCKS
        if values.counts[_moments(values, date + clock)[1]].sum() <= _STRAY_SHARE * values.num_present
    ]
    return fitting[0] if len(fitting) == 1 else None


def _read(values: Values, year: str | None) -> Times:
    format_ = None
    if year is not None:
        lengths = pc.unique(pc.utf8_length(values.texts)).to_pylist()
        if len(lengths) > 1:
            return Times()
        format_ = year + _DIGITS[: lengths[0] - (4 if year == "%Y" else 2)]
    seconds, bad = _moments(values, format_)
    if format_ is None and values.counts[bad].sum() > _STRAY_SHARE * values.num_present:
        format_ = _find_format(values)
        seconds, bad = _moments(values, format_)
    if values.counts[bad].sum() > _STRAY_SHARE * values.num_present:
        return Times()
    has_clock = "%H" in format_ if format_ is not None else bool(np.any(seconds[~bad] % 86_400))
    if has_clock:
        return Times(("hour", "weekday"), format_)
    # A log may begin with many rows of one hour. Where there is no clock, one date in all of them is that of the log.
    constant = values.num_distinct == 1 and not values.num_missing
    return Times(() if constant else ("weekday",), format_)
