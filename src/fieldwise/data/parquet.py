"""Parquet: the columns that are asked for, in chunks of bounded size."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fieldwise.data.chunk import MAX_CHUNK_BYTES, MAX_CHUNK_ROWS, Chunk, Piece, type_without_views, without_views
from fieldwise.data.sources import Source, check_names
from fieldwise.errors import DataError
from fieldwise.io import stores
from fieldwise.kernels.threads import num_threads

__all__ = ["ParquetReader"]

_LEAST_REQUEST, _LARGEST_REQUEST = 1 << 16, 1 << 22
"""Bytes of a column that are asked of a store at a time."""


_MAX_CELL_BYTES = 1 << 26
_MAX_COLUMN_BYTES = 1 << 30
"""Of one column of a chunk, once a dictionary is written out."""
_SUSPICIOUS = 100
"""A column of more than `_MAX_CELL_BYTES` that was compressed so many times may be one large value, repeated."""


class ParquetReader:
    """One Parquet file, mapped into memory where it lies on this machine.

    Types pass through as they are, dictionaries and large strings too.

    Attributes
    ----------
    columns
        The names of its columns at the top level, in the file's order.
    num_rows
        The number of rows, from its footer.
    types, schema
        Of its columns.

    Raises
    ------
    DataError
        The file is damaged, names a column twice, or has cells too large to be held many at a time: a few kB can name
        terabytes. Page checksums are verified where the file has them. A page, 2 GB at most, is unpacked whole.
    """

    def __init__(self, source: Source, chunk_bytes: int = MAX_CHUNK_BYTES) -> None:
        self._source = source
        self._chunk_bytes = chunk_bytes
        self._by_group = True
        self._most = MAX_CHUNK_ROWS
        self._packed: list[str] = []  # columns that are read as dictionaries, so that no value comes twice
        with self._open() as file:
            self._look_at_sizes(file.metadata)
            self.schema: pa.Schema = file.schema_arrow.remove_metadata()
            names = self.schema.names
            self.num_rows: int = file.metadata.num_rows
            self.types: dict[str, pa.DataType] = {
                name: type_without_views(kind) for name, kind in zip(names, self.schema.types, strict=True)
            }
        self.columns = tuple(names)
        check_names(source, names)

    def pieces(self, columns: Sequence[str]) -> Iterator[Piece]:
        """Yield the rows of the file, with these columns.

        Row groups no larger than a chunk may be are decoded by whoever parses the piece: many at a time, none waiting
        for its slowest column. Larger ones are decoded here, a chunk at a time.
        """
        wanted = list(columns)
        with self._open(len(wanted)) as file:
            fitting = _rows_within(file, wanted, self._chunk_bytes)
            num_rows = min(fitting, MAX_CHUNK_ROWS, self._most)
            groups = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
            if self._by_group and max(groups, default=0) <= fitting:
                yield from self._groups(wanted, groups, file.metadata, num_rows)
            else:
                yield from self._batches(file, wanted, num_rows)

    def by_chunk(self, num_rows: int = MAX_CHUNK_ROWS) -> ParquetReader:
        """Return a reader of the same file whose pieces hold a chunk each, for those who stop after `num_rows`."""
        reader = copy.copy(self)
        reader._most = max(num_rows, 1)
        reader._by_group = False
        return reader

    def largest(self, column: str) -> float | None:
        """Return the largest magnitude in a column of numbers; None where the file's footer does not say it."""
        found: list[float] = []
        with self._open() as file:
            places = [at for at in range(len(file.schema.names)) if file.schema.column(at).path == column]
            for group in range(file.metadata.num_row_groups if places else 0):
                statistics = file.metadata.row_group(group).column(places[0]).statistics
                if statistics is not None and statistics.has_min_max:
                    found += [abs(float(statistics.min)), abs(float(statistics.max))]
        return max(found, default=None)

    def _groups(
        self, columns: list[str], groups: list[int], metadata: pq.FileMetaData, num_rows: int
    ) -> Iterator[Piece]:
        files = threading.local()  # a reader is for one thread

        def parse(group: int, first_row: int) -> list[Chunk]:
            try:
                if not hasattr(files, "of_thread"):
                    files.of_thread = self._open(len(columns), metadata)
                table = files.of_thread.read_row_group(group, columns=columns, use_threads=False).select(columns)
            except (pa.ArrowException, OSError) as error:
                raise self._damaged(f"{self._source.path}, after row {first_row - 1}", error) from None
            return [
                self._chunk(table.slice(start, num_rows), first_row + start)
                for start in range(0, table.num_rows, num_rows)
            ]

        next_row = 1
        for group, num_in_group in enumerate(groups):
            yield Piece(num_in_group, partial(parse, group, next_row))
            next_row += num_in_group

    def _batches(self, file: pq.ParquetFile, columns: list[str], num_rows: int) -> Iterator[Piece]:
        next_row = 1
        try:
            for batch in file.iter_batches(num_rows, columns=columns, use_threads=num_threads() > 1):
                chunk = self._chunk(pa.Table.from_batches([batch]).select(columns), next_row)
                next_row += batch.num_rows
                yield Piece(batch.num_rows, partial(list, (chunk,)))
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(f"{self._source.path}, after row {next_row - 1}", error) from None

    def _look_at_sizes(self, metadata: pq.FileMetaData) -> None:
        packed: set[str] = set()
        for group in range(metadata.num_row_groups):
            leaves = metadata.row_group(group)
            for leaf in map(leaves.column, range(leaves.num_columns)):
                size = leaf.total_uncompressed_size
                if size > _MAX_CELL_BYTES * max(leaf.num_values, 1):
                    raise self._too_large(leaf.path_in_schema, size // max(leaf.num_values, 1))
                if size > max(_MAX_CELL_BYTES, _SUSPICIOUS * leaf.total_compressed_size):
                    packed.add(leaf.path_in_schema)
        self._packed = sorted(packed)

    def _too_large(self, column: str, num_bytes: int) -> DataError:
        return DataError(
            "the cells of a column are too large",
            where=f"{self._source.path}, column {column}",
            expected=f"cells of at most {_MAX_CELL_BYTES:,} bytes, far fewer where there are many",
            got=f"{num_bytes:,} bytes a cell",
            fix="leave the column out of the file, or cut its texts",
        )

    def _chunk(self, table: pa.Table, first_row: int) -> Chunk:
        for name, column in zip(table.column_names, table.columns, strict=True):
            if pa.types.is_dictionary(column.type):
                num_bytes = sum(map(_unpacked_bytes, column.chunks))
                if num_bytes > _MAX_COLUMN_BYTES:
                    raise self._too_large(name, num_bytes // table.num_rows)
                if name in self._packed:  # as the rows of other files come
                    place = table.column_names.index(name)
                    table = table.set_column(place, name, column.cast(column.type.value_type))
        rows = np.arange(first_row, first_row + table.num_rows)
        return Chunk(without_views(table), self._source.path, self._source.position, rows, [])

    def _open(self, num_columns: int = 1, metadata: pq.FileMetaData | None = None) -> pq.ParquetFile:
        path = self._source.path
        try:
            remote = stores.is_remote(path)
            request = min(max(self._chunk_bytes // num_columns, _LEAST_REQUEST), _LARGEST_REQUEST)
            return pq.ParquetFile(
                stores.open_file(path) if remote else path,
                metadata=metadata,
                read_dictionary=self._packed,
                memory_map=not remote,
                buffer_size=request if remote else 0,
                page_checksum_verification=True,
            )
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(path, error) from None

    def _damaged(self, where: str, error: Exception) -> DataError:
        if stores.is_remote(self._source.path) and stores.is_of_store(error):
            return stores.unreadable(where, error)
        return DataError("the Parquet file is damaged", where=where, got=error, fix="copy or write the file again")


def _unpacked_bytes(array: pa.DictionaryArray) -> int:
    """Return the bytes of an array of texts once its dictionary is written out."""
    kind = array.dictionary.type
    if not (pa.types.is_binary(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return 0
    lengths = pc.binary_length(array.dictionary)
    longest = pc.max(lengths).as_py() or 0
    if longest * len(array) <= _MAX_COLUMN_BYTES:  # nearly always
        return 0
    return int(pc.sum(lengths.take(array.indices).cast(pa.int64())).as_py() or 0)


def _rows_within(file: pq.ParquetFile, columns: Sequence[str], num_bytes: int) -> int:
    """Return how many rows, one or more, fit into `num_bytes` of memory."""
    wanted = set(columns)
    of_columns = 0
    for group in range(file.metadata.num_row_groups):
        leaves = file.metadata.row_group(group)
        for place in range(leaves.num_columns):
            leaf = leaves.column(place)
            if leaf.path_in_schema.split(".")[0] in wanted or leaf.path_in_schema in wanted:
                of_columns += leaf.total_uncompressed_size
    bytes_per_row = of_columns / max(file.metadata.num_rows, 1)
    # Sizes in a file are those of its encoding: a dictionary column grows when it is decoded, so 12 bytes a cell at
    # least.
    bytes_per_row = max(bytes_per_row, 12.0 * len(columns), 1.0)
    return int(max(num_bytes / bytes_per_row, 1))
