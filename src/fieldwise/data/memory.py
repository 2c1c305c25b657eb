"""A table in memory as a log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pyarrow as pa

from fieldwise.data.chunk import MAX_CHUNK_ROWS, Chunk, Piece
from fieldwise.data.log import Log
from fieldwise.data.sources import Source, check_names

__all__ = ["open_table"]

_NAME = "the given rows"


def open_table(table: pa.Table) -> Log:
    """Return the log of the rows of a table.

    Examples
    --------
    >>> log = open_table(pa.table({"user": ["a", "b"], "age": [1, 2]}))
    >>> [chunk.table.to_pydict() for chunk in log.chunks(["age"])]
    [{'age': [1, 2]}]
    """
    source = Source(_NAME, 0, "table", False, table.nbytes, (table.num_rows,))
    check_names(source, table.column_names)
    return Log([source], [_TableReader(table)])


class _TableReader:
    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.columns = tuple(table.column_names)
        self.types = dict(zip(table.column_names, table.schema.types, strict=True))

    def pieces(self, columns: Sequence[str]) -> Iterator[Piece]:
        """Yield the rows, with these columns."""
        for first in range(0, self._table.num_rows, MAX_CHUNK_ROWS):
            part = self._table.slice(first, MAX_CHUNK_ROWS)
            yield Piece(part.num_rows, partial(self._parse, part, tuple(columns), first))

    def _parse(self, part: pa.Table, columns: tuple[str, ...], first: int) -> list[Chunk]:
        rows = np.arange(first + 1, first + 1 + part.num_rows)
        return [Chunk(part.select(list(columns)), _NAME, 0, rows, [])]
