"""From the rows of a block of text to columns of strings: our own kernels where rows are lines of equally many cells
without quotes, Arrow's parser where a block has anything else. Both give the same cells, and every row.

Bytes that are not UTF-8 refuse their row, not the file: cells are parsed as bytes, then checked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from fieldwise.counted import counted
from fieldwise.data.chunk import MAX_CHUNK_ROWS, Chunk, RejectedRow, excerpt
from fieldwise.data.csv_dialect import Dialect
from fieldwise.data.csv_quotes import find_swallowed, num_line_ends, stray_quote
from fieldwise.data.sources import Source
from fieldwise.kernels.cells import cell_ends, column_offsets, copy_cells, find_rows, is_ascii
from fieldwise.kernels.instructions import VECTOR_BYTES

__all__ = ["HEADER_LINE", "CellParser", "RowBlock"]

HEADER_LINE = "a header line among the rows"
"""Why a row is rejected that holds the names of the columns."""

_MAX_REFUSED = 100_000
"""Rows refused in a stretch of blocks without one good row before the file is given up."""
_BOM, _LF = 0xEF, 10
_SHOWN = 60
_ALIGNMENT = 64  # of Arrow's buffers


class RowBlock(NamedTuple):
    """Consecutive rows of a text table, not parsed yet.

    Attributes
    ----------
    number
        Its place in the file, from 0.
    data
        uint8: the bytes of the rows, and `VECTOR_BYTES` or more behind them.
    num_bytes
        Of the rows.
    first_row, num_rows
        The number of the first row, and how many there are.
    first_line
        The number of the first line, counted by line feeds.
    is_plain
        Whether every line is a row without quotes, and none is empty.
    """

    number: int
    data: npt.NDArray[np.uint8]
    num_bytes: int
    first_row: int
    num_rows: int
    is_plain: bool
    first_line: int = 1


class CellParser:
    """Parses the blocks of one file, in any order, in any threads.

    Parameters
    ----------
    source
        The file.
    columns
        Of the file.
    wanted
        Those of them that chunks shall carry, in that order.
    dialect
        How cells are told apart.
    refuse
        Makes the error that says that the file cannot be parsed, from the number of a row and what is wrong.
    broken
        Filled with the blocks that have rows with line ends inside of their cells: how many, and the first line.
    """

    def __init__(
        self,
        source: Source,
        columns: Sequence[str],
        wanted: Sequence[str],
        dialect: Dialect,
        refuse: Callable[[int, object], Exception],
        broken: dict[int, tuple[int, int]],
    ) -> None:
        self._broken = broken
        self._source, self._dialect, self._refuse = source, dialect, refuse
        self._columns, self._wanted = list(columns), list(wanted)
        line_of = {name: line for line, name in enumerate(wanted)}
        self._lines = np.array([line_of.get(name, -1) for name in columns], dtype=np.int64)
        self._barren: dict[int, int] = {}  # blocks without a good row: number of rows
        self._lock = threading.Lock()
        self._of_thread = threading.local()

    def parse(self, block: RowBlock) -> list[Chunk]:
        """Return the rows of a block, in order.

        Raises
        ------
        DataError
            There is no good row in a long stretch of the file.
        """
        arrays = self._plain(block) if block.is_plain else None
        if arrays is not None:
            rows = np.arange(block.first_row, block.first_row + block.num_rows)
            table = pa.Table.from_arrays(arrays, names=self._wanted)
            return [
                self._chunk(table.slice(start, MAX_CHUNK_ROWS), rows[start : start + MAX_CHUNK_ROWS], [])
                for start in range(0, block.num_rows, MAX_CHUNK_ROWS)
            ]
        return self._with_arrow(block)

    def _plain(self, block: RowBlock) -> list[pa.Array] | None:
        """Return the columns of a block; None where it is not as plain as it looked."""
        data, num_bytes, num_rows = block.data, block.num_bytes, block.num_rows
        text = data[:num_bytes]
        if not is_ascii(text) and not _is_utf8(text):
            return None
        ends = self._room_for_ends(num_rows)
        if not cell_ends(data, num_bytes, np.uint8(ord(self._dialect.delimiter)), ends):
            return None
        offsets = np.empty((len(self._wanted), num_rows + 1), dtype=np.int32)
        column_offsets(data, ends, self._lines, offsets)
        spaces = (offsets[:, -1].astype(np.int64) + 8 + _ALIGNMENT - 1) // _ALIGNMENT * _ALIGNMENT
        bases = np.cumsum(spaces) - spaces
        out = np.empty(int(spaces.sum()) + 8, dtype=np.uint8)
        copy_cells(_words(data[: num_bytes + VECTOR_BYTES]), ends, self._lines, offsets, bases, _words(out))
        texts = pa.py_buffer(out)
        return [
            pa.StringArray.from_buffers(num_rows, pa.py_buffer(ends), texts.slice(base, length))
            for ends, base, length in zip(offsets, bases.tolist(), offsets[:, -1].tolist(), strict=True)
        ]

    def _room_for_ends(self, num_rows: int) -> npt.NDArray[np.int32]:
        """Return an array to be used until this thread parses the next block: memory that is new costs more than it."""
        size = num_rows * len(self._columns)
        if len(getattr(self._of_thread, "ends", ())) < size:
            self._of_thread.ends = np.empty(size, dtype=np.int32)
        room: npt.NDArray[np.int32] = self._of_thread.ends[:size].reshape(num_rows, -1)
        return room

    def _with_arrow(self, block: RowBlock) -> list[Chunk]:
        data, num_bytes = block.data, block.num_bytes
        delimiter, quote = self._dialect.delimiter, self._dialect.quote
        rows = np.empty((block.num_rows, 3), dtype=np.int32)
        find_rows(data, num_bytes, np.uint8(ord(delimiter)), np.uint8(ord(quote or "\0")), True, rows)
        fits = rows[:, 2] == len(self._columns)
        odd = self._stray_quotes(block, rows) if quote else {}
        fits[list(odd)] = False
        rejects = [
            RejectedRow(
                block.first_row + int(place),
                excerpt(data[begin:end].tobytes().decode("utf-8", "backslashreplace")),
                odd.get(int(place)) or self._why_other_length(data[begin:end], num_cells),
            )
            for place, (begin, end, num_cells) in zip(np.flatnonzero(~fits), rows[~fits].tolist(), strict=True)
        ]
        numbers = block.first_row + np.flatnonzero(fits)
        if not len(numbers):
            self._note_barren(block)
            nothing = pa.table({name: pa.array([], pa.string()) for name in self._wanted})
            return [self._chunk(nothing, numbers, rejects)]
        text = data[:num_bytes]
        if rejects:
            text = text[rows[0, 0] :][np.repeat(fits, np.diff(rows[:, 0], append=num_bytes))]
        # Arrow passes over a byte order mark at the beginning of what it is given: none begins a block but by chance.
        batch = self._parsed(text if text[0] != _BOM else np.concatenate(([np.uint8(_LF)], text)), block)
        if batch.num_rows != len(numbers):
            raise self._refuse(
                block.first_row, f"{counted(len(numbers), 'row')} told apart, and {batch.num_rows} parsed"
            )
        chunks = []
        for start in range(0, batch.num_rows, MAX_CHUNK_ROWS):
            of_chunk = numbers[start : start + MAX_CHUNK_ROWS]
            is_last = start + MAX_CHUNK_ROWS >= batch.num_rows
            between = [reject for reject in rejects if is_last or reject.row < of_chunk[-1]]
            chunks.append(self._checked(batch.slice(start, MAX_CHUNK_ROWS), of_chunk, between))
            rejects = rejects[len(between) :]
        return chunks

    def _stray_quotes(self, block: RowBlock, rows: npt.NDArray[np.int32]) -> dict[int, str]:
        """Return the rows that hold line ends and are no quoted cells: the reason for which each is rejected.

        Raises
        ------
        StrayQuoteError
            One is many rows.
        """
        text, (delimiter, quote) = block.data[: block.num_bytes], self._dialect
        inside = num_line_ends(text, rows)
        if not inside.any():
            return {}
        found = find_swallowed(text, rows, inside, delimiter, quote, len(self._columns))

        def line_of(place: int) -> int:
            return block.first_line + int(np.count_nonzero(text[: rows[place, 0]] == _LF))

        kept = np.setdiff1d(np.flatnonzero(inside), [row.place for row in found])  # the others are errors or rejects
        if len(kept):
            self._broken[block.number] = len(kept), line_of(int(kept[0]))
        for row in found:
            if row.is_evident:
                begin, end = rows[row.place, :2].tolist()
                line = line_of(row.place)
                beginning = excerpt(text[begin:end].tobytes().decode("utf-8", "backslashreplace"))[:_SHOWN]
                raise stray_quote(
                    f"{self._source.path}, row {block.first_row + row.place} (line {line})",
                    f"{row.what}: {beginning!r}...",
                )
        return {row.place: f"a quote that opens a cell closes inside of it: {row.what}" for row in found}

    def _why_other_length(self, line: npt.NDArray[np.uint8], num_cells: int) -> str:
        why = f"expected {len(self._columns)} cells, got {num_cells}"
        if num_cells != len(self._columns) + 1 or not line.tobytes().rstrip(b"\r\n").endswith(
            self._dialect.delimiter.encode()
        ):
            return why
        return f"{why}: the line ends with a delimiter (remove it, or give the header one, too)"

    def _parsed(self, text: npt.NDArray[np.uint8], block: RowBlock) -> pa.RecordBatch:
        """Return the wanted columns of rows that have the right number of cells, as bytes."""
        try:
            table = pa_csv.read_csv(
                pa.BufferReader(pa.py_buffer(text)),
                read_options=pa_csv.ReadOptions(
                    use_threads=False, block_size=len(text) + 1, column_names=self._columns
                ),
                parse_options=pa_csv.ParseOptions(
                    delimiter=self._dialect.delimiter,
                    quote_char=self._dialect.quote or False,
                    newlines_in_values=bool(self._dialect.quote),
                ),
                convert_options=pa_csv.ConvertOptions(
                    column_types=dict.fromkeys(self._columns, pa.binary()), include_columns=self._wanted
                ),
            )
        except pa.ArrowInvalid as error:
            raise self._refuse(block.first_row, error) from None
        [batch] = table.combine_chunks().to_batches()
        return batch

    def _checked(self, batch: pa.RecordBatch, rows: npt.NDArray[np.int64], rejects: list[RejectedRow]) -> Chunk:
        """Turn bytes into strings, leaving out the rows that are not UTF-8."""
        bad: dict[int, RejectedRow] = {}
        columns: list[pa.Array] = []
        for name, cells in zip(batch.schema.names, batch.columns, strict=True):
            try:
                columns.append(cells.cast(pa.string()))
            except pa.ArrowInvalid:
                columns.append(cells)
                for place, cell in enumerate(cells.to_pylist()):
                    if not _decodes(cell):
                        text = excerpt(cell.decode("utf-8", "backslashreplace"))
                        bad.setdefault(place, RejectedRow(int(rows[place]), text, "the cell is not UTF-8", name))
        table = pa.Table.from_arrays(columns, names=batch.schema.names)
        if bad:
            good = np.ones(len(rows), dtype=np.bool_)
            good[list(bad)] = False
            strings = pa.schema([(name, pa.string()) for name in table.column_names])
            table, rows = table.filter(pa.array(good)).cast(strings), rows[good]
            rejects = sorted([*rejects, *bad.values()])
        return self._chunk(table, rows, rejects)

    def _chunk(self, table: pa.Table, rows: npt.NDArray[np.int64], rejects: list[RejectedRow]) -> Chunk:
        header = _header_lines(table)
        if len(header):
            text = excerpt(self._dialect.delimiter.join(self._wanted))
            found = [RejectedRow(number, text, HEADER_LINE) for number in rows[header].tolist()]
            kept = np.ones(len(rows), dtype=np.bool_)
            kept[header] = False
            table, rows, rejects = table.filter(pa.array(kept)), rows[kept], sorted([*rejects, *found])
        return Chunk(table, self._source.path, self._source.position, rows, rejects)

    def _note_barren(self, block: RowBlock) -> None:
        """Give the file up where the blocks around this one have too many rows and not one good one."""
        with self._lock:
            self._barren[block.number] = block.num_rows
            first = last = block.number
            while first - 1 in self._barren:
                first -= 1
            while last + 1 in self._barren:
                last += 1
            num_rows = sum(self._barren[number] for number in range(first, last + 1))
        if num_rows >= _MAX_REFUSED:
            raise self._refuse(
                block.first_row, f"{num_rows} consecutive rows, none of them of {counted(len(self._columns), 'cell')}"
            )


def _words(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Return bytes as words: word i is bytes i .. i + 7, one unaligned load or store."""
    return np.ndarray((len(data) - 7,), "<u8", data, 0, (1,))


def _header_lines(table: pa.Table) -> npt.NDArray[np.int64]:
    """Return the places of the rows that hold the names of the columns: files with a header were put one after another.

    A single column is not enough to tell: ``city`` may be a value of the column city.
    """
    found = np.zeros(0, dtype=np.int64)
    if table.num_columns < 2:
        return found
    for number, (name, cells) in enumerate(zip(table.column_names, table.columns, strict=True)):
        names = (name, f"\ufeff{name}")  # of a file that was put behind another, with its byte order mark
        if number == 0:
            found = np.flatnonzero(pc.is_in(cells, value_set=pa.array(names, cells.type)).to_numpy())
        else:
            found = found[[cells[int(place)].as_py() in names for place in found]]
        if not len(found):
            break
    return found


def _is_utf8(text: npt.NDArray[np.uint8]) -> bool:
    offsets = pa.py_buffer(np.array([0, len(text)], dtype=np.int64))
    try:
        pa.LargeStringArray.from_buffers(1, offsets, pa.py_buffer(text)).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _decodes(cell: bytes) -> bool:
    try:
        cell.decode()
    except UnicodeDecodeError:
        return False
    return True
