r"""A log: many files of one table, read as a stream of chunks.

>>> import tempfile
>>> from pathlib import Path
>>> with tempfile.TemporaryDirectory() as folder:
...     _ = Path(folder, "clicks.csv").write_text("click,ad\n1,a\n0,b\n")
...     log = open_log(folder)
...     print(log.columns, [chunk.table.to_pydict() for chunk in log.chunks(["ad"])])
('click', 'ad') [{'ad': ['a', 'b']}]
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec
import numpy as np
import pyarrow as pa

from fieldwise.data.batches import prefetch
from fieldwise.data.chunk import MAX_CHUNK_BYTES, MAX_CHUNK_ROWS, Chunk, Piece, Reader, naming
from fieldwise.data.csv import CsvReader
from fieldwise.data.csv_dialect import CsvOptions
from fieldwise.data.csv_quotes import LineEnds, line_end_remarks
from fieldwise.data.find_files import find_files, for_each, repeat_remarks
from fieldwise.data.libsvm import LibffmReader, LibsvmReader
from fieldwise.data.log_columns import LogColumns, columns_of_files
from fieldwise.data.parquet import ParquetReader
from fieldwise.data.partitions import keys_of, pieces_with_keys
from fieldwise.data.read_report import ReadReport, RejectTally
from fieldwise.data.sources import Source, check_names, rows_per_byte, version_tag_of
from fieldwise.errors import DataError
from fieldwise.features.served import as_served
from fieldwise.kernels.threads import map_in_order

if TYPE_CHECKING:
    from fieldwise.features.encoder import Encoded, Encoder

__all__ = ["Log", "encode_log", "open_log", "open_table"]

Result = TypeVar("Result")
_GIVEN = "the given rows"


def open_log(
    paths: Sequence[str | Path] | str | Path,
    *,
    format: str | None = None,
    csv: CsvOptions | None = None,
    chunk_bytes: int = MAX_CHUNK_BYTES,
    usual_format: str | None = None,
    allow_empty: bool = False,
) -> Log:
    """Open a log.

    Parameters
    ----------
    paths
        Files, globs and folders (see `sources.find_files`), on this machine or in a store (`io.stores`).
    format
        ``csv``, ``tsv``, ``parquet``, ``libsvm`` or ``libffm``; by default inferred from the names of the files.
    csv
        The dialect of CSV and TSV files.
    chunk_bytes
        Approximate size of a chunk where rows are wide; text is never read in pieces of less than 4 MB.
    usual_format, allow_empty
        See `sources.find_files`. A log of empty files alone has no columns and no rows.

    Raises
    ------
    DataError
        A file is missing, empty, damaged or not what its name says; the files have no column in common.
    """
    options = csv or CsvOptions()
    sources, left_out, repeated = find_files(
        paths, format, usual_format=usual_format, allow_empty=allow_empty, encoding=options.encoding
    )
    readers = for_each(lambda source: _reader(source, options, chunk_bytes), sources, [it.path for it in sources])
    log = Log(sources, readers, left_out)
    log.repeated = repeated
    return log


def open_table(table: pa.Table) -> Log:
    """Return the log of the rows of a table.

    Examples
    --------
    >>> log = open_table(pa.table({"user": ["a", "b"], "age": [1, 2]}))
    >>> [chunk.table.to_pydict() for chunk in log.chunks(["age"])]
    [{'age': [1, 2]}]
    """
    source = Source(_GIVEN, 0, "table", False, table.nbytes, (table.num_rows,))
    check_names(source, table.column_names)
    return Log([source], [_TableReader(table)])


class _TableReader:
    """The rows of a table in memory."""

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
        return [Chunk(part.select(list(columns)), _GIVEN, 0, rows, [])]


def _reader(source: Source, csv: CsvOptions, chunk_bytes: int) -> Reader:
    match source.format:
        case "parquet":
            return ParquetReader(source, chunk_bytes)
        case "libsvm":
            return LibsvmReader(source)
        case "libffm":
            return LibffmReader(source)
        case _:
            return CsvReader(source, csv, chunk_bytes)


class Log:
    """The rows of many files; made by `open_log`.

    Attributes
    ----------
    files
        Their paths, in the order they are read.
    columns
        The names of the columns that all files have, in the order of the first; those that folders name come last
        (`data.partitions`). Files of libffm hold the fields that occur in them, so theirs are put together.
    layout
        The columns of each file, and their types.
    from_folders
        The columns that, in some file at least, the name of a folder gives.
    num_bytes
        The size of all files on disk.
    version_tags
        Of each file, what changes when it does.
    left_out
        Files of the folders and globs that do not belong to the log: the reason of each.
    repeated
        Files that several of the paths lead to; they are read once.
    shown
        What files are called in messages, where not by their paths: copies of what came through a pipe.

    Of a `part`, files and version tags are those of the whole log.
    """

    def __init__(
        self, sources: Sequence[Source], readers: Sequence[Reader], left_out: Mapping[str, str] | None = None
    ) -> None:
        self._sources, self._readers = sources, readers
        self._enough: int | None = None
        self.files = tuple(source.path for source in sources)
        self.num_bytes = sum(source.num_bytes for source in sources)
        self.version_tags = tuple(source.version_tag for source in sources)
        self.left_out: dict[str, str] = dict(left_out or {})
        self.repeated: tuple[str, ...] = ()
        self.shown: dict[str, str] = {}
        self._keys = {source.position: keys_of(source.path) for source in sources}
        self.layout = LogColumns(columns_of_files(sources, readers, self._keys))
        self.columns = self.layout.common
        self.from_folders = frozenset(
            name
            for keys, reader in zip(self._keys.values(), readers, strict=True)
            for name in keys.keys() - set(reader.columns)
        )

    @property
    def delimiter(self) -> str | None:
        """The delimiter of CSV or TSV files that is not the usual one, where all have it; None else."""
        found = {
            reader.delimiter if isinstance(reader, CsvReader) and reader.is_unusual else None
            for reader in self._readers
        }
        return found.pop() if len(found) == 1 else None

    @property
    def line_ends(self) -> list[LineEnds]:
        """Of each file that has some: rows with line ends inside of their cells, of what was parsed so far."""
        found = [reader.line_ends for reader in self._readers if isinstance(reader, CsvReader)]
        return [each._replace(file=self.shown.get(each.file, each.file)) for each in found if each is not None]

    @property
    def formats(self) -> frozenset[str]:
        """The formats of the files."""
        return frozenset(source.format for source in self._sources)

    @property
    def remarks(self) -> list[str]:
        """What should be known of how the files were read, of what was parsed so far."""
        return [*repeat_remarks(self.repeated), *line_end_remarks(self.line_ends)]

    @property
    def first_files(self) -> str | None:
        """The first three files, as whoever named the log calls them; None of none."""
        return ", ".join(self.shown.get(path, path) for path in self.files[:3]) or None

    def report(
        self, tally: RejectTally, num_used: int, remarks: Sequence[str] = (), rejects: str | None = None
    ) -> ReadReport:
        """Return what of the log was read, and what was not used."""
        return tally.report(
            rows_read=num_used + tally.num_rows,
            files=len(self.files),
            files_left_out=self.left_out,
            remarks=[*self.remarks, *remarks],
            rejects=rejects,
        )

    def as_read(self, csv: CsvOptions) -> CsvOptions:
        """Return the options with what was recognised in all files: a header, and a delimiter that all have."""
        found = {(it.delimiter, it.is_unusual) for it in self._readers if isinstance(it, CsvReader)}
        if found:
            csv = msgspec.structs.replace(csv, header=csv.header is not False)
        if csv.delimiter is not None or not csv.recognise or len(found) != 1:
            return csv
        [(delimiter, is_unusual)] = found
        return msgspec.structs.replace(csv, delimiter=delimiter if is_unusual else None, recognise=False)

    def chunks(self, columns: Sequence[str] | None = None) -> Iterator[Chunk]:
        """Yield all rows, file by file, with the columns asked for (one or more; all unless given) in that order.

        Raises
        ------
        DataError
            The log has no such column, or a file turns out to be damaged.
        """
        return (chunk for piece in self.pieces(columns) for chunk in piece.parse())

    def map(self, function: Callable[[Chunk], Result], columns: Sequence[str] | None = None) -> Iterator[Result]:
        """Yield what `function` makes of each chunk, in order: pieces are read ahead, parsed and worked on by threads.

        Raises
        ------
        DataError
            The log has no such column, or a file turns out to be damaged.
        """

        def work(piece: Piece) -> list[Result]:
            return [function(self._under_shown_name(chunk)) for chunk in piece.parse()]

        with prefetch(self.pieces(columns), depth=1) as pieces:
            for of_piece in map_in_order(work, pieces):
                yield from of_piece

    def _under_shown_name(self, chunk: Chunk) -> Chunk:
        return chunk._replace(path=self.shown[chunk.path]) if chunk.path in self.shown else chunk

    def pieces(self, columns: Sequence[str] | None = None) -> Iterator[Piece]:
        """Yield what `chunks` does in pieces that are still to be parsed, which many threads can do.

        Raises
        ------
        DataError
            The log has no such column, or a file turns out to be damaged.
        """
        wanted = self.columns if columns is None else tuple(columns)
        if self._sources:
            self.layout.require(wanted)
        return self._stream(wanted)

    def _stream(self, columns: Sequence[str]) -> Iterator[Piece]:
        num_rows = 0
        for source, reader in zip(self._sources, self._readers, strict=True):
            # A look at the first rows does not judge columns that nobody may want.
            for piece in pieces_with_keys(reader, columns, self._keys[source.position], strict=self._enough is None):
                yield piece
                num_rows += piece.num_rows
                if self._enough is not None and num_rows >= self._enough:
                    return

    def head(self, num_rows: int) -> Log:
        """Return the log of at least the first `num_rows` rows: whole pieces, as they are read."""
        log = copy.copy(self)
        log._enough = num_rows
        log._readers = [
            reader.by_chunk(num_rows) if isinstance(reader, ParquetReader) else reader for reader in self._readers
        ]
        return log

    @property
    def positions(self) -> tuple[int, ...]:
        """The number of each file, as its chunks have it in `Chunk.file`."""
        return tuple(source.position for source in self._sources)

    def only(self, number: int) -> Log:
        """Return the log of one of the files, by its place among `files`."""
        return self._of([number])

    def part(self, number: int, count: int) -> Log:
        """Return part `number` of `count` of the files, in order; the parts have about as many bytes each."""
        ends = np.cumsum([source.num_bytes for source in self._sources])
        middles = ends - np.array([source.num_bytes for source in self._sources]) / 2
        of_part = np.minimum(middles * count // max(ends[-1], 1), count - 1).astype(int)
        chosen = [at for at, own in enumerate(of_part.tolist()) if own == number]
        return self._of(chosen)

    def _of(self, chosen: Sequence[int]) -> Log:
        log = copy.copy(self)
        log._sources = [self._sources[at] for at in chosen]
        log._readers = [self._readers[at] for at in chosen]
        log.num_bytes = sum(source.num_bytes for source in log._sources)
        return log

    def refuse_change(self) -> None:
        """Raise DataError if a file has changed since the log was opened."""
        for path, before, now in zip(
            self.files, self.version_tags, for_each(version_tag_of, self.files, self.files), strict=True
        ):
            if before != now:
                raise DataError(
                    "the file changed while the log was read",
                    where=path,
                    expected=", ".join(map(str, before)),
                    got=", ".join(map(str, now)),
                    fix="run the same command again when the log is written",
                )

    def types_of(self, column: str) -> list[pa.DataType]:
        """Return the types that a column has in the files, each once; text for files of text."""
        return list(dict.fromkeys(file.types.get(column, pa.string()) for file in self.layout.files))

    def count_rows(self) -> tuple[int, bool]:
        """Return the number of rows, and whether it is exact (Parquet) or estimated from the first lines (text)."""
        exact = [reader.num_rows for reader in self._readers if isinstance(reader, ParquetReader)]
        texts = [
            source
            for source, reader in zip(self._sources, self._readers, strict=True)
            if not isinstance(reader, ParquetReader)
        ]
        num_rows = 0.0
        for of_kind in {(source.format, source.gzipped): source for source in reversed(texts)}.values():
            alike = (of_kind.format, of_kind.gzipped)
            num_bytes = sum(source.num_bytes for source in texts if (source.format, source.gzipped) == alike)
            num_rows += num_bytes * rows_per_byte(of_kind)
        return sum(exact) + round(num_rows), not texts


def encode_log(
    log: Log, encoder: Encoder, *, labelled: bool, extra: Sequence[str] = (), served: bool = False
) -> Iterator[tuple[Chunk, Encoded]]:
    """Yield the chunks of a log and what the encoder makes of them, in order; parsed and encoded by threads.

    Parameters
    ----------
    log, encoder
        Raw rows, and what encodes them.
    labelled
        Whether label, weight and group are read as well.
    extra
        More columns that the chunks shall carry.
    served
        Whether columns with a fixed value when a model answers have it (`features.served`).
    """
    schema = encoder.schema
    fixed = schema.served if served else {}
    of_label = (*schema.label_columns, schema.weight, schema.group) if labelled else ()
    columns = dict.fromkeys(
        [
            *(name for name in schema.columns if name not in fixed),
            *(name for name in of_label if name is not None),
            *extra,
        ]
    )

    def encode(chunk: Chunk) -> tuple[Chunk, Encoded]:
        with naming(chunk.path):
            return chunk, encoder.transform(as_served(chunk.table, schema) if fixed else chunk.table, labelled=labelled)

    return log.map(encode, list(columns))
