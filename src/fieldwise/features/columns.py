"""The columns of a chunk of the log, each read once however many fields use it, and cells that cannot be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pyarrow as pa

from fieldwise.errors import DataError, did_you_mean
from fieldwise.features.canonical import as_text, canonical, is_text, plain

__all__ = ["Columns", "Reject", "reading", "shown"]


class Reject(NamedTuple):
    """A row that cannot be used, and why."""

    row: int
    """Position in the table given."""
    column: str
    value: str
    """The cell as it was read; empty for null."""
    reason: str


class Columns:
    """The columns of a chunk, each read once however many fields use it.

    Examples
    --------
    >>> columns = Columns(pa.table({"age": [18.0, None]}))
    >>> columns.text("age").to_pylist()
    ['18', None]
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._places = Counter(table.column_names)
        self._arrays: dict[str, pa.Array] = {}
        self._texts: dict[str, pa.Array] = {}
        self._coded: dict[str, pa.DictionaryArray] = {}

    @property
    def num_examples(self) -> int:
        """B."""
        return int(self._table.num_rows)

    def array(self, name: str) -> pa.Array:
        """Return a column as one array.

        Raises
        ------
        DataError
            The log has no such column, or two of them.
        """
        if name not in self._arrays:
            if self._places[name] != 1:
                raise _not_one_column(name, self._table.column_names)
            self._arrays[name] = _joined(self._table.column(name))
        return self._arrays[name]

    def text(self, name: str) -> pa.Array:
        """Return a column as canonical text."""
        if name not in self._texts:
            with reading(name):
                self._texts[name] = canonical(self.array(name))
        return self._texts[name]

    def coded(self, name: str) -> pa.DictionaryArray:
        """Return a column as a dictionary of its values, or of their texts if Arrow makes none of the type."""
        if name not in self._coded:
            self._coded[name] = _coded(self.array(name), lambda: self.text(name))
        return self._coded[name]

    def written(self, name: str) -> pa.Array:
        """Return a column as text, for text as it is written."""
        if is_text(self.array(name).type):
            return as_text(plain(self.array(name)))
        return plain(self.text(name))

    def reject(self, row: int, column: str, reason: str) -> Reject:
        """Say why a row cannot be used, with the cell that is to blame."""
        return Reject(row, column, shown(self.array(column)[row]), reason)


def shown(cell: pa.Scalar) -> str:
    r"""Return a cell as people see it, whatever it holds; nothing for null.

    Examples
    --------
    >>> shown(pa.scalar(b"a\xff")), shown(pa.scalar(1.5)), shown(pa.scalar(None))
    ('a\ufffd', '1.5', '')
    """
    if pa.types.is_dictionary(cell.type):
        cell = cell.value
    try:
        value = cell.as_py()
    except UnicodeDecodeError:  # a string of a file whose writer did not look
        value = cell.as_buffer().to_pybytes()
    except (ValueError, OverflowError):  # a time that Python does not hold, or in a zone that it does not know
        value = _written(cell)
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return "" if value is None else str(value)


def _written(cell: pa.Scalar) -> str:
    """Return a cell as Arrow writes it; lists of what Python cannot hold as the name of their type."""
    try:
        text: str = as_text(pa.repeat(cell, 1))[0].as_py()
    except DataError:
        return str(cell.type)
    return text


@contextmanager
def reading(column: str) -> Iterator[None]:
    """Say in an error about values which column holds them."""
    try:
        yield
    except DataError as error:
        raise error.at(error.where or f"column {column}") from None


def _not_one_column(name: str, names: list[str]) -> DataError:
    if name in names:
        return DataError("duplicate column names", where=f"column {name}", fix="rename one of them")
    return DataError("the log lacks a column", expected=f"column {name}", fix=did_you_mean(name, names))


def _coded(array: pa.Array, text: Callable[[], pa.Array]) -> pa.DictionaryArray:
    if pa.types.is_dictionary(array.type):
        return array
    try:
        found = array.dictionary_encode()
    except pa.ArrowNotImplementedError:
        found = text().dictionary_encode()
    indices = found.indices.cast(pa.int8()) if len(found.dictionary) < 1 << 7 else found.indices
    return pa.DictionaryArray.from_arrays(indices, found.dictionary)


def _joined(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    if pa.types.is_string(column.type):  # the joined text may exceed what 32-bit offsets can address
        column = column.cast(pa.large_string())
    return column.combine_chunks()
