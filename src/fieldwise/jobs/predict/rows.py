"""The input rows of predictions and evaluations: files, tables in memory, or a pipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from fieldwise.bundle import Bundle
from fieldwise.data.chunk import FEW_BYTES
from fieldwise.data.csv_dialect import CsvOptions
from fieldwise.data.log import Log, open_log, open_table
from fieldwise.data.pipes import spooled
from fieldwise.data.tables import as_table, is_paths
from fieldwise.errors import DataError
from fieldwise.jobs.prepare.logs import log_columns

__all__ = ["named_by", "open_rows"]


@contextmanager
def open_rows(bundle: Bundle, data: Any, format: str | None) -> Iterator[Log]:
    """Open input rows as a log; files whose names do not imply a format are read like the training log.

    Raises
    ------
    DataError
        A file is missing or invalid.
    TypeError
        `data` is neither paths nor a table.
    """
    if not is_paths(data):
        table = as_table(data, {*log_columns(bundle.encoder.schema), bundle.encoder.schema.id}.__contains__)
        yield open_table(table) if table.num_columns else Log([], [])
        return
    with spooled(named_by(data)) as paths:
        if format is None and bundle.format is None and paths.formless:
            raise DataError("the format of standard input is not known", where=paths.formless, fix="give the format")
        log = open_log(
            paths.names,
            format=format,
            csv=msgspec.convert(bundle.csv, CsvOptions),
            chunk_bytes=FEW_BYTES,
            usual_format=bundle.format,
            allow_empty=True,
        )
        log.shown = paths.shown
        log.left_out = {paths.shown.get(path, path): reason for path, reason in log.left_out.items()}
        yield log


def named_by(data: Any) -> Sequence[str | Path]:
    """Return `data` as a list of paths; empty for a table."""
    if not is_paths(data):
        return ()
    return [data] if isinstance(data, (str, Path)) else list(data)
