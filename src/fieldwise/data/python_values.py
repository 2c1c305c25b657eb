"""A column of Python's values, or of another library's arrays, as an Arrow array."""

from __future__ import annotations

import datetime
import math
import uuid
from array import array as machine_array
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from fieldwise.errors import DataError
from fieldwise.features.canonical import as_text

__all__ = ["REFUSALS", "column_of", "is_series"]

REFUSALS = (pa.ArrowException, TypeError, ValueError, OverflowError)
"""What Arrow raises for values that it cannot hold."""
_BAGS = (list, tuple, set, frozenset, np.ndarray, Mapping)
_NOT_THERE = ("NAType", "NaTType")


def is_series(values: object) -> bool:
    """Whether this is a series of pandas or polars."""
    names = {base.__module__.split(".")[0] for base in type(values).__mro__}
    has_rows = hasattr(values, "to_numpy") and hasattr(values, "__len__")
    return bool(names & {"pandas", "polars"}) and has_rows and len(getattr(values, "shape", ())) == 1


def column_of(name: Any, values: Any) -> Any:
    """Return a column as an Arrow array, or a chunked one."""
    try:
        if isinstance(values, (pa.Array, pa.ChunkedArray)):
            return values
        if isinstance(values, np.ndarray):
            return _from_numpy(values)
        if is_series(values) or hasattr(values, "__arrow_c_array__") or hasattr(values, "__arrow_c_stream__"):
            return _from_series(values)
        if isinstance(values, machine_array) or (hasattr(values, "__array__") and not isinstance(values, Sequence)):
            return _from_numpy(_asarray(values))
        return _from_values(list(values))
    except DataError as error:
        raise error.at(f"column {name}" if error.where is None else f"column {name}, {error.where}") from None


def _from_series(values: Any) -> Any:
    if str(getattr(values, "dtype", "")) == "object":
        return _from_values(list(values))
    try:
        if is_series(values) and type(values).__module__.startswith("pandas"):
            return pa.array(values, from_pandas=True)
        return pa.chunked_array(values) if hasattr(values, "__arrow_c_stream__") else pa.array(values)
    except REFUSALS:
        return _from_values(list(values))


def _asarray(values: Any) -> np.ndarray[Any, Any]:
    try:
        return np.asarray(values)
    except (RuntimeError, TypeError) as error:  # a tensor on a device, or one with gradients
        raise DataError("numpy cannot read the column", got=error, fix="give a numpy array") from None


def _from_numpy(values: np.ndarray[Any, Any]) -> Any:
    if values.ndim == 0:
        raise DataError("a column has one dimension or more", got="an array without dimensions")
    if values.ndim > 1:
        return _from_values([cell.tolist() for cell in values])
    if values.dtype.kind == "f" and values.dtype.itemsize > 8:  # long doubles
        values = values.astype(np.float64)
    if values.dtype.kind == "M" and np.datetime_data(values.dtype) != ("D", 1):  # days are Arrow's dates
        values = _of_a_known_unit(values)
    if values.dtype.kind in "biufM":
        try:
            return pa.array(values, from_pandas=True)
        except REFUSALS:
            pass
    return _from_values(values.tolist())


def _from_values(values: list[Any]) -> pa.Array:
    """Return Python values as an array, of the type that they share or as texts."""
    values = [value.item() if isinstance(value, np.ndarray) and not value.ndim else value for value in values]
    values = [None if _is_missing(value) else value for value in values]
    kinds = {type(value) for value in values} - {type(None)}
    if any(issubclass(kind, _BAGS) for kind in kinds):
        return _from_bags(values)
    if any(hasattr(value, "as_py") for value in values):
        values = [value.as_py() if hasattr(value, "as_py") else value for value in values]
        return _from_values(values)
    # Of one type, or numbers that Arrow brings together without loss, or else refuses.
    if (len(kinds) <= 1 and not kinds & {Decimal, uuid.UUID, np.datetime64}) or kinds == {int, float}:
        try:
            return pa.array(values)
        except (*REFUSALS, UnicodeEncodeError):
            pass
    texts = [None if value is None else _text(value, row) for row, value in enumerate(values)]
    encoded = [text.encode() if isinstance(text, str) else text for text in texts]
    array = pa.array(encoded, pa.large_binary())
    return array if any(isinstance(text, bytes) for text in texts) else array.cast(pa.large_string())


