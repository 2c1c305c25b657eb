"""The logs of a configuration: its files, or tables in memory in their place.

A table in memory is written once, as ``tables/CHECKSUM.parquet`` in the folder of prepared logs, and named in the
configuration like any other file. So the same rows are the same log: they are not prepared again, a run that was
stopped goes on when they are given again, and several workers read them. Whoever comes with the same rows writes them
again where they are gone, so only the newest tables stay, and what was given within a day and may still be read.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import xxhash

from fieldwise.config import Config, checked
from fieldwise.data.chunk import MAX_CHUNK_BYTES, MAX_CHUNK_ROWS
from fieldwise.data.log import Log, open_log
from fieldwise.data.split import PARTS, Split, SplitByColumn, SplitByShare, SplitLog
from fieldwise.data.split_by_fold import SplitByFold
from fieldwise.data.split_by_time import SplitByTime
from fieldwise.data.tables import as_table, is_paths
from fieldwise.errors import DataError
from fieldwise.io.files import atomic_file, explaining
from fieldwise.io.stores import local_path
from fieldwise.jobs.init.fields import time_field
from fieldwise.schema import Schema

__all__ = ["log_columns", "open_sources", "with_tables"]

_NUM_KEPT = 10
_SECONDS_KEPT = 86_400


def open_sources(config: Config, chunk_bytes: int = MAX_CHUNK_BYTES) -> list[SplitLog]:
    """Open the log of every part, to be read in chunks of about so many bytes; the training log comes first."""
    data = config.data

    def log_of(part: str) -> Log:
        return open_log(config.paths(part), format=data.format, csv=data.csv, chunk_bytes=chunk_bytes)

    shares = {part: share for part in ("valid", "test") if isinstance(share := getattr(data, part), float)}
    split: Split | None = None
    if data.split is not None:
        split = SplitByColumn(data.split)
    elif data.time is not None:
        field = time_field(config)
        assert field is not None, "a time is named"
        later = 0.0
        if data.folds is not None and data.fold is not None:  # of folds + 2 stretches, the first ones train
            stretch = 1 / (data.folds + 2)
            shares, later = {"valid": stretch, "test": stretch}, (data.folds - 1 - data.fold) * stretch
        split = SplitByTime(lambda: log_of("train"), field, **shares, half_life=config.train.half_life, later=later)
    elif data.folds is not None and data.fold is not None:
        split = SplitByFold(data.folds, data.fold, data.seed, data.group)
    elif shares:
        split = SplitByShare(**shares, seed=data.seed)
    sources = [SplitLog(log_of("train"), split, "train")]
    return sources + [SplitLog(log_of(part), None, part) for part in ("valid", "test") if config.paths(part)]


def log_columns(schema: Schema) -> list[str]:
    """Return the columns that preparing reads, each once."""
    time = schema.time.column if schema.time is not None else None
    extra = (*schema.label_columns, schema.weight, schema.group, schema.split, time)
    return list(dict.fromkeys([*schema.columns, *(name for name in extra if name is not None)]))


def with_tables(config: Config, data: Any) -> Config:
    """Return a configuration, checked, that reads rows in memory.

    Parameters
    ----------
    config
        Its ``data.train`` is replaced, and ``data.valid`` and ``data.test`` where those parts are given.
    data
        The training rows (see `Predictor.predict` for what they may be), of which the configuration's shares or split
        column make the other parts; or ``{"train": rows, "valid": rows, "test": rows}``. None: the
        configuration's files.

    Raises
    ------
    ConfigError
        The configuration is invalid: those made in Python come here unchecked.
    DataError
        There are no rows, or a column cannot be stored.
    TypeError
        They are no table.
    """
    config = checked(config)
    if data is None:
        return config
    if is_paths(data):
        raise TypeError("`data` is a table in memory; the paths of files belong in the configuration's data.train")
    parts = {part: rows for part, rows in data.items() if rows is not None} if _is_by_part(data) else {"train": data}
    folder = Path(config.base) / local_path(config.data.cache or ".fieldwise") / "tables"
    excluded = set(config.data.exclude)
    paths: dict[str, str] = {}
    for part, rows in parts.items():
        table = as_table(rows, lambda name: name not in excluded)
        paths[part] = str(_stored(table, part, folder).absolute())
    _remove_old(folder)
    return config.changed("data", format=None, **paths)


def _is_by_part(data: Any) -> bool:
    """Whether this is a table for each part, and not a dict of columns or of the values of a row.

    Raises
    ------
    TypeError
        A table stands under a name that is no part's.
    """
    if not isinstance(data, Mapping) or not any(map(_is_table, data.values())):
        return False
    unknown = [name for name in data if name not in PARTS]
    if not unknown and "train" in data:
        return True
    if all(map(_is_frame, data.values())):
        got = ", ".join(map(str, data))
        raise TypeError(
            f"`data` is a table, or a dict of tables named {', '.join(PARTS)} with train among them, not {got}"
        )
    return False


def _is_table(rows: Any) -> bool:
    return (
        _is_frame(rows)
        or isinstance(rows, Mapping)
        or bool(getattr(getattr(rows, "dtype", None), "names", None))
        or (isinstance(rows, (list, tuple)) and bool(rows) and all(isinstance(row, Mapping) for row in rows))
    )


def _is_frame(rows: Any) -> bool:
    """Whether this is a table that no cell and no column could be."""
    kind = type(rows).__qualname__
    return isinstance(rows, (pa.Table, pa.RecordBatch)) or kind in ("DataFrame", "LazyFrame", "RecordBatchReader")


def _stored(table: pa.Table, part: str, folder: Path) -> Path:
    """Write a table where it is not there yet, and return its file, whose time says nothing: its name says all."""
    if not table.num_rows:
        raise DataError("the table has no rows", where=f"data, {part}")
    twice = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if twice:
        raise DataError("duplicate column names", where=f"data, {part}", got=", ".join(twice))
    path = folder / f"{_checksum(table)}.parquet"
    if not path.exists():
        try:
            with atomic_file(path) as file:
                pyarrow.parquet.write_table(table, file, compression="zstd", row_group_size=MAX_CHUNK_ROWS)
        except (pa.ArrowException, TypeError) as error:
            raise DataError("the table cannot be stored as Parquet", where=f"data, {part}", got=error) from None
    with explaining(path):
        os.utime(path, (0, 0))
    return path


def _remove_old(folder: Path) -> None:
    """Remove the tables that were last given longest ago, which is when their state last changed (`_stored`)."""
    with suppress(OSError):  # another process removes them, too, or they are another user's
        given = sorted((path.stat().st_ctime, path) for path in folder.glob("*.parquet"))
        for when, path in given[:-_NUM_KEPT]:
            if time.time() - when > _SECONDS_KEPT:
                path.unlink()


def _checksum(table: pa.Table) -> str:
    """Return the checksum of names, types and values, however the table is cut into chunks."""
    digest = xxhash.xxh3_128(str([(field.name, str(field.type)) for field in table.schema]).encode())
    for first in range(0, table.num_rows, MAX_CHUNK_ROWS):
        part = table.slice(first, MAX_CHUNK_ROWS).unify_dictionaries().combine_chunks()
        for batch in part.to_batches():
            digest.update(batch.serialize())
    return digest.hexdigest()
