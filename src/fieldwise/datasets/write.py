"""Writing a log and its configuration to a folder, and the split column."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from fieldwise.io.files import atomic_file, write_bytes

__all__ = ["split_column", "write_log"]


def split_column(num_rows: int, seed: int, bounds: Sequence[float]) -> pa.Array:
    """Return ``train``, ``valid`` or ``test`` for every row, by a seeded permutation that is the same on all machines.

    Parameters
    ----------
    num_rows
        Number of rows.
    seed
        Seed of ``numpy.random.default_rng``, whose permutation of the rows is cut into the parts.
    bounds
        The fractions at which train and valid end.

    Examples
    --------
    >>> split_column(5, seed=0, bounds=(0.6, 0.8)).to_pylist()
    ['valid', 'test', 'train', 'train', 'train']
    """
    order = np.random.default_rng(seed).permutation(num_rows)
    part = np.empty(num_rows, dtype=np.int8)
    ends = [0, *(int(bound * num_rows) for bound in bounds), num_rows]
    for number in range(3):
        part[order[ends[number] : ends[number + 1]]] = number
    return pa.DictionaryArray.from_arrays(part, ["train", "valid", "test"]).cast(pa.string())


def write_log(out: Path, name: str, log: pa.Table, config: str) -> Path:
    """Write ``NAME.parquet`` and, unless it exists, the configuration ``NAME.toml``; return the path of the latter."""
    with atomic_file(out / f"{name}.parquet") as file:
        pyarrow.parquet.write_table(log, file, compression="zstd")
    path = out / f"{name}.toml"
    if not path.exists():
        write_bytes(path, config.encode())
    return path
