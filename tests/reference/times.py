"""Points in time by regular expressions and Python's datetime."""

import datetime as dt
import math
import re

ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[ Tt](\d\d)(?::(\d\d)(?::(\d\d)(?:[.,]\d+)?)?)?(Z|z| ?(?i:UTC|GMT)|(?: ?[+-]\d\d(?::?\d\d)?))?)?",
    re.ASCII,
)
DIGITS = {"Y": r"(?P<Y>\d{4})", **{letter: rf"(?P<{letter}>\d\d)" for letter in "ymdHMS"}}


def seconds_of(numbers: list[int], ahead: int = 0) -> float:
    try:
        moment = dt.datetime(*numbers)
    except ValueError:
        return math.nan
    return (moment - dt.datetime(1970, 1, 1)) // dt.timedelta(seconds=1) - ahead


def iso(text: str) -> float:
    found = ISO.fullmatch(text.strip(" \t\n\v\f\r"))
    if not found:
        return math.nan
    *numbers, zone = found.groups()
    ahead = 0
    if zone and (digits := re.findall(r"\d\d", zone)):
        hours, minutes = int(digits[0]), int(digits[1]) if len(digits) > 1 else 0
        if hours > 23 or minutes > 59:
            return math.nan
        ahead = (hours * 3600 + minutes * 60) * (-1 if "-" in zone else 1)
    return seconds_of([int(number or 0) for number in numbers], ahead)


def patterned(text: str, pattern: str) -> float:
    parts = re.split("(%.)", pattern)
    expressions = [DIGITS[part[1]] if part.startswith("%") else re.escape(part) for part in parts]
    for at in range(1, len(parts), 2):  # a number of one digit stands alone, with no other beside it
        alone = (at == 1 or parts[at - 1]) and (at + 2 >= len(parts) or parts[at + 1])
        if alone and parts[at][1] in "mdHMS":
            expressions[at] = expressions[at].replace(r"\d\d", r"\d\d?")
    found = re.fullmatch(
        "".join(expressions),
        text.strip(" \t\n\v\f\r"),
        re.ASCII,
    )
    if not found:
        return math.nan
    numbers = {letter: int(digits) for letter, digits in found.groupdict().items()}
    if "y" in numbers:
        numbers["Y"] = numbers["y"] + (1900 if numbers["y"] >= 69 else 2000)
    defaults = {"Y": 1970, "m": 1, "d": 1, "H": 0, "M": 0, "S": 0}
    return seconds_of([numbers.get(letter, default) for letter, default in defaults.items()])
