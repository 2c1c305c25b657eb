"""Rows as people have them in memory, made into an Arrow table.

===========================================================  ===========================================================
what                                                         how it is read
===========================================================  ===========================================================
pyarrow Table, RecordBatch, RecordBatchReader                as it is
pandas, polars and other data frames                         through the Arrow C stream; pandas column by column
dict of columns: lists, numpy arrays, Arrow arrays, series   one row for each item; all of one length
dict of values                                               one row
list of dicts                                                one row for each; a key that one lacks is missing there
numpy structured array or record                             one column for each name
===========================================================  ===========================================================

A column may mix types: each value then has the text that it has alone (`features.canonical`), so that 5, "5" and 5.0
are one value. ``None``, NaN, ``NaT`` and ``pandas.NA`` are missing. A cell that is a list, tuple, set or array is a
bag, and one that is a dict is a bag with weights. A column that nobody reads may hold what has no value.
"""

from __future__ import annotations

import datetime
import math
import uuid
from array import array as machine_array
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fieldwise.data.chunk import without_views
from fieldwise.errors import DataError
from fieldwise.features.canonical import as_text

__all__ = ["as_table", "is_paths"]

_TAKEN = (
    "a pyarrow, pandas or polars table, a dict of columns or of the values of one row, a list of dicts, "
    "or a numpy structured array"
)
_REFUSALS = (pa.ArrowException, TypeError, ValueError, OverflowError)
_BAGS = (list, tuple, set, frozenset, np.ndarray, Mapping)
_NOT_THERE = ("NAType", "NaTType")


def is_paths(data: object) -> bool:
    """Whether this names files, and is no table."""
    if isinstance(data, (str, Path)):
        return True
    return isinstance(data, Sequence) and bool(data) and all(isinstance(path, (str, Path)) for path in data)


def as_table(rows: Any, is_read: Callable[[Any], bool] = lambda name: True) -> pa.Table:
    """Return rows as an Arrow table.

    Parameters
    ----------
    rows
        One of the kinds above.
    is_read
        Whether a column is asked for. What is none, and cannot be stored or has a name that is no text, is left out.

    Raises
    ------
    TypeError
        They are nothing of what the table above names, or a column's name is no text.
    DataError
        A column holds what has no value, or columns differ in length.

    Examples
    --------
    >>> as_table([{"user": "u1", "age": 20}, {"user": "u2"}]).to_pydict()
    {'user': ['u1', 'u2'], 'age': [20, None]}
    >>> as_table({"user": "u1", "code": 5}).to_pydict()
    {'user': ['u1'], 'code': [5]}
    >>> as_table({"code": [5, "05", 2.5, True, None]}).to_pydict()
    {'code': ['5', '05', '2.5', 'true', None]}
    """
    return without_views(_as_table(rows, is_read))


def _as_table(rows: Any, is_read: Callable[[Any], bool]) -> pa.Table:
    if isinstance(rows, pa.Table):
        return rows
    if isinstance(rows, pa.RecordBatch):
        return pa.Table.from_batches([rows])
    if isinstance(rows, (np.ndarray, np.void)) and rows.dtype.names:
        records = np.array([rows], dtype=rows.dtype) if isinstance(rows, np.void) else np.atleast_1d(rows)
        return _from_columns({name: records[name] for name in rows.dtype.names}, is_read)
    if isinstance(rows, Mapping):
        return _from_mapping(rows, is_read)
    if _is_pandas(rows):
        return _from_pandas(rows, is_read)
    if hasattr(rows, "__arrow_c_stream__") or hasattr(rows, "__arrow_c_array__"):
        return _from_arrow(rows)
    if isinstance(rows, (list, tuple)):
        return _from_records(rows, is_read)
    raise _not_rows(rows)


def _not_rows(rows: object, inside: str = "") -> TypeError:
    kind = type(rows)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    calls = ("collect", "to_table") if kind.__qualname__ != "DataFrame" else ()
    more = next((f"; call {call}() first" for call in calls if hasattr(rows, call)), "")
    return TypeError(f"rows are {_TAKEN}, not {inside}{name}{more}")


def _is_pandas(rows: object) -> bool:
    kind = type(rows)
    return any(base.__module__.split(".")[0] == "pandas" and base.__name__ == "DataFrame" for base in kind.__mro__)


