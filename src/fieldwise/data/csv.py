"""CSV and TSV: every cell a string, every row accounted for.

Cells are never given a type: what a column means is the schema's business. Here is what concerns the file as a whole:
its first row, and blocks that end where a row does. One thread looks over the bytes (29 GB/s where nothing is quoted,
1 GB/s else), so that `csv_cells` can make columns of the blocks in any order, in many threads, and every row still has
its number.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import pyarrow as pa

from fieldwise.counted import counted
from fieldwise.data.chunk import MAX_CHUNK_BYTES, Piece
from fieldwise.data.csv_cells import CellParser, RowBlock
from fieldwise.data.csv_dialect import CsvOptions, Dialect, preamble, recognised, refuse_data_as_names
from fieldwise.data.csv_quotes import LineEnds, stray_quote
from fieldwise.data.sources import Source, check_names, damaged, open_stream, read_from
from fieldwise.errors import ConfigError, DataError
from fieldwise.kernels.cells import count_lines, find_rows
from fieldwise.kernels.instructions import VECTOR_BYTES

__all__ = ["CsvReader", "cut"]

_LF = 10
_NO_ROWS = np.empty((0, 3), dtype=np.int32)

_BLOCK_BYTES = 1 << 22
"""Bytes parsed at a time, which is also the longest row. Wide rows get up to 8 times as much, because whatever works on
chunks pays for every column of every chunk."""
_COLUMNS_PER_BLOCK = 256
_MAX_HEADER_BYTES = 1 << 20
_SNIFFED_BYTES = 1 << 16


class CsvReader:
    """One CSV or TSV file.

    Parameters
    ----------
    source
        The file.
    options
        How it is written.

    Attributes
    ----------
    columns
        The names of its columns, in the file's order.
    delimiter, is_unusual
        The character between cells, and whether it differs from the usual one for the file's name.

    Raises
    ------
    DataError
        The header is not UTF-8, has a duplicate name or does not end; or the given names do not fit the first row.
    ConfigError
        Both names and a header are given, or the delimiter or quote is invalid.
    """

    def __init__(self, source: Source, options: CsvOptions, chunk_bytes: int = MAX_CHUNK_BYTES) -> None:
        if options.header is not False and options.columns:
            raise ConfigError("a log has a header or given names, not both", where="csv", fix="set header = false")
        self._source = source
        delimiter = options.delimiter or self._look(options)
        self.delimiter = delimiter
        self.is_unusual = delimiter != _usual_delimiter(source)
        self._dialect = Dialect(delimiter, options.quote)
        if not self._dialect.is_usable:
            raise ConfigError(
                "a file cannot be read with this delimiter and this quote",
                where="csv",
                expected="two different ASCII characters other than line ends",
                got=f"{delimiter!r} and {options.quote!r}",
            )
        self._block_bytes = _BLOCK_BYTES
        self._broken: dict[int, tuple[int, int]] = {}  # a block that is parsed again counts once
        self.columns: tuple[str, ...] = ()
        first_row, start, after_first_row = self._first_row()
        if options.header is None:
            refuse_data_as_names(first_row, source.path)
        if options.header is not False:
            self.columns, self._data_start = first_row, after_first_row
            self._first_line += max(self._header_lines, 1)
        else:
            self.columns = options.columns or tuple(f"f{i}" for i in range(len(first_row)))
            self._data_start = start
        if len(self.columns) != len(first_row):
            raise DataError(
                "the given names do not fit the file",
                where=f"{source.path}, row 1",
                expected=counted(len(self.columns), "column"),
                got=f"{len(first_row)} with the delimiter {self._dialect.delimiter!r}",
                fix="correct csv.columns or csv.delimiter",
            )
        check_names(source, self.columns)
        times = min(len(self.columns) // _COLUMNS_PER_BLOCK, chunk_bytes // _BLOCK_BYTES, 8)
        self._block_bytes *= max(times, 1)

    def pieces(self, columns: Sequence[str]) -> Iterator[Piece]:
        """Yield the rows of the file, with these columns, in pieces that any thread may parse."""
        parser = CellParser(self._source, self.columns, columns, self._dialect, self._unparsable, self._broken)
        with open_stream(self._source) as stream:
            read_from(self._source, stream, self._data_start)
            try:
                for block in cut(
                    stream, self._dialect, self._block_bytes, self._unparsable, self._source.path, self._first_line
                ):
                    yield Piece(block.num_rows, partial(parser.parse, block))
            except (OSError, UnicodeError) as error:
                raise damaged(self._source, error) from None

    @property
    def line_ends(self) -> LineEnds | None:
        """Rows with line ends inside of their cells, of what was parsed so far; None where there are none."""
        if not self._broken:
            return None
        rows = sum(rows for rows, _ in self._broken.values())
        return LineEnds(rows, self._source.path, min(line for _, line in self._broken.values()))

    def _look(self, options: CsvOptions) -> str:
        """Return the delimiter that the first lines have."""
        with open_stream(self._source) as stream:
            head = read_from(self._source, stream, _SNIFFED_BYTES)
        body = head.lstrip(b"\r\n")
        before = preamble(body)
        if before.delimiter is not None:
            return before.delimiter
        if not options.recognise:
            return _usual_delimiter(self._source)
        return recognised(body[before.num_bytes :], _usual_delimiter(self._source), options.quote, self._source.path)

    def _first_row(self) -> tuple[tuple[str, ...], int, int]:
        """Return the cells of the first row, and the numbers of bytes up to its beginning and up to its end."""
        with open_stream(self._source) as stream:
            head = read_from(self._source, stream, _MAX_HEADER_BYTES)
        body = head.lstrip(b"\r\n")
        body = body[preamble(body[:_SNIFFED_BYTES]).num_bytes :].lstrip(b"\r\n")
        start = len(head) - len(body)
        self._first_line = 1 + head[:start].count(b"\n")
        end = num_quotes = 0
        for line in body.splitlines(keepends=True):
            end += len(line)
            num_quotes += line.count(self._dialect.quote.encode()) if self._dialect.quote else 0
            if num_quotes % 2 == 0:
                break
        if num_quotes % 2 or start + end == _MAX_HEADER_BYTES:
            got = f"a first row that does not end within {_MAX_HEADER_BYTES:,} bytes"
            raise stray_quote(f"{self._source.path}, line 1", got) if num_quotes % 2 else self._unparsable(1, got)
        quoting = {"quotechar": self._dialect.quote} if self._dialect.quote else {"quoting": csv.QUOTE_NONE}
        try:
            [cells] = csv.reader([body[:end].decode()], delimiter=self._dialect.delimiter, **quoting)
        except UnicodeDecodeError as error:
            raise DataError(
                "the first row is not UTF-8",
                where=f"{self._source.path}, line {self._first_line}",
                got=f"byte {start + error.start:,} is {error.object[error.start]:02x} (hexadecimal)",
                fix='set csv.encoding in [data] (init: --encoding), as in csv.encoding = "latin-1"',
            ) from None
        except (csv.Error, ValueError) as error:
            raise self._unparsable(1, error) from None
        if not cells:
            raise self._unparsable(1, "no row that is not empty")
        self._header_lines = body[:end].count(b"\n")
        return tuple(cells), start, start + end

    def _unparsable(self, row: int, error: object) -> DataError:
        return DataError(
            "the file cannot be read as a table",
            where=f"{self._source.path}, after row {row - 1}",
            expected=f"rows of {len(self.columns) or 'equally many'} cells, none longer than {self._block_bytes} bytes",
            got=error,
            fix='write one row a line, or set csv.quote = "" if quotes are plain characters',
        )


def _usual_delimiter(source: Source) -> str:
    return "\t" if source.format == "tsv" else ","


def cut(
    stream: pa.NativeFile,
    dialect: Dialect,
    block_bytes: int,
    refuse: Callable[[int, str], Exception],
    name: str,
    first_line: int = 1,
) -> Iterator[RowBlock]:
    """Cut a stream of bytes into blocks that end where a row does.

    Parameters
    ----------
    stream
        The bytes of a file, from the beginning of a row.
    dialect
        Delimiter and quote, one byte each.
    block_bytes
        The largest size of a block, and so of a row.
    refuse
        ``refuse(row, problem)`` returns the error to raise where a row does not end.
    name
        The file, as messages name it.
    first_line
        The number of the line that the stream begins with.
    """
    delimiter, quote = np.uint8(ord(dialect.delimiter)), np.uint8(ord(dialect.quote or "\0"))
    number, next_row = 0, 1
    rest = np.empty(0, dtype=np.uint8)
    ended = False
    while not ended:
        data = np.empty(block_bytes + 1 + VECTOR_BYTES, dtype=np.uint8)
        data[: len(rest)] = rest
        num_bytes = len(rest) + _fill(stream, data[len(rest) : block_bytes].data)
        ended = num_bytes < block_bytes
        if ended and num_bytes and data[num_bytes - 1] != _LF:
            data[num_bytes] = _LF
            num_bytes += 1
        num_lines, num_empty, end, is_plain = count_lines(data, num_bytes, quote)
        num_rows, is_open = num_lines - num_empty, False
        if not is_plain:
            num_rows, end, is_open = find_rows(data, num_bytes, delimiter, quote, False, _NO_ROWS)
            # Lines that end with carriage returns are plain too, as long as nothing is quoted.
            is_plain = not quote or not (data[:end] == quote).any()
        if ended and is_open:
            lines_before = first_line + int(np.count_nonzero(data[:end] == _LF))
            raise stray_quote(
                f"{name}, row {next_row + num_rows} (line {lines_before})", "a quote that is never closed"
            )
        if not end and num_bytes:
            if is_open:
                raise stray_quote(
                    f"{name}, row {next_row} (line {first_line})", f"no closing quote within {block_bytes:,} bytes"
                )
            raise refuse(next_row, "a row that does not end")
        if num_rows:
            yield RowBlock(number, data, end, next_row, num_rows, bool(is_plain and not num_empty), first_line)
        first_line += num_lines - int(np.count_nonzero(data[end:num_bytes] == _LF))
        number, next_row, rest = number + 1, next_row + num_rows, data[end:num_bytes]


def _fill(stream: pa.NativeFile, room: memoryview) -> int:
    """Read until there is no more room, or no more to read; return the number of bytes."""
    done = 0
    while done < len(room) and (num := stream.readinto(room[done:])):
        done += num
    return done
