"""Moments one by one, for `kernels.serve`: a text to seconds since 1970, and what a clock or a calendar shows of them.

The rules are those of `features.moments` and `features.times`, for texts that are written as most are; what is not is
left to them.
"""

from __future__ import annotations

import numpy as np

from fieldwise.kernels.jit import merged, part
from fieldwise.kernels.times import moment_of

__all__ = ["PARTS", "UNREAD", "calendar_part", "clock_ahead", "read_moment"]

PARTS = {"hour": 0, "weekday": 1, "day": 2, "month": 3}
UNREAD = -9.0e18
"""What this module cannot tell."""
_FIRST, _LAST = -62_135_596_800.0, 253_402_300_799.0  # the years 1 to 9999
_DAY, _QUARTER = 86_400, 900
_MOST_DIGITS, _MOST_BEFORE_POINT = 18, 15
"""Of a whole number that fits 64 bits, and of one with a fraction that changes nothing when it is dropped."""
_MINUS, _POINT, _0, _9 = (ord(letter) for letter in "-.09")


@part
def read_moment(data, begin, end, pattern, per_second, places):  # type: ignore[no-untyped-def]
    """Return the moment of a text as whole seconds since 1970 in UTC; NaN for an empty one, or `UNREAD`.

    Parameters
    ----------
    data, begin, end
        The text's bytes.
    pattern
        As of `kernels.times.parse_times`.
    per_second
        How many units of a number are a second; 0 where its size tells, negative where a number is no moment.
    places
        (9,) int64, written.
    """
    if begin == end:
        return np.nan
    seconds = moment_of(data, begin, end, pattern, places)
    if np.isnan(seconds) and per_second >= 0:
        seconds = _of_number(data, begin, end, per_second)
    return seconds if seconds >= _FIRST and seconds <= _LAST else UNREAD


@merged
def _of_number(data, begin, end, per_second):  # type: ignore[no-untyped-def]
    is_negative = data[begin] == _MINUS
    at = begin + is_negative
    first, number = at, np.int64(0)
    while at < end and at - first < _MOST_DIGITS and data[at] >= _0 and data[at] <= _9:
        number = number * 10 + (np.int64(data[at]) - _0)
        at += 1
    num_digits = at - first
    if num_digits == 0:
        return np.nan
    if at < end:
        if data[at] != _POINT or is_negative or num_digits > _MOST_BEFORE_POINT or at + 1 == end:
            return np.nan
        for k in range(at + 1, end):
            if data[k] < _0 or data[k] > _9:
                return np.nan
    x = np.float64(-number if is_negative else number)
    if per_second == 0:
        size = abs(x)
        per_second = 1e0 if size < 1e11 else (1e3 if size < 1e14 else (1e6 if size < 1e17 else 1e9))
    return x // per_second


@merged
def clock_ahead(quarters, ahead, begin, end, seconds):  # type: ignore[no-untyped-def]
    """Return by how many seconds a clock is ahead of UTC; 0 without a zone, `UNREAD` outside the years that are known.

    Parameters
    ----------
    quarters, ahead
        From which quarter of an hour since 1970 on, in increasing order, and by how many seconds; the last is the end.
    begin, end
        Which of them are the zone's.
    """
    if begin == end:
        return 0.0
    quarter = seconds // _QUARTER
    low, high = begin, end
    while low < high:
        middle = (low + high) // 2
        if quarters[middle] <= quarter:
            low = middle + 1
        else:
            high = middle
    return UNREAD if low == begin or low == end else np.float64(ahead[low - 1])


@merged
def calendar_part(local, which):  # type: ignore[no-untyped-def]
    """Return the hour, the weekday from Monday, the day or the month of seconds by a local clock, each from 0."""
    if which == 0:
        return local // 3600 % 24
    days = local // _DAY
    if which == 1:
        return (days + 3) % 7  # 1970-01-01 was a Thursday
    # In years that begin in March, 400 of which have 146,097 days (the inverse of `kernels.times`).
    since = days + 719_468
    of_era = since % 146_097
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    return of_year - (153 * month + 2) // 5 if which == 2 else (month + 2) % 12
