"""Points in time from text: ISO 8601 and fixed patterns of digits, over Arrow's buffers.

The proleptic Gregorian calendar, years 0001 to 9999, whole seconds: fractions are read and dropped, so that a moment
never moves into the next hour. There are no leap seconds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.jit import kernel, part

__all__ = ["ISO", "compile_pattern", "parse_times"]

Float64s = npt.NDArray[np.float64]

_MINUS, _PLUS, _COLON, _SPACE, _DOT, _COMMA = (ord(letter) for letter in "-+: .,")
_T, _Z, _U, _C = (ord(letter) for letter in "TZUC")
_LOWER = 0x20
_FIRST_SHORT_YEAR = 1969  # as POSIX says: 69 to 99 are of the last century, 00 to 68 of this one

# A pattern is a number for each step. Below 256: this byte. From there on: two digits, four for the year, to a place.
_DIGITS = 1 << 8
_PLACES = "YmdHMSy"
_YEAR, _SHORT_YEAR, _ZONE_HOURS, _ZONE_MINUTES = 0, 6, 7, 8
# Steps of ISO 8601 alone.
_CLOCK, _MORE, _FRACTION, _ZONE, _MORE_ZONE = (1 << 9 | step for step in range(5))

ISO = np.array(
    [
        *(_DIGITS | 0, _MINUS, _DIGITS | 1, _MINUS, _DIGITS | 2),
        *(_CLOCK, _DIGITS | 3, _MORE, _DIGITS | 4, _MORE, _DIGITS | 5, _FRACTION),
        *(_ZONE, _DIGITS | _ZONE_HOURS, _MORE_ZONE, _DIGITS | _ZONE_MINUTES),
    ]
)
"""The pattern of ISO 8601."""
_ZONE_STEP = ISO.tolist().index(_ZONE)
_UNSTATED = np.array([1970, 1, 1, 0, 0, 0, 0, 0, 0])
"""What each place holds where a pattern leaves it out."""


def compile_pattern(text: str) -> npt.NDArray[np.int64]:
    """Return what `parse_times` takes for a pattern such as ``%Y%m%d%H``: a number for each directive or byte."""
    codes: list[int] = []
    content = text.encode()
    at = 0
    while at < len(content):
        is_directive = content[at] == ord("%")
        at += is_directive
        codes.append(_DIGITS | _PLACES.index(chr(content[at])) if is_directive else content[at])
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
    _parse(data, offsets, valid, pattern, _UNSTATED.copy(), out)
    return out


@part
def _seconds(places):  # type: ignore[no-untyped-def]
    """Seconds since 1970, or NaN where there is no such day or time."""
    year, month, day = places[_YEAR], places[1], places[2]
    if places[3] > 23 or places[4] > 59 or places[5] > 59 or places[_ZONE_HOURS] > 23 or places[_ZONE_MINUTES] > 59:
        return np.nan
    if month == 2:
        length = 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    else:
        length = 30 + ((month + (month >> 3)) & 1)
    if year < 1 or month < 1 or month > 12 or day < 1 or day > length:
        return np.nan
    # Years that begin in March end with the day that may be missing.
    of_march = year - 1 if month <= 2 else year
    months = (month + 9) % 12
    days = 365 * of_march + of_march // 4 - of_march // 100 + of_march // 400 + (153 * months + 2) // 5 + day - 719_469
    return np.float64(((days * 24 + places[3]) * 60 + places[4]) * 60 + places[5])


@part
def _read(data, at, end, pattern, places):  # type: ignore[no-untyped-def]
    """Fill the places from a text; return the sign of its zone, 0 for UTC, or -2 where it is no such time."""
    sign = step = 0
    for k in range(3, len(places)):
        places[k] = 0
    while step < len(pattern):
        code = pattern[step]
        step += 1
        byte = np.int64(data[at]) if at < end else -1
        fits: Any = True
        if code < _DIGITS:
            fits = byte == code
            at += 1
        elif code < _CLOCK:
            number: Any = 0
            last = at + (4 if code == _DIGITS | _YEAR else 2)
            fits = last <= end
            while fits and at < last:
                digit = np.int64(data[at]) - 48
                fits = digit >= 0 and digit <= 9
                number = number * 10 + digit
                at += 1
            places[code - _DIGITS] = number
            if code == _DIGITS | _SHORT_YEAR:
                places[_YEAR] = _FIRST_SHORT_YEAR + (number - _FIRST_SHORT_YEAR) % 100
        elif code == _CLOCK:
            if byte < 0:  # a date alone
                break
            fits = byte == _SPACE or byte & ~_LOWER == _T
            at += 1
        elif code == _MORE:
            if byte == _COLON:
                at += 1
            else:
                step = _ZONE_STEP
        elif code == _FRACTION:
            if byte == _DOT or byte == _COMMA:
                begin = at + 1
                at = begin
                while at < end and data[at] >= 48 and data[at] <= 57:
                    at += 1
                fits = at > begin
        elif code == _ZONE:
            if byte < 0:
                break
            if end - at == 1 and byte & ~_LOWER == _Z:
                return 0
            if byte == _SPACE:
                at += 1
            if end - at == 3 and data[at] == _U and data[at + 1] == _T and data[at + 2] == _C:
                return 0
            sign = 1 if data[at] == _PLUS else -1
            fits = sign > 0 or data[at] == _MINUS
            at += 1
        elif byte < 0:  # _MORE_ZONE: hours alone
            break
        elif byte == _COLON:
            at += 1
        if not fits:
            return -2
    return sign if at == end else -2


@kernel
def _parse(data, offsets, valid, pattern, places, out):  # type: ignore[no-untyped-def]
    for i in range(len(out)):
        begin, end = np.int64(offsets[i]), np.int64(offsets[i + 1])
        while begin < end and data[begin] == _SPACE:
            begin += 1
        while begin < end and data[end - 1] == _SPACE:
            end -= 1
        out[i] = np.nan
        if begin < end and (len(valid) == 0 or valid[i]):
            sign = _read(data, begin, end, pattern, places)
            if sign > -2:
                out[i] = _seconds(places) - sign * (places[_ZONE_HOURS] * 60 + places[_ZONE_MINUTES]) * 60
