"""The identifiers or row numbers of predictions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.data.chunk import Chunk
from fieldwise.data.column_types import common_type
from fieldwise.features.canonical import is_text, plain
from fieldwise.features.columns import Columns

__all__ = ["ROW", "Identifiers", "RowCounter"]

ROW = "row"
"""The column of row numbers, for rows without an identifier."""


class Identifiers:
    """Reads the identifiers of the rows of a log as one type.

    Parameters
    ----------
    name
        The identifier column. If None, rows are numbered over all files, from 1.
    types
        The types of the column in the files (see `kinds.common_type`).

    Attributes
    ----------
    column, kind
        Name and type of the identifiers in the result.
    """

    def __init__(self, name: str | None, types: Sequence[pa.DataType] = ()) -> None:
        self._name = name
        self.column = ROW if name is None else name
        self.kind = pa.int64() if name is None else common_type(name, types)
        self._counter = RowCounter()

    def of(self, chunk: Chunk, accepted: npt.NDArray[np.int64]) -> pa.Array:
        """Return the identifiers of the accepted rows of a chunk; chunks must be passed in order."""
        if self._name is None:
            return pa.array(self._counter.numbers(chunk)[accepted])
        taken = Columns(chunk.table.select([self._name]).take(pa.array(accepted)))
        if pa.types.is_string(self.kind) or is_text(taken.array(self._name).type) != is_text(self.kind):
            return taken.written(self._name).cast(pa.string())
        return plain(taken.array(self._name)).cast(self.kind)


class RowCounter:
    """Numbers the rows of all files consecutively, from 1, including rejected rows.

    Attributes
    ----------
    before
        The rows of the files before that of the last chunk.
    """

    def __init__(self) -> None:
        self._file, self.before, self._last = 0, 0, 0

    def numbers(self, chunk: Chunk) -> npt.NDArray[np.int64]:
        """Return the numbers of the rows of a chunk; the chunks of a file must be passed in order."""
        if chunk.file != self._file:
            self._file, self.before = chunk.file, self.before + self._last
            self._last = 0
        numbers = [*chunk.rows[-1:].tolist(), *(unread.row for unread in chunk.rejects)]
        self._last = max(numbers, default=self._last)
        return self.before + chunk.rows
