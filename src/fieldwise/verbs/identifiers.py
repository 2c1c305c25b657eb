"""What stands beside each probability: the identifier of its row, or its number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.data.chunk import Chunk
from fieldwise.errors import DataError
from fieldwise.features.canonical import as_text, is_text, plain
from fieldwise.features.columns import Columns

__all__ = ["ROW", "Identifiers", "RowCounter", "common_type"]

ROW = "row"
"""The column of row numbers, for rows without an identifier."""


class Identifiers:
    """The identifiers of a log's rows, all of one type.

    Parameters
    ----------
    name
        The column that holds them, if any does. Without it rows are numbered over all files, from 1 on.
    types
        What the files make of the column (see `common_type`).

    Attributes
    ----------
    column, kind
        Of the result.
    """

    def __init__(self, name: str | None, types: Sequence[pa.DataType] = ()) -> None:
        self._name = name
        self.column = ROW if name is None else name
        self.kind = pa.int64() if name is None else common_type(name, types)
        self._counter = RowCounter()

    def of(self, chunk: Chunk, accepted: npt.NDArray[np.int64]) -> pa.Array:
        """Return the identifiers of those rows of a chunk that are `accepted`; the next chunk comes next."""
        if self._name is None:
            return pa.array(self._counter.numbers(chunk)[accepted])
        taken = Columns(chunk.table.select([self._name]).take(pa.array(accepted)))
        if pa.types.is_string(self.kind) or is_text(taken.array(self._name).type) != is_text(self.kind):
            return taken.written(self._name).cast(pa.string())
        return plain(taken.array(self._name)).cast(self.kind)


def common_type(name: str, types: Sequence[pa.DataType]) -> pa.DataType:
    """Return the type that holds the identifiers of files that do not agree on it, without loss.

    Integers become 64 bits wide; what is of different kinds becomes text, in the spelling that the features have.

    Raises
    ------
    DataError
        Lists and structs identify nothing.

    Examples
    --------
    >>> common_type("id", [pa.int32(), pa.int64()]), common_type("id", [pa.int64(), pa.uint64()])
    (DataType(int64), DataType(string))
    >>> common_type("id", [pa.dictionary(pa.int8(), pa.large_string())])
    DataType(string)
    """
    found = {kind.value_type if pa.types.is_dictionary(kind) else kind for kind in types} - {pa.null()}
    for kind in found:
        if not is_text(kind):
            try:
                as_text(pa.array([], kind))
            except DataError as error:
                raise DataError(
                    "the column cannot identify rows", where=f"column {name}", expected=error.expected, got=kind
                ) from None
    if len(found) == 1 and not any(map(_is_string, found)):
        return found.pop()
    if found and all(pa.types.is_integer(kind) and kind != pa.uint64() for kind in found):
        return pa.int64()
    if found and all(pa.types.is_unsigned_integer(kind) for kind in found):
        return pa.uint64()
    return pa.string()


def _is_string(kind: pa.DataType) -> bool:
    return bool(pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


class RowCounter:
    """Numbers the rows of all files in one line, from 1 on; those that could not be read count too."""

    def __init__(self) -> None:
        self._file, self._before, self._last = 0, 0, 0

    def numbers(self, chunk: Chunk) -> npt.NDArray[np.int64]:
        """Return the numbers of a chunk's rows; its file's chunks come in order."""
        if chunk.file != self._file:
            self._file, self._before = chunk.file, self._before + self._last
            self._last = 0
        numbers = [*chunk.rows[-1:].tolist(), *(unread.row for unread in chunk.rejects)]
        self._last = max(numbers, default=self._last)
        return self._before + chunk.rows
