"""CSV and TSV: every cell a string, every row accounted for.

Arrow parses; this module adds what it leaves open.

* Cells are never given a type: what a column means is the schema's business.
* Row numbers. With one thread Arrow numbers the rows it refuses; accepted rows take the numbers in between.
* Bytes that are not UTF-8 refuse their row, not the file: cells are parsed as bytes, then checked.
* A quote that is never closed swallows the rest of a file without a word. A line that no table can accept is appended
  to the stream: if Arrow does not refuse it, it was swallowed too.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pa_csv
from msgspec import Meta

from fieldwise.data.chunk import MAX_CHUNK_BYTES, MAX_CHUNK_ROWS, Chunk, RejectedRow, excerpt
from fieldwise.data.sources import Source, check_names, damaged, open_stream, read_from
from fieldwise.errors import ConfigError, DataError

__all__ = ["CsvOptions", "CsvReader"]

_BLOCK_BYTES = 1 << 22
"""Bytes parsed at a time, which is also the longest row: 4 MB parse as fast as 1 MB, 16 MB a third slower. Wide
rows get up to 8 times as much, because whatever works on chunks pays for every column of every chunk."""
_COLUMNS_PER_BLOCK = 256
_MAX_HEADER_BYTES = 1 << 20
_MAX_REFUSED = 100_000
"""Rows refused in a stretch without one good row before the file is given up."""
_BOM = b"\xef\xbb\xbf"


class CsvOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How CSV files are written, where their names do not tell.

    Attributes
    ----------
    header
        Whether the first line names the columns.
    delimiter
        One character; a tab for ``.tsv``, a comma for all else unless given.
    quote
        The character around cells that hold delimiters or line ends; empty where quotes are plain characters.
    columns
        The names of the columns of files without a header; f0, f1, ... unless given.
    """

    header: bool = True
    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] | None = None
    quote: Annotated[str, Meta(max_length=1)] = '"'
    columns: tuple[str, ...] = ()


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
        Their names, in the file's order.

    Raises
    ------
    DataError
        The header is not UTF-8, names a column twice or does not end; the given names do not fit the first row.
    ConfigError
        Names are given, and a header too.
    """

    def __init__(self, source: Source, options: CsvOptions, chunk_bytes: int = MAX_CHUNK_BYTES) -> None:
        if options.header and options.columns:
            raise ConfigError("a log has a header or given names, not both", where="csv", fix="set header = false")
        self._source = source
        self._quote = options.quote
        self._delimiter = options.delimiter or ("\t" if source.format == "tsv" else ",")
        self._block_bytes = _BLOCK_BYTES
        self.columns: tuple[str, ...] = ()
        first_row, after_first_row = self._first_row()
        if options.header:
            self.columns, self._data_start = first_row, after_first_row
        else:
            self.columns = options.columns or tuple(f"f{i}" for i in range(len(first_row)))
            self._data_start = 0
        if len(self.columns) != len(first_row):
            raise DataError(
                "the given names do not fit the file",
                where=f"{source.path}, row 1",
                expected=f"{len(self.columns)} columns",
                got=f"{len(first_row)} with the delimiter {self._delimiter!r}",
                fix="correct csv.columns or csv.delimiter",
            )
        check_names(source, self.columns)
        times = min(len(self.columns) // _COLUMNS_PER_BLOCK, chunk_bytes // _BLOCK_BYTES, 8)
        self._block_bytes *= max(times, 1)

    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:
        """Yield the rows of the file, with these columns."""
        refused: deque[RejectedRow] = deque()
        num_columns = len(self.columns)

        def refuse(row: pa_csv.InvalidRow) -> str:
            reason = f"expected {num_columns} cells, got {row.actual_columns}"
            refused.append(RejectedRow(row.number, excerpt(row.text), reason))
            return "skip" if len(refused) < _MAX_REFUSED else "error"

        next_row = 1
        sentinel = self._delimiter * num_columns
        with open_stream(self._source) as stream:
            read_from(self._source, stream, self._data_start)
            try:
                for batch in self._open(_WithSentinel(stream, sentinel), columns, refuse):
                    for start in range(0, batch.num_rows, MAX_CHUNK_ROWS):
                        piece = batch.slice(start, MAX_CHUNK_ROWS)
                        rows, rejects = _number(next_row, piece.num_rows, refused)
                        next_row += len(rows) + len(rejects)
                        yield self._checked(piece, rows, rejects)
            except pa.ArrowInvalid as error:
                raise self._unparsable(next_row, error) from None
            except OSError as error:
                raise damaged(self._source, error) from None
        if not refused or refused[-1].text != excerpt(sentinel):
            raise self._unparsable(next_row, "a quote is opened and never closed")
        refused.pop()
        if refused:
            nothing = pa.table({name: pa.array([], pa.string()) for name in columns})
            yield Chunk(nothing, self._source.path, self._source.position, np.empty(0, np.int64), list(refused))

    def _open(self, stream: _WithSentinel, columns: Sequence[str], refuse: object) -> Iterator[pa.RecordBatch]:
        return iter(
            pa_csv.open_csv(
                pa.PythonFile(stream, "r"),
                # One thread: only then are refused rows numbered. It parses 350 MB/s, far more than encoding takes.
                read_options=pa_csv.ReadOptions(
                    use_threads=False, block_size=self._block_bytes, column_names=list(self.columns)
                ),
                parse_options=pa_csv.ParseOptions(
                    delimiter=self._delimiter,
                    quote_char=self._quote or False,
                    newlines_in_values=bool(self._quote),
                    invalid_row_handler=refuse,
                ),
                convert_options=pa_csv.ConvertOptions(
                    column_types=dict.fromkeys(self.columns, pa.binary()), include_columns=list(columns)
                ),
            )
        )

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
                    if not _is_utf8(cell):
                        text = excerpt(cell.decode("utf-8", "backslashreplace"))
                        bad.setdefault(place, RejectedRow(int(rows[place]), text, f"column {name} is not UTF-8", name))
        table = pa.Table.from_arrays(columns, names=batch.schema.names)
        if bad:
            good = np.ones(len(rows), dtype=np.bool_)
            good[list(bad)] = False
            strings = pa.schema([(name, pa.string()) for name in table.column_names])
            table, rows = table.filter(pa.array(good)).cast(strings), rows[good]
            rejects = sorted([*rejects, *bad.values()])
        return Chunk(table, self._source.path, self._source.position, rows, rejects)

    def _first_row(self) -> tuple[tuple[str, ...], int]:
        """Return the cells of the first row and the number of bytes up to its end."""
        with open_stream(self._source) as stream:
            head = read_from(self._source, stream, _MAX_HEADER_BYTES)
        body = head.removeprefix(_BOM).lstrip(b"\r\n")
        start = len(head) - len(body)
        end = num_quotes = 0
        for line in body.splitlines(keepends=True):
            end += len(line)
            num_quotes += line.count(self._quote.encode()) if self._quote else 0
            if num_quotes % 2 == 0:
                break
        if num_quotes % 2 or start + end == _MAX_HEADER_BYTES:
            raise self._unparsable(1, f"a first row that does not end within {_MAX_HEADER_BYTES} bytes")
        quoting = {"quotechar": self._quote} if self._quote else {"quoting": csv.QUOTE_NONE}
        try:
            [cells] = csv.reader([body[:end].decode()], delimiter=self._delimiter, **quoting)
        except UnicodeDecodeError as error:
            raise DataError(
                "the first row is not UTF-8",
                where=self._source.path,
                got=error,
                fix="convert the file, as in: iconv -f latin1 -t utf-8",
            ) from None
        except (csv.Error, ValueError) as error:
            raise self._unparsable(1, error) from None
        return tuple(cells), start + end

    def _unparsable(self, row: int, error: object) -> DataError:
        return DataError(
            "the file cannot be read as a table",
            where=f"{self._source.path}, after row {row - 1}",
            expected=f"rows of {len(self.columns) or 'equally many'} cells, none longer than {self._block_bytes} bytes",
            got=error,
            fix="close the quote, or set csv.quote = '' if quotes are plain characters",
        )


class _WithSentinel:
    """A stream of bytes that ends in a line with one delimiter too many."""

    def __init__(self, stream: pa.NativeFile, sentinel: str) -> None:
        self._stream, self._sentinel = stream, f"\n{sentinel}\n".encode()
        self.closed = False

    def read(self, num_bytes: int) -> bytes:
        data: bytes = self._stream.read(num_bytes)
        if not data:
            data, self._sentinel = self._sentinel, b""
        return data

    def close(self) -> None:
        self.closed = True


def _number(
    first: int, num_accepted: int, refused: deque[RejectedRow]
) -> tuple[npt.NDArray[np.int64], list[RejectedRow]]:
    """Give accepted rows the numbers from `first` on that no refused row has, and return both."""
    end = first + num_accepted
    rejects = []
    while refused and refused[0].row < end:
        rejects.append(refused.popleft())
        end += 1
    rows = np.setdiff1d(np.arange(first, end), [row.row for row in rejects], assume_unique=True)
    return rows, rejects


def _is_utf8(cell: bytes) -> bool:
    try:
        cell.decode()
    except UnicodeDecodeError:
        return False
    return True
