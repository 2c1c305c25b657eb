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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import pyarrow as pa

from fieldwise.data.batches import prefetch
from fieldwise.data.chunk import MAX_CHUNK_BYTES, Chunk, Piece
from fieldwise.data.csv import CsvOptions, CsvReader
from fieldwise.data.libsvm import LibffmReader, LibsvmReader
from fieldwise.data.parquet import ParquetReader
from fieldwise.data.sources import Source, find_sources, for_each, rows_per_byte, stamp_of
from fieldwise.errors import DataError, did_you_mean
from fieldwise.kernels.threads import map_in_order

__all__ = ["Log", "open_log"]

Result = TypeVar("Result")


class _Reader(Protocol):
    @property
    def columns(self) -> tuple[str, ...]: ...

    def pieces(self, columns: Sequence[str]) -> Iterator[Piece]: ...


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
        Files, globs and folders (see `sources.find_sources`), on this machine or in a store (`data.stores`).
    format
        ``csv``, ``tsv``, ``parquet``, ``libsvm`` or ``libffm``; told by the files' names unless given.
    csv
        How CSV and TSV files are written.
    chunk_bytes
        Of a chunk, about, where rows are wide; text is never read in pieces of less than 4 MB.
    usual_format, allow_empty
        See `sources.find_sources`. A log of empty files alone has no columns and no rows.

    Raises
    ------
    DataError
        A file is missing, empty, damaged or not what its name says; the files do not have the same columns.
    """
    sources = find_sources(paths, format, usual_format=usual_format, allow_empty=allow_empty)
    options = csv or CsvOptions()
    readers = for_each(lambda source: _reader(source, options, chunk_bytes), sources, [it.path for it in sources])
    return Log(sources, readers)


def _reader(source: Source, csv: CsvOptions, chunk_bytes: int) -> _Reader:
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
        The names of the columns: those of the first file, which all others have too, in any order. Files of libffm
        hold the fields that occur in them, so theirs are put together.
    num_bytes
        The size of all files on disk.
    stamps
        Of each file, what changes when it does.
    left_out
        Files of the folders and globs that do not belong to the log: the reason of each.

    Of a `part`, files and stamps are those of the whole log.
    """

    def __init__(self, sources: Sequence[Source], readers: Sequence[_Reader]) -> None:
        self._sources, self._readers = sources, readers
        self._enough: int | None = None
        self.files = tuple(source.path for source in sources)
        self.num_bytes = sum(source.num_bytes for source in sources)
        self.stamps = tuple(source.stamp for source in sources)
        self.left_out: dict[str, str] = {}
        if sources and all(source.format == "libffm" for source in sources):
            fields = {name for reader in readers for name in reader.columns} - {"label"}
            self.columns: tuple[str, ...] = ("label", *sorted(fields, key=lambda name: (len(name), name)))
            return
        self.columns = readers[0].columns if readers else ()
        for path, reader in zip(self.files, readers, strict=True):
            lacking = set(self.columns) - set(reader.columns)
            beyond = set(reader.columns) - set(self.columns)
            if lacking or beyond:
                raise DataError(
                    "the files of the log do not have the same columns",
                    where=path,
                    expected=f"those of {self.files[0]}",
                    got="; ".join(
                        f"{what} {', '.join(sorted(names)[:10])}"
                        for what, names in (("without", lacking), ("with", beyond))
                        if names
                    ),
                    fix="write the files alike, or name fewer of them",
                )

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
            return [function(chunk) for chunk in piece.parse()]

        with prefetch(self.pieces(columns), depth=1) as pieces:
            for of_piece in map_in_order(work, pieces):
                yield from of_piece

    def pieces(self, columns: Sequence[str] | None = None) -> Iterator[Piece]:
        """Yield what `chunks` does in pieces that are still to be parsed, which many threads can do.

        Raises
        ------
        DataError
            The log has no such column, or a file turns out to be damaged.
        """
        wanted = self.columns if columns is None else tuple(columns)
        for name in wanted if self._sources else ():
            if name not in self.columns:
                raise DataError(
                    "the log has no such column",
                    where=self.files[0],
                    got=name,
                    fix=did_you_mean(name, self.columns),
                )
        return self._stream(wanted)

    def _stream(self, columns: Sequence[str]) -> Iterator[Piece]:
        num_rows = 0
        for reader in self._readers:
            for piece in reader.pieces(columns):
                yield piece
                num_rows += piece.num_rows
                if self._enough is not None and num_rows >= self._enough:
                    return

    def head(self, num_rows: int) -> Log:
        """Return the log of the first rows of this one: so many, and those that come in one piece with them."""
        log = copy.copy(self)
        log._enough = num_rows
        log._readers = [reader.by_chunk() if isinstance(reader, ParquetReader) else reader for reader in self._readers]
        return log

    def part(self, number: int, count: int) -> Log:
        """Return the log of some of the files, the rest being other parts: in order, of about as many bytes each."""
        ends = np.cumsum([source.num_bytes for source in self._sources])
        middles = ends - np.array([source.num_bytes for source in self._sources]) / 2
        of_part = np.minimum(middles * count // max(ends[-1], 1), count - 1).astype(int)
        chosen = [at for at, own in enumerate(of_part.tolist()) if own == number]
        log = copy.copy(self)
        log._sources = [self._sources[at] for at in chosen]
        log._readers = [self._readers[at] for at in chosen]
        log.num_bytes = sum(source.num_bytes for source in log._sources)
        return log

    def refuse_change(self) -> None:
        """Raise DataError where a file is not what it was when the log was opened."""
        for path, before, now in zip(self.files, self.stamps, for_each(stamp_of, self.files, self.files), strict=True):
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
        types = [reader.types[column] if isinstance(reader, ParquetReader) else pa.string() for reader in self._readers]
        return list(dict.fromkeys(types))

    def count_rows(self) -> tuple[int, bool]:
        """Return the number of rows, and whether it is exact: for Parquet it is; text is judged by its first lines."""
        if all(isinstance(reader, ParquetReader) for reader in self._readers):
            return sum(reader.num_rows for reader in self._readers if isinstance(reader, ParquetReader)), True
        return round(self.num_bytes * rows_per_byte(self._sources[0])) if self._sources else 0, False
