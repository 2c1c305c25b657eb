"""Columns that stand in the names of folders: ``day=2026-11-01/country=it/part.parquet``, as Spark and Hive write them.

Every folder above a file whose name is ``key=value`` is a column of text that holds this value in all rows of the file,
wherever the path that was named begins: a file is read alike alone and with its log. What a file system cannot write is
escaped as ``%2F``; an empty value and ``__HIVE_DEFAULT_PARTITION__`` are missing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath
from urllib.parse import unquote

import numpy as np
import pyarrow as pa

from fieldwise.data.chunk import Chunk, Piece, Reader
from fieldwise.errors import DataError
from fieldwise.features.canonical import canonical, plain
from fieldwise.features.parse import parse_text
from fieldwise.features.spelling import spelled
from fieldwise.io import stores

__all__ = ["Keys", "is_partition", "keys_of", "pieces_with_keys"]

Keys = Mapping[str, str | None]
"""The columns that the folders above a file name; None for a missing value."""

_MISSING = "__HIVE_DEFAULT_PARTITION__"


def is_partition(folder: str) -> bool:
    """Whether the name of a folder is a column and its value."""
    return folder.find("=") > 0


def keys_of(path: str) -> Keys:
    """Return the columns that the folders above a file name; of two folders with one key, the inner one counts.

    Examples
    --------
    >>> keys_of("s3://logs/day=2026-11-01/place=N%2FA/hour=__HIVE_DEFAULT_PARTITION__/part-0.parquet")
    {'day': '2026-11-01', 'place': 'N/A', 'hour': None}
    """
    if not stores.is_remote(path):
        path = os.path.abspath(path)
    keys: dict[str, str | None] = {}
    for folder in PurePosixPath(path.replace(os.sep, "/")).parts[:-1]:
        if is_partition(folder):
            name, _, text = folder.partition("=")
            keys[unquote(name)] = None if text in ("", _MISSING) else unquote(text)
    return keys


def _with_keys(chunk: Chunk, columns: Sequence[str], keys: Keys) -> Chunk:
    """Return a chunk with these columns, in this order; those that it does not hold are keys.

    Raises
    ------
    DataError
        A column of the file has another value than the folder that names it.
    """
    table = chunk.table
    for name in keys.keys() & set(table.column_names):
        _refuse_difference(chunk, name, keys[name])
    held = set(table.column_names)
    num_rows = table.num_rows
    arrays = [table.column(name) if name in held else _constant(keys[name], num_rows) for name in columns]
    return chunk._replace(table=pa.Table.from_arrays(arrays, names=list(columns)))


def _constant(value: str | None, num_rows: int) -> pa.Array:
    if value is None:
        return pa.nulls(num_rows, pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(num_rows, dtype=np.int8)), pa.array([value]))


def _refuse_difference(chunk: Chunk, name: str, value: str | None) -> None:
    cells = plain(canonical(plain(chunk.table.column(name).combine_chunks()))).to_pylist()
    [expected] = spelled(pa.array([value], pa.string())).to_pylist()
    same = {text: _is_same(text, expected) for text in set(cells)}
    if all(same.values()):
        return
    at = next(at for at, text in enumerate(cells) if not same[text])
    raise DataError(
        "a column of the file and the folder of the same name disagree",
        where=f"{chunk.path}, row {int(chunk.rows[at])}, column {name}",
        expected=f"{value}, as the folder says",
        got=cells[at] if cells[at] is not None else "a missing value",
        fix="rename the folder or the column, or leave the column out: [data] exclude",
    )


def _is_same(text: str | None, other: str | None) -> bool:
    """Whether two canonical texts are one value; 1 is 01 in a folder."""
    if text == other or text is None or other is None:
        return text == other
    numbers, bad = parse_text(pa.array([text, other]))
    return not bad.any() and bool(numbers[0] == numbers[1])


def pieces_with_keys(reader: Reader, columns: Sequence[str], keys: Keys, *, strict: bool) -> Iterator[Piece]:
    """Yield the rows of a file, with these columns, some of which its folders may name; `strict`: both must agree."""
    own = set(reader.columns)
    keys = {name: value for name, value in keys.items() if name in columns and (strict or name not in own)}
    if not keys:
        yield from reader.pieces(columns)
        return
    # A reader needs a column to know how many rows there are.
    in_file = [name for name in columns if name in own or name not in keys] or list(reader.columns[:1])
    for piece in reader.pieces(in_file):
        yield piece._replace(parse=partial(_parse_with_keys, piece, tuple(columns), keys))


def _parse_with_keys(piece: Piece, columns: Sequence[str], keys: Keys) -> list[Chunk]:
    return [_with_keys(chunk, columns, keys) for chunk in piece.parse()]
