"""Whether a column holds points in time, how they are written, and what of them comes again."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fieldwise.features.columns import Columns
from fieldwise.features.moments import read_moments
from fieldwise.profile.infer.names import is_time
from fieldwise.profile.infer.time_formats import CLOCK_TEXT, DATE_TEXT, SHORT_DATE_TEXT, formats_of
from fieldwise.profile.infer.values import Values
from fieldwise.schema import Field, TimePart

__all__ = ["Times", "find_times"]

_MONTH_DAY = "(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])"
_CLOCK = "(([01][0-9]|2[0-3])([0-5][0-9]){0,2})?"
_DATE_NUMBER = f"^(19[7-9][0-9]|20[0-9]{{2}}){_MONTH_DAY}{_CLOCK}$"
_SHORT_DATE_NUMBER = f"^[0-9]{{2}}{_MONTH_DAY}{_CLOCK}$"
_EPOCH = (1e8, 4e9)
"""Seconds since 1970, from 1973 to 2096; or their thousandths, millionths, billionths."""
_DATE_OR_EPOCH = f"{DATE_TEXT}|^[0-9]{{9,19}}$"
"""What several services write into one column."""
_STRAY_SHARE = 0.1
"""Of cells that look like times and are none, such as 0000-00-00: they are *unseen*."""
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
    formats
        Of which one fits as well as another.
    """

    parts: tuple[TimePart, ...] = ()
    format: str | None = None
    formats: tuple[str, ...] = ()


def find_times(name: str, kind: pa.DataType, values: Values) -> Times | None:
    """Find out how points in time are written; None where the values are something else.

    Whole numbers such as 20261108 and 2026110809 are dates and hours; 14102109, and numbers since 1970, only where the
    column's name says that it is about time; and so for clocks without a date, and dates with a year of two digits and
    no clock.

    Examples
    --------
    >>> find_times("hour", pa.string(), Values(pa.array(["14102100", "14102101"])))
    Times(parts=('hour', 'weekday'), format='%y%m%d%H', formats=())
    >>> find_times("price", pa.string(), Values(pa.array(["14102100", "14102101"]))) is None
    True
    """
    numbers, named = values.numbers, is_time(name)
    if pa.types.is_temporal(kind):
        return _read(values, None)
    if numbers is None:
        if values.all_match(DATE_TEXT) or (named and any(map(values.all_match, (SHORT_DATE_TEXT, _DATE_OR_EPOCH)))):
            return _read(values, None)
        return _clocks(values) if named and values.all_match(CLOCK_TEXT) else None
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


def _fitting(values: Values) -> tuple[str, ...]:
    """Return the formats that nearly all values have: several where it could be the day or the month that is first."""
    places = {int(np.argmax(values.counts)), 0, values.num_distinct - 1}
    texts = [text for place in places if (text := values.texts[place].as_py()) is not None]
    fitting = [
        format_
        for format_ in dict.fromkeys(format_ for text in texts for format_ in formats_of(text.strip()))
        if values.counts[_moments(values, format_)[1]].sum() <= _STRAY_SHARE * values.num_present
    ]
    return tuple(fitting)


def _clocks(values: Values) -> Times | None:
    """Return the hour of times of day."""
    fitting = _fitting(values)
    return Times(("hour",), fitting[0]) if len(fitting) == 1 else None


def _read(values: Values, year: str | None) -> Times:
    format_ = None
    if year is not None:
        lengths = pc.unique(pc.utf8_length(values.texts)).to_pylist()
        if len(lengths) > 1:
            return Times()
        format_ = year + _DIGITS[: lengths[0] - (4 if year == "%Y" else 2)]
    seconds, bad = _moments(values, format_)
    if format_ is None and values.counts[bad].sum() > _STRAY_SHARE * values.num_present:
        fitting = _fitting(values)
        if len(fitting) != 1:
            return Times(formats=fitting)
        [format_] = fitting
        seconds, bad = _moments(values, format_)
    if values.counts[bad].sum() > _STRAY_SHARE * values.num_present:
        return Times()
    of_pattern = format_ is not None and ("%H" in format_ or "%I" in format_)
    has_clock = of_pattern or (format_ is None and bool(np.any(seconds[~bad] % 86_400)))
    if has_clock:
        return Times(("hour", "weekday"), format_)
    # A log may begin with many rows of one hour. Where there is no clock, one date in all of them is that of the log.
    constant = values.num_distinct == 1 and not values.num_missing
    return Times(() if constant else ("weekday",), format_)
