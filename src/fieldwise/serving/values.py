"""Values of rows as texts end to end and as numbers, by what Python, numpy and Arrow do for many at once."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fieldwise.features.canonical import buffers

__all__ = ["ROOM", "Refused", "as_numbers", "joined_texts", "lay_out", "words_of"]

_PLAIN = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*", re.ASCII)
ROOM = 16
"""Bytes behind all texts, so that a word begins at each byte of them."""
_SIMPLE_FLOATS = 1e-4, 1e15
"""Between these Python spells a float as Arrow does."""


class Refused(Exception):
    """Something that is read by the encoder's own way."""


def words_of(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Return the words that begin at each byte, all but the last 7."""
    return np.ndarray((len(data) - 7,), "<u8", data, 0, (1,))


def lay_out(
    texts: list[Any], cells: Sequence[Sequence[Any]], separators: Sequence[str], num_rows: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the bytes of texts, and of the values in the cells of bags, end to end; and which are of which bag."""
    bags = np.zeros((len(cells), num_rows + 1), dtype=np.int64)
    for place, (of_bag, separator) in enumerate(zip(cells, separators, strict=True)):
        ends = [len(texts)]
        for cell in of_bag:
            if type(cell) is str:
                texts += cell.split(separator)
            elif type(cell) is list:
                texts += cell
            elif cell is not None:
                raise Refused
            ends.append(len(texts))
        bags[place] = ends
    try:
        joined = "".join(texts)
    except TypeError:
        texts = [value if type(value) is str else _spelled(value) for value in texts]
        joined = "".join(texts)
    try:
        content = joined.encode()
    except UnicodeEncodeError:  # a lone surrogate, which the encoder's own way names
        raise Refused from None
    lengths = map(len, texts if len(content) == len(joined) else map(str.encode, texts))
    offsets = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(lengths, dtype=np.int64, count=len(texts)), out=offsets[1:])
    return np.frombuffer(bytearray(content + bytes(ROOM)), dtype=np.uint8), offsets, bags


def _spelled(value: Any) -> str:
    """Return a value as a text with the same canonical text."""
    kind = type(value)
    if value is None:
        return ""
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        if value.bit_length() > _MOST_BITS:
            raise Refused
        return str(value)
    if kind is float:
        if math.isnan(value):
            return ""
        smallest, largest = _SIMPLE_FLOATS
        if value == 0 or smallest <= abs(value) < largest:
            return repr(value)
    raise Refused


def as_numbers(values: list[Any], num_rows: int, *, by_row: bool) -> npt.NDArray[np.float64]:
    """Return numbers (N, B) of values of all rows, row by row or column by column."""
    kinds = set(map(type, values))
    if str in kinds:
        values = [_parsed(value) if type(value) is str else value for value in values]
        kinds.discard(str)
    if not kinds <= _NUMBERS:
        raise Refused
    try:
        found = np.array(values, dtype=np.float64)
    except OverflowError:  # an integer beyond all floats
        raise Refused from None
    return np.ascontiguousarray(found.reshape(num_rows, -1).T) if by_row else found.reshape(-1, num_rows)


_MOST_BITS = 4_096
"""Python spells integers of up to 4,300 digits; those of more are told by the encoder's own way."""
_NUMBERS = {int, float, type(None)}


def _parsed(text: str) -> float:
    if not text:
        return math.nan
    if _PLAIN.fullmatch(text) is None:
        raise Refused
    return float(text)


def joined_texts(pieces: list[Any]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return the bytes of arrays of texts end to end; a null is an empty text."""
    if not pieces:
        return np.zeros(ROOM, dtype=np.uint8), np.zeros(1, dtype=np.int64)
    if len({piece.type for piece in pieces}) > 1:
        pieces = [piece.cast(pa.large_string()) for piece in pieces]
    whole = pa.concat_arrays(pieces)
    if whole.null_count:
        whole = pc.fill_null(whole, "")
    data, offsets, _ = buffers(whole)
    return np.concatenate([data, np.zeros(ROOM, dtype=np.uint8)]), offsets.astype(np.int64)
