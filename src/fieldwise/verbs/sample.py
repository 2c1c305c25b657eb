"""The first rows of a log, by which `init` and inference judge it: those that can be read, and why others cannot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow as pa

from fieldwise.data.csv import CsvOptions
from fieldwise.data.log import Log, open_log
from fieldwise.data.read_report import ReadReport, RejectTally, reject_lines, why_rejected
from fieldwise.data.stray_quotes import StrayQuoteError
from fieldwise.errors import DataError

__all__ = ["Sample", "look_at", "read_sample", "sample_of"]

_SAMPLE_ROWS, _SAMPLE_CELLS = 50_000, 20_000_000
_MAX_REJECTED = 0.01
"""Of the rows, where quotes are taken for plain characters."""


class Sample(NamedTuple):
    """The first rows of a log.

    Attributes
    ----------
    table
        Those that could be read, with all columns.
    read
        How many were read, and why others could not be.
    csv
        How CSV files are written.
    """

    table: pa.Table
    read: ReadReport
    csv: CsvOptions


def look_at(paths: Sequence[str | Path], format: str | None, csv: CsvOptions) -> Sample:
    """Read the first rows of a log that nobody has described yet.

    Where its quotes cannot be those around cells, and it can be read with quotes as plain characters, it is.

    Raises
    ------
    DataError
        No row can be read, or what `open_log` raises.
    """
    try:
        return sample_of(open_log(paths, format=format, csv=csv), csv)
    except StrayQuoteError as error:
        plain = msgspec.structs.replace(csv, quote="")
        try:
            sample = sample_of(open_log(paths, format=format, csv=plain), plain)
        except DataError:
            raise error from None
        if sample.read.rows_rejected > _MAX_REJECTED * sample.read.rows_read:
            raise
        remark = f'quotes are plain characters here (csv.quote = ""): {error.where}: {error.got}'
        return sample._replace(read=msgspec.structs.replace(sample.read, remarks=[remark]))


def read_sample(log: Log) -> pa.Table:
    """Return the first rows of a log, with all of its columns: 50,000, or fewer of more than 400 columns."""
    return sample_of(log, CsvOptions()).table


def sample_of(log: Log, csv: CsvOptions) -> Sample:
    """Read the first rows of a log that was opened with `csv`.

    Raises
    ------
    DataError
        No row can be read.
    """
    num_rows = min(_SAMPLE_ROWS, _SAMPLE_CELLS // len(log.columns) + 1)
    chunks: list[pa.Table] = []
    tally, num_good = RejectTally(), 0
    for chunk in log.head(num_rows).chunks():
        chunks.append(chunk.table)
        tally.add(reject_lines(chunk))
        num_good += chunk.table.num_rows
        if num_good >= num_rows:
            break
    if not num_good:
        raise DataError(
            "the log holds no row that can be read",
            where=log.files[0],
            got=why_rejected(tally, tally.num_rows),
            fix="see whether the format, the header and csv.delimiter are what the file has"
            if tally.num_rows
            else None,
        )
    table = pa.concat_tables(chunks, promote_options="default").slice(0, num_rows)
    read = tally.report(rows_read=num_good + tally.num_rows, files=len(log.files), files_left_out=log.left_out)
    return Sample(table, read, csv)
