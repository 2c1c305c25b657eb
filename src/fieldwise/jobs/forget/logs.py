"""Rows with forgotten values in logs that are Parquet: those held out of a day, and those that a server logged."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from fieldwise.errors import ArtefactError
from fieldwise.features.encoder import Encoder
from fieldwise.features.forgetting import fingerprints_of
from fieldwise.io.files import atomic_file, explaining, remove_leftovers

__all__ = ["forget_rows", "log_files", "rows_with"]


def log_files(places: Iterable[str | Path]) -> list[Path]:
    """Return the Parquet files among files and folders, those of inner folders included.

    Raises
    ------
    ArtefactError
        One of them is not there.
    """
    found: list[Path] = []
    for place in map(Path, places):
        if not place.exists():
            raise ArtefactError("no such log", where=place, expected="a folder of Parquet files, or one of them")
        found += sorted(place.rglob("*.parquet")) if place.is_dir() else [place]
    return found


def rows_with(table: pa.Table, encoder: Encoder, field: str, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Return which rows of a table have, in the column of a field, a value with one of these fingerprints, (R,)."""
    found, rows = fingerprints_of(encoder, field, table)
    mask = np.zeros(table.num_rows, dtype=np.bool_)
    mask[rows[np.isin(found, keys)]] = True
    return mask


def forget_rows(path: Path, encoder: Encoder, field: str, keys: npt.NDArray[np.uint64]) -> int:
    """Remove rows from a file, and return how many: those that have one of these fingerprints in a field's column.

    A file without such rows, or without the column, stays as it is.
    """
    column = encoder.fields[field].field.column
    remove_leftovers(path)
    with explaining(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        if column not in file.schema_arrow.names:
            return 0
        masks = [rows_with(pa.table(batch), encoder, field, keys) for batch in file.iter_batches(columns=[column])]
        num_gone = sum(int(mask.sum()) for mask in masks)
        if not num_gone:
            return 0
        with (
            atomic_file(path) as out,
            pq.ParquetWriter(out, file.schema_arrow, compression="zstd", write_page_checksum=True) as writer,
        ):
            for batch in file.iter_batches():
                table = pa.table(batch)
                writer.write_table(table.filter(pa.array(~rows_with(table, encoder, field, keys))))
    return num_gone
