"""What the rows of a log hold, read slowly and by itself: imports nothing of ours, nothing of Arrow.

Every function returns, for each row in order, what its cells mean or the columns that make it useless.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from datetime import datetime
from typing import Any

Row = dict[str, Any]
"""The meaning of each column; ``bad`` holds the columns that cannot be read, None for the row as a whole."""

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_TIME = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})[ T]([0-9]{2}):([0-9]{2}):([0-9]{2})")


def delimited(data: bytes, delimiter: bytes, quote: bytes = b'"') -> list[list[bytes]]:
    """Return the cells of every row that is not blank (RFC 4180: a quote counts where a cell begins with it)."""
    rows: list[list[bytes]] = []
    row: list[bytes] = []
    cell = bytearray()
    quoted = began = False
    at, end = 0, len(data)
    while at < end:
        char = data[at : at + 1]
        at += 1
        if quoted:
            if char != quote:
                cell += char
            elif data[at : at + 1] == quote:
                cell += quote
                at += 1
            else:
                quoted = False
        elif char == quote and not cell and not began:
            quoted = began = True
        elif char == delimiter:
            row.append(bytes(cell))
            cell, began = bytearray(), False
        elif char in (b"\n", b"\r"):
            if char == b"\r" and data[at : at + 1] == b"\n":
                at += 1
            if row or cell or began:
                rows.append([*row, bytes(cell)])
            row, cell, began = [], bytearray(), False
        else:
            cell += char
    if row or cell or began:
        rows.append([*row, bytes(cell)])
    return rows


def meaning_of_cells(rows: Sequence[Sequence[bytes]], columns: Sequence[str]) -> list[Row]:
    """Return what the rows of a table of text mean; `columns` are its names."""
    found: list[Row] = []
    for cells in rows:
        if len(cells) != len(columns):
            found.append({"bad": {None}})
            continue
        texts: dict[str, str | None] = {}
        bad: set[str | None] = set()
        for name, cell in zip(columns, cells, strict=True):
            try:
                texts[name] = cell.decode()
            except UnicodeDecodeError:
                bad.add(name)
                texts[name] = None
        found.append({**meaning(texts, bad), "undecodable": set(bad)})
    return found


def meaning(cells: dict[str, str | None], bad: set[str | None]) -> Row:
    """Return what a row means, and add the columns that cannot be read to those that are known to be `bad`."""
    row: Row = {"city": _missing(cells["city"]), "label": _missing((cells["click"] or "").strip())}
    bad = set(bad)
    if row["label"] not in ("0", "1"):
        bad.add("click")
    weight = number(cells["weight"])
    row["weight"] = weight if weight is None or abs(weight) > 3.4028235677973366e38 else float32(weight)
    if weight is None or not 0 <= weight <= 3.4028235677973366e38:
        bad.add("weight")
    row["age"] = None if _missing(cells["age"]) is None else number(cells["age"])
    if _missing(cells["age"]) is not None and row["age"] is None:
        bad.add("age")
    row["tags"], good = bag(cells["tags"] or "")
    if not good:
        bad.add("tags")
    when = _missing(cells["when"])
    row["hour"] = "missing" if when is None else hour(when)
    return {**row, "bad": bad}


def number(text: str | None) -> float | None:
    """Return a finite number, or None."""
    text = (text or "").strip(" \t\r\n\v\f")
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    return value if math.isfinite(value) else None


def hour(text: str) -> str:
    """Return the hour of a time in ISO 8601, or ``no time``: no reason to leave a row out."""
    match = _TIME.fullmatch(text)
    try:
        return f"{datetime(*map(int, match.groups())).hour:02d}:00" if match else "no time"  # type: ignore[arg-type]
    except ValueError:
        return "no time"


def bag(text: str, separator: str = "|") -> tuple[list[tuple[str | None, float]], bool]:
    """Return the values of a cell with their weights, and whether all of them have one."""
    found: list[tuple[str | None, float]] = []
    for part in text.split(separator):
        if not part:
            continue
        value, colon, weight = part.rpartition(":")
        size = number(weight) if colon else None
        if size is None or abs(size) > 3.4028234663852886e38:
            return [], False
        if _missing(value) is not None:
            found.append((value, float32(size)))
    return found or [(None, 1.0)], True


def libsvm(data: bytes, parts: int) -> list[tuple[str, list[str]] | None]:
    """Return label and tokens of every row; None for one that is not as libsvm (2 parts a token) or libffm has it."""
    found: list[tuple[str, list[str]] | None] = []
    for line in data.split(b"\n"):
        tokens = line.partition(b"#")[0].replace(b"\r", b" ").replace(b"\t", b" ").split(b" ")
        tokens = [token for token in tokens if token]
        if not tokens:
            continue
        try:
            label, *rest = [token.decode() for token in tokens]
        except UnicodeDecodeError:
            found.append(None)
            continue
        good = ":" not in label and all(_is_token(token, parts) for token in rest)
        found.append((label.removeprefix("+"), rest) if good else None)
    return found


def _is_token(token: str, parts: int) -> bool:
    *places, value = token.split(":")
    if len(places) != parts - 1 or (parts == 3 and len(places[0]) > 9):
        return False
    return all(re.fullmatch("[0-9]+", place) for place in places) and _NUMBER.fullmatch(value) is not None


def float32(value: float) -> float:
    """Return the nearest float32."""
    nearest: float = struct.unpack("f", struct.pack("f", value))[0]
    return nearest


def _missing(text: str | None) -> str | None:
    return None if text in (None, "", "nan", "NaN") else text