def _from_pandas(frame: Any, is_read: Callable[[Any], bool]) -> pa.Table:
    """Read a frame by columns: types that Arrow would refuse are mixed in columns of objects more often than not."""
    index = frame.index
    levels = [name for name in index.names if name is not None and name not in list(frame.columns)]
    columns = [(name, index.get_level_values(name)) for name in levels]
    columns += [(name, frame.iloc[:, place]) for place, name in enumerate(frame.columns)]
    return _table(columns, is_read, len(frame))


def _from_arrow(rows: Any) -> pa.Table:
    try:
        table = pa.table(rows) if hasattr(rows, "__arrow_c_stream__") else pa.table(pa.record_batch(rows))
    except _REFUSALS as error:
        if "Series" in type(rows).__name__ or isinstance(rows, (pa.Array, pa.ChunkedArray)):
            raise _not_rows(rows, "one column, ") from None
        raise DataError("Arrow cannot read the table", got=error, fix=f"give {_TAKEN}") from None
    except BaseException as error:  # polars panics with an exception of its own on columns of Python objects
        if isinstance(error, (KeyboardInterrupt, SystemExit, MemoryError)):
            raise
        raise DataError("Arrow cannot read the table", got=error, fix=f"give {_TAKEN}") from None
    return table


def _from_records(rows: Sequence[Any], is_read: Callable[[Any], bool]) -> pa.Table:
    names: dict[Any, None] = {}
    for row in rows:
        if not isinstance(row, Mapping):
            raise _not_rows(row, "a list of ")
        names.update(dict.fromkeys(row))
    if rows and not names:
        raise DataError("the rows have no columns", got=f"{len(rows)} empty dicts")
    return _table([(name, [row.get(name) for row in rows]) for name in names], is_read, len(rows))


def _from_mapping(columns: Mapping[Any, Any], is_read: Callable[[Any], bool]) -> pa.Table:
    single = {name: not _is_column(values) for name, values in columns.items()}
    if not any(single.values()):
        return _from_columns(columns, is_read)
    lists = [str(name) for name, is_single in single.items() if not is_single]
    if lists:
        raise DataError(
            "a dict holds columns, or the values of one row",
            expected="lists of one length in all columns, or in none",
            got=f"lists in {', '.join(lists[:5])} only",
            fix="for one row whose cells are lists give a list of one dict",
        )
    return _from_records([columns], is_read)


def _is_column(values: Any) -> bool:
    if isinstance(values, np.ndarray):
        return values.ndim > 0
    if isinstance(values, (list, tuple, range, machine_array)) or hasattr(values, "__arrow_c_array__"):
        return True
    if (hasattr(values, "__arrow_c_stream__") and not _is_frame(values)) or _is_series(values):
        return True
    if isinstance(getattr(values, "shape", None), tuple) and hasattr(values, "__array__"):  # a tensor
        return len(values.shape) > 0 and not _is_frame(values)
    if isinstance(values, Iterable) and not isinstance(values, (str, bytes, bytearray, memoryview, Mapping)):
        kind = type(values)
        raise TypeError(f"a column is a list or an array, not {kind.__module__}.{kind.__qualname__}")
    return False


def _is_frame(values: object) -> bool:
    return isinstance(values, (pa.Table, pa.RecordBatch)) or type(values).__qualname__ in ("DataFrame", "LazyFrame")


def _is_series(values: object) -> bool:
    names = {base.__module__.split(".")[0] for base in type(values).__mro__}
    has_rows = hasattr(values, "to_numpy") and hasattr(values, "__len__")
    return bool(names & {"pandas", "polars"}) and has_rows and len(getattr(values, "shape", ())) == 1


def _from_columns(columns: Mapping[Any, Any], is_read: Callable[[Any], bool]) -> pa.Table:
    if not columns:
        raise DataError("the rows have no columns", got="an empty dict")
    return _table(list(columns.items()), is_read, 0)


