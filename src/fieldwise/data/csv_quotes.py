"""Quotes that do not quote: a cell that begins with one takes all lines up to the next one, and rows are gone.

A search query, a height in inches, a name in inverted commas: where the writer of a file doubles no quotes, one at the
beginning of a cell opens it until the next quote, thousands of lines on. What comes of it may even have the right
number of cells. What gives it away: its lines have the delimiters of rows, and its closing quote stands before more
text. Cells that hold lines by right (texts, in quotes that are closed before a delimiter) have neither. Two stray
quotes a few lines apart may have neither, too: rows whose cells hold line ends are counted, and pointed out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.counted import counted
from fieldwise.errors import DataError

__all__ = [
    "LineEnds",
    "StrayQuoteError",
    "Swallowed",
    "find_swallowed",
    "line_end_remarks",
    "num_line_ends",
    "stray_quote",
]

_ROW_LIKE = 0.9
"""Of the lines of a row: the share that has the delimiters of a row where it was made by a stray quote."""
_MANY_DELIMITERS = 12
_MANY_TABS = 6
"""In lines that all look like rows, before a cell with delimiters and line ends in it is no text by chance."""
_FEW_LINES = 3
_MANY_LINES = 10

_LF, _CR = 10, 13


class StrayQuoteError(DataError):
    """A quote that opens a cell is not closed where the cell ends."""


def stray_quote(where: str, got: str) -> StrayQuoteError:
    """Return the error that says what to do about a quote."""
    return StrayQuoteError(
        "a quote is opened and not closed where the cell ends",
        where=where,
        expected="cells that begin with a quote to end with one, quotes inside them doubled",
        got=got,
        fix='set csv.quote = "" if quotes are plain characters in this log (init: --quote none), or repair the line',
    )


class LineEnds(NamedTuple):
    """How many rows of a file have line ends inside of their cells, and the line where the first begins."""

    rows: int
    file: str
    line: int


def line_end_remarks(found: Iterable[LineEnds]) -> list[str]:
    """Return what to say of such rows: a sentence, or nothing where there are none.

    Examples
    --------
    >>> line_end_remarks([LineEnds(1, "a.csv", 7)])
    ['1 row has line ends inside its cells, in a.csv, line 7; set csv.quote = "" if quotes are plain characters']
    """
    found = list(found)
    if not found:
        return []
    rows = sum(each.rows for each in found)
    have, first = (
        ("1 row has line ends inside its cells, in", "")
        if rows == 1
        else (f"{rows:,} rows have line ends inside their cells,", " the first in")
    )
    where = f"{found[0].file}, line {found[0].line:,}"
    return [f'{have}{first} {where}; set csv.quote = "" if quotes are plain characters']


class Swallowed(NamedTuple):
    """A row whose cells hold line ends, and are not what a quoted cell looks like.

    Attributes
    ----------
    place
        Of the row in its block.
    num_lines
        Line ends inside of it.
    looks_like_rows
        Whether its lines have the delimiters of rows.
    """

    place: int
    num_lines: int
    looks_like_rows: bool

    @property
    def is_evident(self) -> bool:
        """Whether rows were lost for sure."""
        return self.looks_like_rows or self.num_lines >= _MANY_LINES

    @property
    def what(self) -> str:
        """In words."""
        ends = counted(self.num_lines, "line end")
        looks = ", its lines looking like rows of the table" if self.looks_like_rows else ""
        return f"a cell with {ends}{looks}"


def num_line_ends(text: npt.NDArray[np.uint8], rows: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Return the number of line ends inside of each row, (R,); arguments as in `find_swallowed`."""
    line_ends = _line_ends(text)
    if len(line_ends) <= len(rows):  # without empty lines, every row has one
        return np.zeros(len(rows), dtype=np.int64)
    return np.searchsorted(line_ends, rows[:, 1]) - np.searchsorted(line_ends, rows[:, 0])


def find_swallowed(
    text: npt.NDArray[np.uint8],
    rows: npt.NDArray[np.int32],
    inside: npt.NDArray[np.int64],
    delimiter: str,
    quote: str,
    num_columns: int,
) -> list[Swallowed]:
    """Find the rows of a block that a stray quote has made.

    Parameters
    ----------
    text
        The bytes of the block.
    rows
        (R, 3): beginning and end of each row, and its number of cells.
    inside
        See `num_line_ends`.
    delimiter, quote
        One ASCII character each.
    num_columns
        Of the file.
    """
    cells = re.compile(_CELLS.format(quote=re.escape(quote), delimiter=re.escape(delimiter)).encode(), re.DOTALL)
    found = []
    for place in np.flatnonzero(inside).tolist():
        row = text[rows[place, 0] : rows[place, 1]].tobytes()
        num_lines = int(inside[place])
        runs_on = any(
            (b"\n" in cell.group(1) or b"\r" in cell.group(1)) and cell.group(2).strip(b" ")
            for cell in cells.finditer(row)
            if cell.group(1)
        )
        counts = [line.count(delimiter.encode()) for line in row.splitlines()]
        row_like = sum(count == num_columns - 1 for count in counts) >= _ROW_LIKE * len(counts) and num_columns > 1
        enough = num_lines * (num_columns - 1) >= (_MANY_TABS if delimiter == "\t" else _MANY_DELIMITERS)
        if runs_on or (row_like and enough and num_lines >= _FEW_LINES):
            found.append(Swallowed(place, num_lines, row_like))
    return found


_CELLS = "({quote}[^{quote}]*(?:{quote}{quote}[^{quote}]*)*{quote})?([^{delimiter}]*)(?:{delimiter}|$)"


def _line_ends(text: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return where lines end: at LF, and at CR without one behind it."""
    ends = text == _LF
    returns = text == _CR
    if returns.any():
        returns[:-1] &= ~ends[1:]
        ends |= returns
    return np.flatnonzero(ends)