def _from_bags(values: list[Any]) -> pa.Array:
    """Return cells that hold several values each as an array of lists, of pairs where they are dicts."""
    cells: list[list[Any] | None] = []
    weights: list[Any] = []
    weighted = any(isinstance(value, Mapping) for value in values)
    for row, value in enumerate(values):
        if value is None:
            cells.append(None)
        elif not isinstance(value, _BAGS) or isinstance(value, Mapping) != weighted:
            raise DataError("a column mixes bags with single values", where=f"row {row + 1}", got=repr(value)[:100])
        elif isinstance(value, Mapping):
            cells.append(list(value))
            weights += value.values()
        elif isinstance(value, (set, frozenset)):  # in an order that does not differ from process to process
            cells.append(sorted(value, key=lambda item: (str(type(item)), str(item))))
        else:
            cells.append(value.tolist() if isinstance(value, np.ndarray) else list(value))
    flat = _from_values([item for cell in cells for item in (cell or ())])
    if weighted:
        flat = pa.StructArray.from_arrays([flat, _from_values(weights)], names=["value", "weight"])
    ends = np.concatenate([[0], np.cumsum([len(cell or ()) for cell in cells], dtype=np.int64)])
    absent = np.array([cell is None for cell in cells])
    offsets = pa.array(ends, mask=np.append(absent, False)) if absent.any() else pa.array(ends)
    return pa.LargeListArray.from_arrays(offsets, flat)


_ARROWS_UNITS = {("s", 1), ("ms", 1), ("us", 1), ("ns", 1)}
"""Of numpy's points in time; Arrow takes multiples of them for the unit itself."""


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in _NOT_THERE:
        return True
    if isinstance(value, (float, np.floating)):
        return bool(value != value)
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return bool(np.isnat(value))
    return isinstance(value, Decimal) and value.is_nan()


def _text(value: Any, row: int) -> str | bytes:
    """Return the text that a value has alone."""
    for kinds, spell in _SPELLINGS:
        if isinstance(value, kinds):
            try:
                text = spell(value)
                if isinstance(text, str):
                    text.encode()
                return text
            except UnicodeEncodeError:
                raise DataError(
                    "a text is not Unicode", where=f"row {row + 1}", got=ascii(value)[:100], fix="write it in UTF-8"
                ) from None
            except _UnsupportedError:
                break
            except REFUSALS as error:
                raise DataError("a value cannot be read", where=f"row {row + 1}", got=error) from None
    raise DataError(
        "values of this type are not supported",
        where=f"row {row + 1}",
        expected="texts, numbers, booleans, dates, times, or lists of them",
        got=f"{type(value).__module__}.{type(value).__qualname__}",
    )


def _by_arrow(value: Any) -> str:
    return str(as_text(pa.array([value]))[0].as_py())


def _of_a_known_unit(moments: Any) -> Any:
    """Return numpy's points in time in a unit that Arrow has, too."""
    return moments if np.datetime_data(moments.dtype) in _ARROWS_UNITS else moments.astype("datetime64[s]")


class _UnsupportedError(Exception):
    """A value has a type that no column can hold."""


def _refused(value: Any) -> str:
    raise _UnsupportedError


def _of_decimal(value: Decimal) -> str:
    return format(value, "f") if value.is_finite() else str(float(value))


def _of_float(value: float) -> str:
    return _by_arrow(value) if math.isfinite(value) else str(value)


_SPELLINGS: tuple[tuple[Any, Callable[[Any], str | bytes]], ...] = (
    ((bool, np.bool_), lambda value: "true" if value else "false"),
    (str, str.__str__),  # the value of an enumeration's member, not its name
    ((bytes, bytearray), bytes),
    (np.timedelta64, _refused),  # which numpy counts as an integer
    ((int, np.integer), lambda value: format(int(value), "d")),
    ((float, np.floating), _of_float),
    (Decimal, _of_decimal),
    (uuid.UUID, str),
    ((datetime.datetime, datetime.date), _by_arrow),
    (np.datetime64, lambda value: _by_arrow(_of_a_known_unit(value))),
)
"""Booleans before integers, which they are."""
