"""The usual ways to write points in time, beside ISO 8601, and which of them a text may be written in."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["CLOCK_TEXT", "DATE_TEXT", "SHORT_DATE_TEXT", "formats_of"]

_NAMES = "(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_WEEKDAY = "((?i:mon|tue|wed|thu|fri|sat|sun)[a-z]*,? )?"
_CLOCK_FOLLOWS = r"[T _:,-].*[0-9]{1,2}[:.][0-9]{2}.*"
DATE_TEXT = (
    rf"^\s*\[?{_WEEKDAY}("
    r"([0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}|[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{4}"
    rf"|[0-9]{{1,2}}(\. |[-/ ])?{_NAMES}[-/ ]?[0-9]{{4}}|{_NAMES} [0-9]{{1,2}},? [0-9]{{4}})([T _:,-].*)?"
    rf"|{_NAMES} +[0-9]{{1,2}} [0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}.* [0-9]{{4}}"
    r"|(19|20)[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])[T _-][0-9]{1,2}:?[0-9]{2}.*"
    rf"|([0-9]{{1,2}}[-/.][0-9]{{1,2}}[-/.][0-9]{{2}}|[0-9]{{1,2}}-{_NAMES}-[0-9]{{2}}){_CLOCK_FOLLOWS}"
    r")\s*$"
)
"""What looks like a date, perhaps with a clock, whatever the column's name."""
SHORT_DATE_TEXT = rf"^\s*([0-9]{{1,2}}[-/.][0-9]{{1,2}}[-/.][0-9]{{2}}|[0-9]{{1,2}}-{_NAMES}-[0-9]{{2}})\s*$"
"""Dates with a year of two digits: versions and codes look like them too."""
CLOCK_TEXT = r"^\s*[0-2]?[0-9]:[0-5][0-9](:[0-5][0-9]([.,][0-9]+)?)?( ?[AaPp][Mm])?\s*$"

_DATES = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d",
    "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%m.%d.%Y",
    "%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d-%m-%y", "%m-%d-%y", "%y/%m/%d", "%y-%m-%d",
    "%d/%b/%Y", "%d-%b-%Y", "%d %b %Y", "%d. %b %Y", "%d%b%Y", "%d-%b-%y", "%b %d, %Y", "%b %d %Y",
)  # fmt: skip
_WEEKDAYS = ("", "%a ", "%a, ")
_JOINS = (" ", "T", "_", "-", ":", ", ")
_CLOCKS = (
    "%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%H:%M:%S,%f", "%I:%M %p", "%I:%M%p", "%I:%M:%S %p", "%I:%M:%S%p",
    "%I:%M:%S.%f %p", "%H.%M", "%H.%M.%S", "%H.%M.%S.%f", "%I.%M.%S %p", "%I.%M.%S.%f %p", "%H%M", "%H%M%S", "%H",
)  # fmt: skip
_ZONES = ("", "%z", " %z")
_OTHERS = ("%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S %z %Y", "%b %d %H:%M:%S %Y")
_LOOKS = {
    "Y": "[0-9]{4}", "y": "[0-9]{2}", "m": "(1[0-2]|0?[1-9])", "d": "([12][0-9]|3[01]|0?[1-9])", "H": "[0-9]{1,2}",
    "I": "[0-9]{1,2}", "M": "[0-9]{2}", "S": "[0-9]{2}", "f": "[0-9]+", "p": "[AaPp][Mm]", "b": "[A-Za-z]{3,9}",
    "a": "[A-Za-z]{3,9}", "z": "(Z|UTC|GMT|[+-][0-9]{2}(:?[0-9]{2})?)",
}  # fmt: skip


def formats_of(text: str) -> list[str]:
    """Return the usual formats that a text may have: two where day and month could stand in either order.

    Examples
    --------
    >>> formats_of("01/Nov/2026:10:01:02 +0000"), formats_of("11/23/2026 9:05 PM")
    (['%d/%b/%Y:%H:%M:%S %z'], ['%m/%d/%Y %I:%M %p'])
    >>> formats_of("1/2/2026"), formats_of("soon")
    (['%d/%m/%Y', '%m/%d/%Y'], [])
    """
    if text.startswith("[") and text.endswith("]"):
        return [f"[{format_}]" for format_ in formats_of(text[1:-1])]
    found = [format_ for format_ in (*_OTHERS, *_CLOCKS[:-3]) if _looks(format_).fullmatch(text)]
    for weekday in _WEEKDAYS:
        for date in _DATES:
            begin = _looks(weekday + date).match(text)
            if begin is None:
                continue
            rest = text[begin.end() :]
            found += [weekday + date + tail for tail in _tails() if _looks(tail).fullmatch(rest)]
    return found


@lru_cache(maxsize=1)
def _tails() -> tuple[str, ...]:
    return ("", *(join + clock + zone for join in _JOINS for clock in _CLOCKS for zone in _ZONES))


@lru_cache(maxsize=1024)
def _looks(format_: str) -> re.Pattern[str]:
    pieces = re.split("%(.)", format_)
    return re.compile("".join(_LOOKS[piece] if at % 2 else re.escape(piece) for at, piece in enumerate(pieces)))
