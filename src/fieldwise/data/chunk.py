"""A chunk: what every reader yields, a piece of a log as a table with the rows of it that could not be read.

Few of Arrow's functions know its view types (string_view, list_view, ...), as polars hands them out, or columns encoded
by the length of their runs. Whatever reads a log turns them into the types that they stand for (`without_views`), so
that nothing behind it meets one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fieldwise.errors import DataError, UserError
from fieldwise.features.columns import Reject

__all__ = [
    "FEW_BYTES",
    "MAX_CHUNK_BYTES",
    "MAX_CHUNK_ROWS",
    "Chunk",
    "Piece",
    "Reader",
    "RejectedRow",
    "excerpt",
    "naming",
    "type_without_views",
    "without_views",
]

MAX_CHUNK_ROWS = 65_536
MAX_CHUNK_BYTES = 1 << 26
FEW_BYTES = 1 << 23
"""Of a chunk where there is no limit on memory to share out, and every thread holds one or two."""

_MAX_TEXT = 200


class RejectedRow(NamedTuple):
    """A row that is left out, and why.

    Attributes
    ----------
    row
        Its number in its file: the first row of data is 1; a header and empty lines are not counted.
    text
        The beginning of its text.
    reason
        Why it cannot be used.
    column
        The column that is to blame, if there is one.
    """

    row: int
    text: str
    reason: str
    column: str | None = None


class Chunk(NamedTuple):
    """Consecutive rows of one file.

    Attributes
    ----------
    table
        The columns that were asked for; at most 65,536 rows and about 64 MB. Columns of text files are strings.
    path
        The file, as messages name it.
    file
        The file's position in the log, from 0.
    rows
        (table.num_rows,) int64, rising: the number of each row in its file, as in `RejectedRow`.
    rejects
        Rows that are not in `table`. Every row of a file is in exactly one chunk, as a row or as a reject.
    """

    table: pa.Table
    path: str
    file: int
    rows: npt.NDArray[np.int64]
    rejects: list[RejectedRow]

    @property
    def num_rows(self) -> int:
        """Of the file: those in `table` and those that are not."""
        return int(self.table.num_rows) + len(self.rejects)

    def reject_lines(self, rejects: Sequence[Reject] = ()) -> list[dict[str, Any]]:
        """Return a line for a rejects file for every row that could not be read, or encoded.

        `rejects` are those of the encoder: their rows are positions in `table`.
        """
        unread = [(row, column, text, reason) for row, text, reason, column in self.rejects]
        unused = [(int(self.rows[row]), column, value, reason) for row, column, value, reason in rejects]
        keys = ("file", "row", "column", "value", "reason")
        return [dict(zip(keys, (self.path, *found), strict=True)) for found in [*unread, *unused]]


class Piece(NamedTuple):
    """Consecutive chunks of one file that are read from the disk, and not parsed yet.

    Attributes
    ----------
    num_rows
        Rows of all chunks together, those that cannot be used too.
    parse
        Returns the chunks; called once, in any thread, before or after those of other pieces.
    """

    num_rows: int
    parse: Callable[[], list[Chunk]]


class Reader(Protocol):
    """One file of a log, or a table in memory."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of its columns, in order."""

    def pieces(self, columns: Sequence[str]) -> Iterator[Piece]:
        """Yield its rows, with these columns."""


def excerpt(text: str) -> str:
    """Return the beginning of a text, short enough for a message.

    Examples
    --------
    >>> excerpt("a,b")
    'a,b'
    >>> len(excerpt("a" * 1000))
    203
    """
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "..."


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Prefix the place of a `UserError` with the file, where it lies in the data or has no place."""
    try:
        yield
    except UserError as error:
        if error.where is not None and (path in str(error.where) or not isinstance(error, DataError)):
            raise
        raise error.at(path if error.where is None else f"{path}: {error.where}") from None


def type_without_views(kind: pa.DataType) -> pa.DataType:
    """Return the type that holds the same values without views.

    Examples
    --------
    >>> type_without_views(pa.string_view()), type_without_views(pa.list_(pa.binary_view()))
    (DataType(large_string), ListType(list<item: large_binary>))
    """
    types = pa.types
    if types.is_run_end_encoded(kind):
        return type_without_views(kind.value_type)
    if types.is_string_view(kind):
        return pa.large_string()
    if types.is_binary_view(kind):
        return pa.large_binary()
    if types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, type_without_views(kind.value_type), kind.ordered)
    if types.is_struct(kind):
        fields = [kind.field(at) for at in range(kind.num_fields)]
        return pa.struct([field.with_type(type_without_views(field.type)) for field in fields])
    if types.is_fixed_size_list(kind):
        return pa.list_(_item(kind), kind.list_size)
    if types.is_list(kind):
        return pa.list_(_item(kind))
    if types.is_large_list(kind) or types.is_list_view(kind) or types.is_large_list_view(kind):
        return pa.large_list(_item(kind))
    return kind


def _item(kind: pa.DataType) -> pa.Field:
    field: pa.Field = kind.value_field
    return field.with_type(type_without_views(field.type))


def without_views(table: pa.Table) -> pa.Table:
    """Return the table with columns of `type_without_views`."""
    for place, (name, column) in enumerate(zip(table.column_names, table.columns, strict=True)):
        kind = type_without_views(column.type)
        if kind != column.type:
            chunks = [_cast(chunk, kind) for chunk in column.chunks]
            table = table.set_column(place, name, pa.chunked_array(chunks, type=kind))
    return table


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):  # which Arrow does not cast
        return pa.DictionaryArray.from_arrays(
            array.indices, array.dictionary.cast(kind.value_type), ordered=kind.ordered
        )
    if pa.types.is_run_end_encoded(array.type):
        places = np.searchsorted(array.run_ends.to_numpy(), array.offset + np.arange(len(array)), side="right")
        values = array.values if array.values.type == kind else _cast(array.values, kind)
        return values.take(pa.array(places))
    if pa.types.is_list_view(array.type) or pa.types.is_large_list_view(array.type):
        # Arrow 26 casts these to lists whose last offset is wrong.
        lengths = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False)
        ends = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int64())
        return pa.LargeListArray.from_arrays(ends, array.flatten().cast(kind.value_type), mask=array.is_null())
    return array.cast(kind)
