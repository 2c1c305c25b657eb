"""Points in time from text: ISO 8601 and patterns of digits and names, over Arrow's buffers.

The proleptic Gregorian calendar, years 0001 to 9999, whole seconds: fractions are read and dropped, so that a moment
never moves into the next hour. There are no leap seconds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.jit import kernel, part

__all__ = ["ISO", "compile_pattern", "moment_of", "parse_times"]

Float64s = npt.NDArray[np.float64]

_MINUS, _PLUS, _COLON, _SPACE, _DOT, _COMMA = (ord(letter) for letter in "-+: .,")
_TAB, _RETURN = 9, 13  # between them, the other white space of ASCII
_T, _Z, _A, _P, _M = (ord(letter) for letter in "TZAPM")
_LOWER = 0x20
_FIRST_SHORT_YEAR = 1969  # as POSIX says: 69 to 99 are of the last century, 00 to 68 of this one

# A pattern is a number for each step. Below 256: this byte. From there on: two digits, four for the year, to a place;
# with the flag, one digit will do.
_DIGITS, _SHORT, _PLACE = 1 << 8, 1 << 4, 15
_PLACES = "YmdHMSy__I"
_YEAR, _MONTH, _HOUR, _SHORT_YEAR, _ZONE_HOURS, _ZONE_MINUTES, _HOUR_OF_HALF = 0, 1, 3, 6, 7, 8, 9
_MAY_BE_SHORT = "mdHMSI"
# Other steps: those of ISO 8601, some of which may have nothing to read; then those of patterns.
_CLOCK, _MORE, _FRACTION, _ZONE, _MORE_ZONE, _DIGITS_OF_FRACTION, _ZONE_NEEDED, _HALF, _MONTH_NAME, _WEEKDAY_NAME = (
    1 << 9 | step for step in range(10)
)

ISO = np.array(
    [
        *(_DIGITS | 0, _MINUS, _DIGITS | 1, _MINUS, _DIGITS | 2),
        *(_CLOCK, _DIGITS | 3, _MORE, _DIGITS | 4, _MORE, _DIGITS | 5, _FRACTION),
        *(_ZONE, _DIGITS | _ZONE_HOURS, _MORE_ZONE, _DIGITS | _ZONE_MINUTES),
    ]
)
"""The pattern of ISO 8601."""
_ZONE_STEP = ISO.tolist().index(_ZONE)
_STEPS = {
    "f": (_DIGITS_OF_FRACTION,),
    "p": (_HALF,),
    "b": (_MONTH_NAME,),
    "B": (_MONTH_NAME,),
    "a": (_WEEKDAY_NAME,),
    "z": (_ZONE_NEEDED, _DIGITS | _ZONE_HOURS, _MORE_ZONE, _DIGITS | _ZONE_MINUTES),
}
_NAMES = np.array(
    [
        int.from_bytes(name.encode(), "big")
        for name in "jan feb mar apr may jun jul aug sep oct nov dec mon tue wed thu fri sat sun utc gmt".split()
    ]
)
"""Names of months, weekdays and zones, their first three letters each."""
_FIRST_WEEKDAY, _FIRST_ZONE = 12, 19
_UNSTATED = np.array([1970, 1, 1, 0, 0, 0, 0, 0, 0])
"""What each place holds where a pattern leaves it out."""


def compile_pattern(text: str) -> npt.NDArray[np.int64]:
    """Return what `parse_times` takes for a pattern such as ``%Y%m%d%H``: a number for each directive or byte."""
    codes: list[int] = []
    after_digits = False
    content = text.encode()
    at = 0
    while at < len(content):
        is_directive = content[at] == ord("%")
        at += is_directive
        letter = chr(content[at])
        at += 1
        is_number = is_directive and letter in _PLACES
        before_digits = content[at : at + 1] == b"%" and chr(content[at + 1]) in f"{_PLACES}f"
        if is_number:
            is_short = letter in _MAY_BE_SHORT and not before_digits and not after_digits
            codes.append(_DIGITS | _PLACES.index(letter) | (_SHORT if is_short else 0))
        else:
            codes += _STEPS[letter] if is_directive else (ord(letter),)
        after_digits = is_number
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
        ``+02:00``. In a pattern ``%Y`` has four digits and ``%y`` two; ``%m``, ``%d``, ``%H``, ``%M``, ``%S`` and
        ``%I`` (1 to 12, with ``%p``: AM or PM) have two, or one where no digits are next to them; ``%f`` any number.
        ``%b`` and ``%a`` are English names of months and weekdays, short or whole; ``%z`` is a zone as above. What is
        left out is that of 1970-01-01 00:00:00.

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
    >>> data = np.frombuffer(b"2/Jan/1970:1:00 AM +0100", np.uint8)
    >>> parse_times(data, np.array([0, 24]), valid, compile_pattern("%d/%b/%Y:%I:%M %p %z")).tolist()
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
def _name(data, at, end):  # type: ignore[no-untyped-def]
    """Which of the names begins with the next three letters, in any case, or -1."""
    if at + 3 <= end:
        packed: Any = 0
        for k in range(at, at + 3):
            packed = packed * 256 + (np.int64(data[k]) | _LOWER)
        for number in range(len(_NAMES)):
            if _NAMES[number] == packed:
                return number
    return -1


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
            begin = at
            last = at + (4 if code == _DIGITS | _YEAR else 2)
            while at < end and at < last and data[at] >= 48 and data[at] <= 57:
                number = number * 10 + (np.int64(data[at]) - 48)
                at += 1
            fits = at == last or (code & _SHORT != 0 and at > begin)
            place = code & _PLACE
            if place == _HOUR_OF_HALF:
                fits = fits and number >= 1 and number <= 12
                places[_HOUR] += number % 12
            else:
                places[place] = number
            if place == _SHORT_YEAR:
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
        elif code == _FRACTION or code == _DIGITS_OF_FRACTION:
            if code == _DIGITS_OF_FRACTION or byte == _DOT or byte == _COMMA:
                at += code == _FRACTION
                begin = at
                while at < end and data[at] >= 48 and data[at] <= 57:
                    at += 1
                fits = at > begin
        elif code == _ZONE or code == _ZONE_NEEDED:
            if byte < 0:
                fits = code == _ZONE
                step += 3
            elif byte & ~_LOWER == _Z:
                at += 1
                step += 3
            else:
                at += byte == _SPACE
                if _name(data, at, end) >= _FIRST_ZONE:
                    at += 3
                    step += 3
                else:
                    sign = 1 if at < end and data[at] == _PLUS else -1
                    fits = sign > 0 or (at < end and data[at] == _MINUS)
                    at += 1
        elif code == _MORE_ZONE:
            if byte == _COLON:
                at += 1
            elif byte < 48 or byte > 57:  # hours alone
                step += 1
        elif code == _HALF:
            fits = at + 2 <= end and (byte & ~_LOWER == _A or byte & ~_LOWER == _P) and data[at + 1] & ~_LOWER == _M
            places[_HOUR] += 12 * (byte & ~_LOWER == _P)
            at += 2
        else:
            found = _name(data, at, end)
            if code == _MONTH_NAME:
                fits = found >= 0 and found < _FIRST_WEEKDAY
                places[_MONTH] = found + 1
            else:
                fits = found >= _FIRST_WEEKDAY and found < _FIRST_ZONE
            while fits and at < end and data[at] | _LOWER >= 97 and data[at] | _LOWER <= 122:
                at += 1
        if not fits:
            return -2
    return sign if at == end else -2


@part
def moment_of(data, begin, end, pattern, places):  # type: ignore[no-untyped-def]
    """Return the seconds since 1970 of the text ``data[begin:end]``, NaN where it is no such time.

    `places` (9,) int64 is written; what a pattern leaves out of a date must stand in the first three.
    """
    while begin < end and (data[begin] == _SPACE or (data[begin] >= _TAB and data[begin] <= _RETURN)):
        begin += 1
    while begin < end and (data[end - 1] == _SPACE or (data[end - 1] >= _TAB and data[end - 1] <= _RETURN)):
        end -= 1
    if begin < end:
        sign = _read(data, begin, end, pattern, places)
        if sign > -2:
            return _seconds(places) - sign * (places[_ZONE_HOURS] * 60 + places[_ZONE_MINUTES]) * 60
    return np.nan


@kernel
def _parse(data, offsets, valid, pattern, places, out):  # type: ignore[no-untyped-def]
    for i in range(len(out)):
        out[i] = np.nan
        if len(valid) == 0 or valid[i]:
            out[i] = moment_of(data, np.int64(offsets[i]), np.int64(offsets[i + 1]), pattern, places)
