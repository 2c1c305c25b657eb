"""What every reader yields: a piece of a log as a table, and the rows of it that could not be read."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["FEW_BYTES", "MAX_CHUNK_BYTES", "MAX_CHUNK_ROWS", "Chunk", "Piece", "RejectedRow", "excerpt"]

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
        The beginning of what stands there.
    reason
        Why it cannot be used.
    column
        The one that is to blame, where one is.
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
