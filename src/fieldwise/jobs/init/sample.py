"""The first rows of a log, from which `init` infers a configuration.

If a column has no value or a constant value in the first rows, a few rows of later files are read too: the first day of
a log, for instance, shows only one date.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fieldwise.data.column_types import concatenated
from fieldwise.data.csv_dialect import CsvOptions
from fieldwise.data.csv_quotes import StrayQuoteError
from fieldwise.data.log import Log, open_log
from fieldwise.data.read_report import ReadReport, RejectTally, why_rejected
from fieldwise.errors import DataError
from fieldwise.features.canonical import plain

__all__ = ["Sample", "look_at", "read_sample", "sample_of"]

_SAMPLE_ROWS, _SAMPLE_CELLS = 50_000, 20_000_000
_MORE_FILES, _MORE_ROWS = 16, 1_000
"""Of other files, where the first rows say nothing of a column."""
_MAX_REJECTED = 0.01
"""Of the rows, where quotes are taken for plain characters."""


class Sample(NamedTuple):
    """The first rows of a log.

    Attributes
    ----------
    table
        The valid rows, with all columns.
    read
        How many rows were read, and why others were rejected.
    csv
        The dialect of CSV files.
    log
        The log.
    """

    table: pa.Table
    read: ReadReport
    csv: CsvOptions
    log: Log


def look_at(paths: Sequence[str | Path], format: str | None, csv: CsvOptions, named: Collection[str] = ()) -> Sample:
    """Read the first rows of a log without a configuration, detecting whether quotes are ordinary characters.

    Parameters
    ----------
    paths, format, csv
        The log, as in `DataConfig`.
    named
        Columns that must exist.

    Raises
    ------
    DataError
        No row can be read, or the log cannot be opened.
    """
    try:
        return sample_of(open_log(paths, format=format, csv=csv), csv, named)
    except StrayQuoteError as error:
        unquoted = msgspec.structs.replace(csv, quote="")
        try:
            sample = sample_of(open_log(paths, format=format, csv=unquoted), unquoted, named)
        except DataError:
            raise error from None
        if sample.read.rows_rejected > _MAX_REJECTED * sample.read.rows_read:
            raise
        remark = f'quotes are read as ordinary characters (csv.quote = ""): {error.where}: {error.got}'
        return sample._replace(read=msgspec.structs.replace(sample.read, remarks=[remark, *sample.read.remarks]))


def read_sample(log: Log, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the first 50,000 rows of a log (fewer if it has more than 400 columns), and some rows of later files.

    By default the columns are those that every file has. Columns with several types are converted to one type that
    distinguishes their values (`kinds.concatenated`).
    """
    return _read(log, CsvOptions(), log.columns if columns is None else columns).table


def sample_of(log: Log, csv: CsvOptions, named: Collection[str] = ()) -> Sample:
    """Read the first rows of an opened log, with all columns; those in `named` must exist.

    Raises
    ------
    DataError
        No row can be read, or a file lacks a column in `named` or spells it differently.
    """
    if csv.delimiter is None and (delimiter := log.delimiter) is not None:  # as the configuration has to say
        csv = msgspec.structs.replace(csv, delimiter=delimiter)
    layout = log.layout
    layout.require(name for name in layout.partial if name in named)
    layout.require(layout.misspelled())
    return _read(log, csv, [*layout.common, *(name for name in layout.hidden if name in named)])


def _read(log: Log, csv: CsvOptions, columns: Sequence[str]) -> Sample:
    """Read the first rows of a log with some of its columns.

    Raises
    ------
    DataError
        No row can be read.
    """
    names = list(columns)
    num_rows = min(_SAMPLE_ROWS, _SAMPLE_CELLS // len(names) + 1)
    chunks: list[pa.Table] = []
    tally, num_good, last = RejectTally(), 0, 0
    for chunk in log.head(num_rows).chunks(names):
        chunks.append(_as_written(log, chunk.table))
        last = chunk.file
        tally.add(chunk.reject_lines())
        num_good += chunk.table.num_rows
        if num_good >= num_rows:
            break
    if not num_good:
        raise DataError(
            "no row of the log can be read" if tally.num_rows else "the log has no rows",
            where=log.files[0],
            got=why_rejected(tally, tally.num_rows),
            fix="check the format; of CSV also the header and csv.delimiter"
            if tally.num_rows
            else "use a log with examples",
        )
    table = _together(chunks, names).slice(0, num_rows)
    later = [at for at, source in enumerate(log.positions) if source > last]
    if later and (unknown := [name for name in names if _is_constant(table.column(name))]):
        more = list(_more_rows(log, names, unknown, table, later))
        table = _together([table, *more], names) if more else table
    return Sample(table, log.report(tally, num_good), csv, log)


def _more_rows(
    log: Log, names: Sequence[str], unknown: Sequence[str], sample: pa.Table, later: Sequence[int]
) -> Iterator[pa.Table]:
    """Yield the first rows of files that show another value in one of the columns of which the sample shows one."""
    known = {name: _first(sample.column(name)) for name in unknown}
    for at in np.unique(np.linspace(0, len(later) - 1, min(len(later), _MORE_FILES)).astype(int)).tolist():
        file = log.only(later[at]).head(_MORE_ROWS)
        looked_at = next((chunk.table.slice(0, _MORE_ROWS) for chunk in file.chunks(unknown)), None)
        if looked_at is None or not looked_at.num_rows:
            continue
        if any(not _is_constant(column) or _first(column) != known[name]
               for name, column in zip(unknown, looked_at.columns, strict=True)):  # fmt: skip
            yield _as_written(log, next(file.chunks(names)).table.slice(0, _MORE_ROWS))


def _as_written(log: Log, table: pa.Table) -> pa.Table:
    """Return what folders name as text, as if it stood in a CSV: that chunks hold it as a dictionary says nothing."""
    for at, name in enumerate(table.column_names):
        if name in log.from_folders:
            table = table.set_column(at, name, table.column(at).cast(pa.string()))
    return table


def _together(tables: Sequence[pa.Table], names: Sequence[str]) -> pa.Table:
    columns = [concatenated([table.column(at) for table in tables]) for at in range(len(names))]
    return pa.Table.from_arrays(columns, names=list(names))


def _is_constant(column: pa.ChunkedArray) -> bool:
    """Whether all cells are alike; lists are not compared."""
    if column.null_count == len(column):
        return True
    if column.null_count or pa.types.is_nested(column.type):
        return False
    column = _plain(column)
    try:
        return bool(pc.all(pc.equal(column, column[0])).as_py())
    except pa.ArrowNotImplementedError:
        return False


def _first(column: pa.ChunkedArray) -> str | None:
    return None if column.null_count == len(column) else str(_plain(column)[0].as_py())


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return (
        pa.chunked_array([plain(chunk) for chunk in column.chunks]) if pa.types.is_dictionary(column.type) else column
    )
