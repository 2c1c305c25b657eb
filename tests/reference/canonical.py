"""The canonical text of a text, by regular expressions."""

import re

TIME = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d+))?(?:Z|\+00|\+0000|\+00:00)?", re.ASCII)
WHOLE = re.compile(r"(-?)(0|[1-9]\d*)(?:\.0+)?", re.ASCII)
EXPONENT = re.compile(r"(-?)([1-9])(?:\.(\d+))?e\+(\d\d)", re.ASCII)


def canonical(text: str | None) -> str | None:
    if text in (None, "", "nan", "NaN"):
        return None
    if text.lower() in ("true", "false") and text.isascii():
        return text.lower()
    if found := WHOLE.fullmatch(text):
        sign, digits = found.groups()
        return digits if digits == "0" else sign + digits
    if found := EXPONENT.fullmatch(text):
        sign, first, decimals, exponent = found.groups()
        decimals = decimals or ""
        if len(decimals) <= int(exponent) <= 15:
            return sign + first + decimals.ljust(int(exponent), "0")
    if found := TIME.fullmatch(text):
        day, clock, fraction = found.groups()
        fraction = (fraction or "").rstrip("0")
        if fraction:
            return f"{day} {clock}.{fraction}"
        return day if clock == "00:00:00" else f"{day} {clock}"
    return text
