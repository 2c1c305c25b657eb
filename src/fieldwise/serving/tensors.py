"""Tensors of the Open Inference Protocol as columns of raw cells: JSON, flat or nested, and the binary form.

====================  ================  ==========================================================================
column                shape             cells
====================  ================  ==========================================================================
text, number, time    [n] or [n, 1]     BYTES (UTF-8) or numbers; missing: the empty text, NaN or null
bag, weights          [n] or [n, 1]     one text per row, with the separator
bag, weights          [n, L]            the values of a row, those that are missing at the end are padding
====================  ================  ==========================================================================

In the binary form numbers are little-endian, a BOOL is a byte, and each of BYTES follows its length in 4 bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from fieldwise.counted import counted
from fieldwise.serving.columns import Column
from fieldwise.serving.limits import Limits, too_many_rows, too_many_values
from fieldwise.serving.refusals import Refusal

__all__ = ["DATATYPES", "binary_cells", "json_cells", "rows_of", "shape_of"]

_TYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "FP16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    **{
        f"{sign}{bits}": np.dtype(f"<{letter}{bits // 8}")
        for sign, letter in (("INT", "i"), ("UINT", "u"))
        for bits in (8, 16, 32, 64)
    },
}
DATATYPES = ("BYTES", *_TYPES)


def shape_of(name: str, shape: Sequence[int], column: Column | None, limits: Limits) -> int:
    """Return the number of cells of a tensor of n rows.

    Raises
    ------
    Refusal
        The column has no such shape, or it is beyond a limit.
    """
    if column is not None and column.length is not None:
        if len(shape) != 2 or shape[0] < 0 or shape[1] != column.length:
            raise Refusal(400, f"input {name}: expected shape [n, {column.length}], got {list(shape)}")
        too_many_rows(shape[0], limits)
        return math.prod(shape)
    is_bag = column is not None and column.kind in ("bag", "weights")
    wide = is_bag and len(shape) == 2
    if not 1 <= len(shape) <= 2 or min(shape) < 0 or (len(shape) == 2 and shape[1] != 1 and not wide):
        expected = "[n], [n, 1] or [n, L]" if is_bag else "[n] or [n, 1]"
        raise Refusal(400, f"input {name}: expected shape {expected}, got {list(shape)}")
    too_many_rows(shape[0], limits)
    if wide:
        too_many_values(shape[1], name, limits)
    return math.prod(shape)


def json_cells(name: str, datatype: str, num_cells: int, data: Sequence[Any]) -> list[Any]:
    """Return the cells of a tensor that is given as JSON, flat or nested by rows.

    Raises
    ------
    Refusal
        They are not as many, or not of the datatype.

    Examples
    --------
    >>> json_cells("age", "FP64", 2, [[1.5], [None]])
    [1.5, None]
    """
    if data and isinstance(data[0], list):
        widths = {len(row) if isinstance(row, list) else -1 for row in data}
        if len(widths) > 1:
            raise Refusal(400, f"input {name}: the rows of nested data differ in length")
        data = list(chain.from_iterable(data))
    if len(data) != num_cells:
        raise Refusal(400, f"input {name}: expected {counted(num_cells, 'value')}, as its shape says, got {len(data)}")
    kinds = set(map(type, data)) - {type(None)}
    if not kinds <= _KINDS[datatype]:
        found = next(value for value in data if value is not None and type(value) not in _KINDS[datatype])
        raise Refusal(400, f"input {name}: expected {datatype}, got {ascii(found)[:100]}")
    if datatype in _RANGES:
        low, high = _RANGES[datatype]
        beyond = next((value for value in data if value is not None and not low <= value <= high), None)
        if beyond is not None:
            raise Refusal(400, f"input {name}: expected {datatype}, got {str(beyond)[:100]}")
    return list(data)


_KINDS: dict[str, set[type]] = {
    "BYTES": {str},
    "BOOL": {bool},
    **{name: {int} for name, kind in _TYPES.items() if kind.kind in "iu"},
    **{name: {int, float} for name in ("FP16", "BF16", "FP32", "FP64")},
}
_RANGES = {
    name: (int(np.iinfo(kind).min), int(np.iinfo(kind).max))
    for name, kind in _TYPES.items()
    if kind.kind in "iu" and name != "BF16"
}


def binary_cells(name: str, datatype: str, num_cells: int, raw: bytes) -> list[Any]:
    r"""Return the cells of a tensor in the binary form.

    Raises
    ------
    Refusal
        The bytes are not as many as the shape says, or no UTF-8.

    Examples
    --------
    >>> binary_cells("city", "BYTES", 2, b"\x04\0\0\0Rome\0\0\0\0")
    ['Rome', '']
    >>> binary_cells("age", "FP32", 2, np.array([0.5, np.nan], "<f4").tobytes())
    [0.5, nan]
    """
    if datatype == "BYTES":
        return _texts(name, num_cells, raw)
    kind = _TYPES[datatype]
    if len(raw) != num_cells * kind.itemsize:
        raise Refusal(400, f"input {name}: expected {num_cells * kind.itemsize} bytes of {datatype}, got {len(raw)}")
    array = np.frombuffer(raw, kind)
    if datatype == "BF16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    if array.dtype.kind == "f" and array.dtype.itemsize < 8:
        # The shortest decimals that mean these numbers: as a category, .1 is .1 and not .10000000149011612.
        array = array.astype(str).astype(np.float64)
    cells: list[Any] = array.tolist()
    return cells


def _texts(name: str, num_cells: int, raw: bytes) -> list[Any]:
    cells, at, end = [], 0, len(raw)
    try:
        while at < end:
            first = at + 4
            at = first + int.from_bytes(raw[at:first], "little")
            cells.append(raw[first:at].decode())
    except UnicodeDecodeError:
        raise Refusal(400, f"input {name}: the text of row {len(cells) + 1} is not UTF-8") from None
    if at != end or len(cells) != num_cells:
        raise Refusal(400, f"input {name}: expected {num_cells} texts, each after its length in 4 bytes")
    return cells


def rows_of(cells: list[Any], shape: Sequence[int], column: Column | None) -> list[Any]:
    """Return one cell per row: missing as None, the values of a bag without the padding at the end, whole vectors.

    Examples
    --------
    >>> rows_of(["a", "b", "c", ""], [2, 2], Column("tags", "bag", ("tags",)))
    [['a', 'b'], ['c']]
    >>> rows_of([1.5, float("nan")], [2], Column("age", "number", ("age",)))
    [1.5, None]
    """
    if column is not None and column.length is not None:
        return [cells[first : first + column.length] for first in range(0, len(cells), column.length)]
    if column is None or column.kind not in ("bag", "weights") or len(shape) == 1 or shape[1] == 1:
        return [None if cell != cell or cell == "" else cell for cell in cells]
    rows = []
    width = shape[1]
    if not width:
        return [[] for _ in range(shape[0])]
    for first in range(0, len(cells), width):
        last = first + width
        while last > first and (cells[last - 1] is None or cells[last - 1] == "" or cells[last - 1] != cells[last - 1]):
            last -= 1
        rows.append(cells[first:last])
    return rows
