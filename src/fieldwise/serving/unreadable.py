"""Why a body is not read, and which column is to blame: looked for only once it has been refused."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from fieldwise.serving.refusals import Refusal

__all__ = ["Cell", "Record", "unreadable"]

Scalar = str | int | float | bool | None
Cell = str | int | float | bool | list[Scalar] | dict[str, float] | None
"""What stands in a row of plain JSON."""
Record = dict[str, Cell]
_MOST_DIGITS = 4_300
"""Of an integer that Python reads."""


class _NoValue:
    """A number that cannot be read, and why not."""

    def __init__(self, why: str) -> None:
        self.why = why


def unreadable(body: bytes, error: Exception, *, with_nan: bool = False) -> Refusal:
    r"""Return the refusal of a body that is no JSON, or not of the form that is asked for.

    Parameters
    ----------
    with_nan
        Whether NaN and infinities may stand in it.

    Examples
    --------
    >>> unreadable(b'{"rows": [{"user": "\\ud800"}]}', msgspec.DecodeError("malformed")).text
    'column user: half of a surrogate pair is not text'
    """
    if isinstance(error, RecursionError):
        return Refusal(400, "the JSON is nested too deeply")
    if isinstance(error, UnicodeDecodeError):
        return Refusal(400, "the JSON is not UTF-8")
    text = f"the body is not JSON: {ascii(str(error))[:200]}" if with_nan else str(error)
    try:
        constant = None if with_nan else _constant
        asked = json.loads(body, parse_int=_whole, parse_float=_fraction, parse_constant=constant)
    except (ValueError, RecursionError):
        return Refusal(400, text)
    for name, cell in _cells(asked):
        why = _why_not(cell)
        if why is not None:
            column = f"column {ascii(name)[1:-1][:100]}"
            return Refusal(400, f"{column}: {why}" if why else f"{text} ({column})")
    return Refusal(400, text)


def _cells(asked: Any) -> Iterator[tuple[str, Any]]:
    """Yield the cells of a request of any form, with the names of their columns."""
    if not isinstance(asked, dict):
        return
    rows = [row for part in ("rows", "candidates") for row in _listed(asked.get(part))]
    for row in (*rows, asked.get("context")):
        if isinstance(row, dict):
            yield from row.items()
    if isinstance(asked.get("columns"), dict):
        yield from ((name, cell) for name, column in asked["columns"].items() for cell in _listed(column, [column]))
    for tensor in _listed(asked.get("inputs")):
        if isinstance(tensor, dict) and isinstance(tensor.get("name"), str):
            yield from ((tensor["name"], cell) for cell in _listed(tensor.get("data")))


def _listed(value: Any, instead: Any = ()) -> Any:
    return value if isinstance(value, list) else instead


def _why_not(cell: Any) -> str | None:
    """Return why a cell is not read, empty where its type is to blame; None for one that is read."""
    parts = [*cell, *cell.values()] if isinstance(cell, Mapping) else cell if isinstance(cell, list) else [cell]
    for part in parts:
        if isinstance(part, _NoValue):
            return part.why
        if isinstance(part, str) and not _is_text(part):
            return "half of a surrogate pair is not text"
    try:
        msgspec.convert(cell, Cell)
    except (msgspec.ValidationError, RecursionError):
        return ""
    return None


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _whole(digits: str) -> Any:
    return int(digits) if len(digits) <= _MOST_DIGITS else _NoValue(f"an integer has {_MOST_DIGITS:,} digits at most")


def _fraction(text: str) -> Any:
    number = float(text)
    return number if math.isfinite(number) else _NoValue("a number beyond the range of floats")


def _constant(text: str) -> Any:
    return _NoValue(f"{text} is not JSON; a missing value is null")
