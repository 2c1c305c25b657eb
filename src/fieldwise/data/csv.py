"""CSV and TSV: every cell a string, every row accounted for.

Cells are never given a type: what a column means is the schema's business. `csv_blocks` cuts a file into rows,
`csv_cells` makes columns of them; here is what concerns the file as a whole: how it is written, and its first row.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated

import msgspec
from msgspec import Meta

from fieldwise.data.chunk import MAX_CHUNK_BYTES, Piece
from fieldwise.data.csv_blocks import Dialect, cut
from fieldwise.data.csv_cells import CellParser
from fieldwise.data.dialect import preamble, recognised, refuse_data_as_names
from fieldwise.data.sources import Source, check_names, damaged, open_stream, read_from
from fieldwise.data.stray_quotes import LineEnds, stray_quote
from fieldwise.errors import ConfigError, DataError

__all__ = ["CsvOptions", "CsvReader"]

_BLOCK_BYTES = 1 << 22
"""Bytes parsed at a time, which is also the longest row. Wide rows get up to 8 times as much, because whatever works on
chunks pays for every column of every chunk."""
_COLUMNS_PER_BLOCK = 256
_MAX_HEADER_BYTES = 1 << 20
_SNIFFED_BYTES = 1 << 16


class CsvOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How CSV files are written, where their names do not tell.

    Attributes
    ----------
    header
        Whether the first line names the columns. Unless given it has to, and is refused where it looks like data.
    delimiter
        One character; a tab for ``.tsv``, a comma for all else unless given, or what the first lines have in its place
        (`data.dialect`).
    recognise
        Whether a delimiter that is not given is told from the first lines. A saved model does not: what was recognised
        in its training log is its `delimiter`, and its first lines are a `header` or not, so that later files are read
        alike.
    quote
        The character around cells that hold delimiters or line ends; empty where quotes are plain characters.
    columns
        The names of the columns of files without a header; f0, f1, ... unless given.
    encoding
        Of files without a byte order mark, which tells it: ``latin-1``, ``cp1252``, ``utf-16-le``, ...; UTF-8 unless
        given.
    """

    header: bool | None = None
    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] | None = None
    recognise: bool = True
    quote: Annotated[str, Meta(max_length=1)] = '"'
    columns: tuple[str, ...] = ()
    encoding: str | None = None


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
    delimiter, is_unusual
        What stands between its cells, and whether the file's name says otherwise.

    Raises
    ------
    DataError
        The header is not UTF-8, names a column twice or does not end; the given names do not fit the first row.
    ConfigError
        Names are given, and a header too; delimiter or quote cannot be used.
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
                expected="two different ASCII characters that are no line ends",
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
                expected=f"{len(self.columns)} columns",
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
