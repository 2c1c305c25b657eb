"""Points in time from text: ISO 8601 and fixed patterns of digits, over Arrow's buffers.

The proleptic Gregorian calendar, years 0001 to 9999, whole seconds: fractions are read and dropped, so that a moment
never moves into the next hour. There are no leap seconds.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from fieldwise.kernels.jit import kernel

__all__ = ["ISO", "compile_pattern", "parse_times"]

Float64s = npt.NDArray[np.float64]

_MINUS, _PLUS, _COLON, _SPACE, _DOT, _COMMA, _PERCENT = (ord(letter) for letter in "-+: .,%")
_T, _Z, _U, _C = (ord(letter) for letter in "TZUC")
_LOWER = 0x20
_DIRECTIVE = 1 << 8
_YEAR, _SHORT_YEAR, _MONTH, _DAY, _HOUR, _MINUTE = (_DIRECTIVE | ord(letter) for letter in "YymdHM")
_FIRST_SHORT_YEAR = 1969  # as POSIX says: 69 to 99 are of the last century, 00 to 68 of this one

ISO = np.zeros(0, dtype=np.int64)
"""The pattern of ISO 8601."""


def compile_pattern(text: str) -> npt.NDArray[np.int64]:
    """Return what `parse_times` takes for a pattern such as ``%Y%m%d%H``: a number for each directive or byte."""
    codes: list[int] = []
    content = text.encode()
    at = 0
    while at < len(content):
        is_directive = content[at] == _PERCENT
        at += is_directive
        codes.append(content[at] | (_DIRECTIVE if is_directive else 0))
        at += 1
    return np.array(codes, dtype=np.int64)


def parse_times(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    valid: npt.NDArray[np.bool_],
    pattern: npt.NDArray[np.int64],
) -> Float64s:
    """Return whole seconds since 1970 in UTC, (N,); NaN for null and for text that is no such time.

    Parameters
    ----------
    data, offsets, valid
        Texts, as `features.canonical.buffers` gives them. Spaces around a time are passed over.
    pattern
        `ISO` or a compiled pattern. ISO 8601 is a date, ``2026-11-08``; then, after a space or ``T``, perhaps a clock,
        ``09``, ``09:30``, ``09:30:00`` or ``09:30:00.25``; then perhaps a zone, ``Z``, ``UTC``, ``+02``, ``+0200`` or
        ``+02:00``. In a pattern ``%Y`` has four digits, ``%y``, ``%m``, ``%d``, ``%H``, ``%M`` and ``%S`` have two,
        and what is left out is that of 1970-01-01 00:00:00.

    Examples
    --------
    >>> text = b"1970-01-02 01:00+01:00"
    >>> data, valid = np.frombuffer(text, np.uint8), np.zeros(0, np.bool_)
    >>> parse_times(data, np.array([0, 10, 22]), valid, ISO).tolist()
    [86400.0, nan]
    >>> parse_times(data, np.array([0, 22]), valid, ISO).tolist()
    [86400.0]
    >>> parse_times(data, np.array([0, 10]), valid, compile_pattern("%Y-%m-%d")).tolist()
    [86400.0]
    """
    out = np.empty(len(offsets) - 1, dtype=np.float64)
    data = data.view()
    data.flags.writeable = False  # as most Arrow buffers are: numba compiles once for each kind of array
    _parse(data, offsets, valid, pattern, out)
    return out


@njit(inline="always")
def _number(data, at, end, num_digits):  # type: ignore[no-untyped-def]
    """The number that these digits are, or -1."""
    if at + num_digits > end:
        return np.int64(-1)
    number = np.int64(0)
    for k in range(at, at + num_digits):
        digit = np.int64(data[k]) - 48
        if digit < 0 or digit > 9:
            return np.int64(-1)
        number = number * 10 + digit
    return number


@kernel
def _seconds(year, month, day, hour, minute, second):  # type: ignore[no-untyped-def]
    """Seconds since 1970, or NaN where there is no such day or time."""
    if year < 1 or month < 1 or month > 12 or day < 1 or hour > 23 or minute > 59 or second > 59:
        return np.nan
    if hour < 0 or minute < 0 or second < 0:
        return np.nan
    length = np.int64(31)
    if month == 4 or month == 6 or month == 9 or month == 11:
        length = np.int64(30)
    elif month == 2:
        leaps = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        length = np.int64(29) if leaps else np.int64(28)
    if day > length:
        return np.nan
    # Years that begin in March end with the day that may be missing.
    of_march = year - 1 if month <= 2 else year
    months = (month + 9) % 12
    days = 365 * of_march + of_march // 4 - of_march // 100 + of_march // 400 + (153 * months + 2) // 5 + day - 719_469
    return np.float64(((days * 24 + hour) * 60 + minute) * 60 + second)


@kernel
def _zone(data, at, end):  # type: ignore[no-untyped-def]
    """Seconds by which the clock of a zone is ahead; NaN where it is none."""
    length = end - at
    if length == 0 or (length == 1 and data[at] & ~_LOWER == _Z):
        return 0.0
    if data[at] == _SPACE:
        at, length = at + 1, length - 1
    if length == 3 and data[at] == _U and data[at + 1] == _T and data[at + 2] == _C:
        return 0.0
    if length not in (3, 5, 6) or (data[at] != _PLUS and data[at] != _MINUS):
        return np.nan
    hours, minutes = _number(data, at + 1, end, 2), np.int64(0)
    if length > 3:
        if length == 6 and data[at + 3] != _COLON:
            return np.nan
        minutes = _number(data, end - 2, end, 2)
    if hours < 0 or hours > 23 or minutes < 0 or minutes > 59:
        return np.nan
    ahead = np.float64(hours * 3600 + minutes * 60)
    return -ahead if data[at] == _MINUS else ahead


@kernel
def _iso(data, at, end):  # type: ignore[no-untyped-def]
    if end - at < 10 or data[at + 4] != _MINUS or data[at + 7] != _MINUS:
        return np.nan
    year, month, day = _number(data, at, end, 4), _number(data, at + 5, end, 2), _number(data, at + 8, end, 2)
    at += 10
    if at == end:
        return _seconds(year, month, day, 0, 0, 0)
    if data[at] != _SPACE and data[at] & ~_LOWER != _T:
        return np.nan
    hour, minute, second = _number(data, at + 1, end, 2), np.int64(0), np.int64(0)
    at += 3
    if at < end and data[at] == _COLON:
        minute = _number(data, at + 1, end, 2)
        at += 3
        if at < end and data[at] == _COLON:
            second = _number(data, at + 1, end, 2)
            at += 3
            if at + 1 < end and (data[at] == _DOT or data[at] == _COMMA) and _number(data, at + 1, end, 1) >= 0:
                at += 1
                while at < end and 48 <= data[at] <= 57:
                    at += 1
    if at > end:
        return np.nan
    return _seconds(year, month, day, hour, minute, second) - _zone(data, at, end)


@kernel
def _patterned(data, at, end, pattern):  # type: ignore[no-untyped-def]
    year, month, day, hour, minute, second = 1970, 1, 1, 0, 0, 0
    for code in pattern:
        if code < _DIRECTIVE:
            if at >= end or data[at] != code:
                return np.nan
            at += 1
            continue
        num_digits = 4 if code == _YEAR else 2
        number = _number(data, at, end, num_digits)
        if number < 0:
            return np.nan
        at += num_digits
        if code == _YEAR:
            year = number
        elif code == _SHORT_YEAR:
            year = _FIRST_SHORT_YEAR + (number - _FIRST_SHORT_YEAR) % 100
        elif code == _MONTH:
            month = number
        elif code == _DAY:
            day = number
        elif code == _HOUR:
            hour = number
        elif code == _MINUTE:
            minute = number
        else:
            second = number
    return _seconds(year, month, day, hour, minute, second) if at == end else np.nan


@kernel
def _parse(data, offsets, valid, pattern, out):  # type: ignore[no-untyped-def]
    for i in range(len(out)):
        begin, end = offsets[i], offsets[i + 1]
        while begin < end and data[begin] == _SPACE:
            begin += 1
        while begin < end and data[end - 1] == _SPACE:
            end -= 1
        if begin == end or (len(valid) and not valid[i]):
            out[i] = np.nan
        elif len(pattern):
            out[i] = _patterned(data, begin, end, pattern)
        else:
            out[i] = _iso(data, begin, end)