def _table(columns: Sequence[tuple[Any, Any]], is_read: Callable[[Any], bool], num_rows: int) -> pa.Table:
    """Return named columns as a table; of those that nobody reads, what can be stored."""
    names, arrays = [], []
    refused: Exception | None = None
    for name, values in columns:
        if name in names and not is_read(name):
            continue
        try:
            arrays.append(_column(_name(name), values))
            names.append(str(name))
        except (DataError, TypeError) as error:
            if is_read(name):
                raise
            refused = refused or error
    if refused is not None and not names:
        raise refused
    if num_rows and not names:
        raise DataError("the rows have no columns", got=f"{num_rows} rows")
    if len({len(array) for array in arrays}) > 1:
        found = ", ".join(f"{name} {len(array)}" for name, array in list(zip(names, arrays, strict=True))[:10])
        raise DataError("the columns do not have the same number of rows", got=found)
    return pa.Table.from_arrays(arrays, names=names)


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the names of columns are texts, not {name!r} ({type(name).__qualname__})")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError("the name of a column is no Unicode text", got=ascii(name)) from None
    return str(name)


def _column(name: Any, values: Any) -> Any:
    """Return a column as an Arrow array, or a chunked one."""
    try:
        if isinstance(values, (pa.Array, pa.ChunkedArray)):
            return values
        if isinstance(values, np.ndarray):
            return _from_numpy(values)
        if _is_series(values) or hasattr(values, "__arrow_c_array__") or hasattr(values, "__arrow_c_stream__"):
            return _from_series(values)
        if isinstance(values, machine_array) or (hasattr(values, "__array__") and not isinstance(values, Sequence)):
            return _from_numpy(_asarray(values))
        return _from_values(list(values))
    except DataError as error:
        where = f"column {name}" if error.where is None else f"column {name}, {error.where}"
        raise DataError(error.what, where=where, expected=error.expected, got=error.got, fix=error.fix) from None


def _from_series(values: Any) -> Any:
    if str(getattr(values, "dtype", "")) == "object":
        return _from_values(list(values))
    try:
        if _is_series(values) and type(values).__module__.startswith("pandas"):
            return pa.array(values, from_pandas=True)
        return pa.chunked_array(values) if hasattr(values, "__arrow_c_stream__") else pa.array(values)
    except _REFUSALS:
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
    if values.dtype.kind in "biufM":
        try:
            return pa.array(values, from_pandas=True)
        except _REFUSALS:
            pass
    if values.dtype.kind == "M":  # a unit that Arrow has not
        return pa.array(values.astype("datetime64[s]"), from_pandas=True)
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
    if (len(kinds) <= 1 and not kinds & {Decimal, uuid.UUID}) or kinds == {int, float}:
        try:
            return pa.array(values)
        except (*_REFUSALS, UnicodeEncodeError):
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
            except _REFUSALS as error:
                raise DataError("a value cannot be read", where=f"row {row + 1}", got=error) from None
    raise DataError(
        "a value of this type is no value of a field",
        where=f"row {row + 1}",
        expected="texts, numbers, booleans, dates, times, or lists of them",
        got=f"{type(value).__module__}.{type(value).__qualname__}",
    )


def _by_arrow(value: Any) -> str:
    return str(as_text(pa.array([value]))[0].as_py())


def _of_a_known_unit(moments: Any) -> Any:
    """Return numpy's points in time in a unit that Arrow has, too."""
    unit, _ = np.datetime_data(moments.dtype)
    return moments.astype("datetime64[s]") if unit in ("Y", "M", "W", "h", "m", "generic") else moments


def _of_decimal(value: Decimal) -> str:
    return format(value, "f") if value.is_finite() else str(float(value))


def _of_float(value: float) -> str:
    return _by_arrow(value) if math.isfinite(value) else str(value)


_SPELLINGS: tuple[tuple[Any, Callable[[Any], str | bytes]], ...] = (
    ((bool, np.bool_), lambda value: "true" if value else "false"),
    (str, str.__str__),  # the value of an enumeration's member, not its name
    ((bytes, bytearray), bytes),
    ((int, np.integer), lambda value: format(int(value), "d")),
    ((float, np.floating), _of_float),
    (Decimal, _of_decimal),
    (uuid.UUID, str),
    ((datetime.datetime, datetime.date), _by_arrow),
    (np.datetime64, lambda value: _by_arrow(_of_a_known_unit(value))),
)
"""Booleans before integers, which they are."""
