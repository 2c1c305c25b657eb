"""Values of rows as texts end to end and as numbers, by what Python, numpy and Arrow do for many at once."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fieldwise.features.canonical import buffers

__all__ = ["ROOM", "Bag", "Refused", "Texts", "as_numbers", "as_vectors", "joined_texts", "lay_out", "words_of"]

_PLAIN = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*", re.ASCII)
ROOM = 16
"""Bytes behind all texts, so that a word begins at each byte of them."""
_SIMPLE_FLOATS = 1e-4, 1e15
"""Between these Python spells a float as Arrow does."""
_LARGEST = float(np.finfo(np.float32).max)


class Refused(Exception):
    """Something that is read by the encoder's own way."""


def words_of(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Return the words that begin at each byte, all but the last 7."""
    return np.ndarray((len(data) - 7,), "<u8", data, 0, (1,))


class Bag(NamedTuple):
    """The cells of a bag in some rows, and how their values are told apart.

    Attributes
    ----------
    cells
        A list or dict of values each, a text of them, or None.
    separator
        Of the values of a text.
    weighted
        Whether each value has a weight in the same cell.
    weights
        The cells of the column of their weights; None where there is none.
    """

    cells: Sequence[Any]
    separator: str
    weighted: bool = False
    weights: Sequence[Any] | None = None


class Texts(NamedTuple):
    """Texts end to end, those in bags last.

    Attributes
    ----------
    data, offsets, gap
        Their bytes, where each begins, and how many bytes are between one and the next.
    bags
        (G, B + 1): the numbers of the texts of each bag; of one with fewer cells than B, the end is repeated.
    weights
        (W,) of the texts in bags, or none where all are 1.
    """

    data: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    gap: int
    bags: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]


def lay_out(texts: list[Any], of_bags: Sequence[Bag], num_rows: int) -> Texts:
    """Return texts, and the values in the cells of bags, end to end.

    Raises
    ------
    Refused
        There is a value that is read otherwise.
    """
    bags = np.empty((len(of_bags), num_rows + 1), dtype=np.int64)
    num_texts, weights = len(texts), list[float]()
    for place, bag in enumerate(of_bags):
        ends = [len(texts)]
        if bag.weighted or bag.weights is not None:
            weights += [1.0] * (len(texts) - num_texts - len(weights))
            _add_weighted(bag, texts, weights, ends)
        else:
            separator = bag.separator
            for cell in bag.cells:
                if type(cell) is str:
                    texts += cell.split(separator)
                elif type(cell) is list:
                    texts += cell
                elif cell is not None:
                    raise Refused
                ends.append(len(texts))
        bags[place, : len(ends)] = ends
        bags[place, len(ends) :] = ends[-1]
    if weights:
        weights += [1.0] * (len(texts) - num_texts - len(weights))
    try:
        joined = "\0".join(texts)
    except TypeError:
        texts = [value if type(value) is str else _spelled(value) for value in texts]
        joined = "\0".join(texts)
    try:
        content = joined.encode()
    except UnicodeEncodeError:  # a lone surrogate, which the encoder's own way names
        raise Refused from None
    data = np.frombuffer(bytearray(content + bytes(ROOM)), dtype=np.uint8)
    offsets = np.zeros(len(texts) + 1, dtype=np.int64)
    if texts:  # a sixth of the time of asking each for its length
        zeros = np.flatnonzero(data[: len(content) + 1] == 0)
        if len(zeros) != len(texts):  # there are some inside
            raise Refused
        np.add(zeros, 1, out=offsets[1:])
    return Texts(data, offsets, 1, bags, np.array(weights, dtype=np.float32))


def _add_weighted(bag: Bag, texts: list[Any], weights: list[float], ends: list[int]) -> None:
    """Add the values of bags with weights, and their weights; an empty value, which is passed over, needs none."""
    of_weights = bag.cells if bag.weights is None else bag.weights
    for cell, of_cell in zip(bag.cells, of_weights, strict=True):
        values: list[Any] = []
        own: list[Any] = []
        if cell is None:
            pass
        elif bag.weights is not None:
            values, own = _listed(cell, bag.separator), _listed(of_cell, bag.separator)
            if all(value is None or value == "" for value in values):
                values, own = [], []
            if len(values) != len(own):
                raise Refused
        elif type(cell) is dict:
            values, own = list(cell), list(cell.values())
        else:
            for value in _listed(cell, bag.separator):
                if value:
                    if type(value) is not str:
                        raise Refused
                    text, colon, weight = value.rpartition(":")
                    if not colon:  # unless it means missing as a whole
                        raise Refused
                    values.append(text)
                    own.append(weight)
        texts += values
        weights += map(_weight, own)
        ends.append(len(texts))


def _listed(cell: Any, separator: str) -> list[Any]:
    if type(cell) is str:
        return cell.split(separator)
    if type(cell) is list:
        return cell
    if cell is None:
        return []
    raise Refused


def _weight(value: Any) -> float:
    """Return a weight that float32 can hold."""
    kind = type(value)
    if kind is str:
        value = _parsed(value)
    elif kind is not float and kind is not int:
        raise Refused
    if not -_LARGEST <= value <= _LARGEST:  # NaN, too
        raise Refused
    return float(value)


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


def as_vectors(cells: Sequence[Any], length: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return the numbers of vectors of `length` end to end, as float32 holds them, and where each cell begins (B + 1,).

    A number that is missing is NaN, and so is a vector, which is one number then: `features.vectors`.

    Raises
    ------
    Refused
        There is a cell that is read otherwise, or cannot be.
    """
    values: list[Any] = []
    offsets = np.zeros(len(cells) + 1, dtype=np.int64)
    for place, cell in enumerate(cells, 1):
        kind = type(cell)
        if kind is np.ndarray and cell.shape == (length,) and cell.dtype.kind in "fiu":
            values += cell.tolist()
        elif kind is list and len(cell) == length:
            values += cell
        elif cell is None or (kind is list and not cell):
            values.append(None)
        else:
            raise Refused
        offsets[place] = len(values)
    if not set(map(type, values)) <= _NUMBERS:
        raise Refused
    try:
        numbers = np.array(values, dtype=np.float64)
    except OverflowError:
        raise Refused from None
    with np.errstate(over="ignore"):
        numbers = numbers.astype(np.float32).astype(np.float64)
    if np.isinf(numbers).any():
        raise Refused
    if length > 1 and (np.add.reduceat(~np.isnan(numbers), offsets[:-1]) == 0)[np.diff(offsets) > 1].any():
        raise Refused  # of missing numbers alone: missing as a whole
    return numbers, offsets


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
