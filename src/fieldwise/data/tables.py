"""Rows in memory, in any of the forms that people have them in, as an Arrow table.

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

from array import array as machine_array
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fieldwise.counted import counted
from fieldwise.data.chunk import without_views
from fieldwise.data.python_values import REFUSALS, column_of, is_series
from fieldwise.errors import DataError

__all__ = ["as_table", "is_paths"]

_TAKEN = (
    "a pyarrow, pandas or polars table, a dict of columns or of the values of one row, a list of dicts, "
    "or a numpy structured array"
)


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
        Whether a column is needed. Others are left out if they cannot be stored, or if their name is not a text.

    Raises
    ------
    TypeError
        They are none of the kinds above, or the name of a column is not a text.
    DataError
        A column contains something that is not a value, or columns differ in length.

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
    except REFUSALS as error:
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
    if (hasattr(values, "__arrow_c_stream__") and not _is_frame(values)) or is_series(values):
        return True
    if isinstance(getattr(values, "shape", None), tuple) and hasattr(values, "__array__"):  # a tensor
        return len(values.shape) > 0 and not _is_frame(values)
    if isinstance(values, Iterable) and not isinstance(values, (str, bytes, bytearray, memoryview, Mapping)):
        kind = type(values)
        raise TypeError(f"a column is a list or an array, not {kind.__module__}.{kind.__qualname__}")
    return False


def _is_frame(values: object) -> bool:
    return isinstance(values, (pa.Table, pa.RecordBatch)) or type(values).__qualname__ in ("DataFrame", "LazyFrame")


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
            arrays.append(column_of(_name(name), values))
            names.append(str(name))
        except (DataError, TypeError) as error:
            if is_read(name):
                raise
            refused = refused or error
    if refused is not None and not names:
        raise refused
    if num_rows and not names:
        raise DataError("the rows have no columns", got=counted(num_rows, "row"))
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
        raise DataError("the name of a column is not valid Unicode", got=ascii(name)) from None
    return str(name)
