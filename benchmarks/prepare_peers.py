"""The engines that `prepare.py` compares with, each run by the Python of an environment that holds them alone.

Nothing of ours is imported here but the meter beside this file. As with ours, importing is not part of the time, and
what is written is not compressed. Unlike ours they keep no vocabulary on disk, take no checksums and do not wait for
the disk.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # measure.py beside this file, however it is started

from measure import measured

_COLUMNS = ["f0", "f1", "f2"]


def polars(log: str, out: str) -> dict[str, Any]:
    """Count and number with polars' streaming engine, then join, keeping the order of the rows."""
    import polars as pl

    started = time.perf_counter()
    frame = pl.scan_parquet(log)
    vocabularies = []
    for name in _COLUMNS:
        counted = frame.group_by(name).len().filter(pl.col("len") >= 2).collect(engine="streaming")
        ordered = counted.sort(["len", name], descending=[True, False])
        vocabularies.append(ordered.select(name, (pl.int_range(pl.len(), dtype=pl.UInt32) + 2).alias(f"{name}_id")))
    fit_seconds = time.perf_counter() - started
    encoded = frame
    for name, vocabulary in zip(_COLUMNS, vocabularies, strict=True):
        encoded = encoded.join(vocabulary.lazy(), on=name, how="left", maintain_order="left")
    encoded = encoded.select(*(pl.col(f"{name}_id").fill_null(1) for name in _COLUMNS), "click")
    encoded.sink_parquet(out, compression="uncompressed")
    features = sum(len(vocabulary) for vocabulary in vocabularies)
    return {
        "version": pl.__version__,
        "seconds": time.perf_counter() - started,
        "fit_seconds": fit_seconds,
        "features": features,
    }


def duckdb(log: str, out: str) -> dict[str, Any]:
    """Count and number with DuckDB, then join, ordered by the rows' numbers."""
    import duckdb as db

    connection = db.connect()
    started = time.perf_counter()
    for name in _COLUMNS:
        counted = f"SELECT {name}, count(*) AS n FROM read_parquet('{log}') GROUP BY {name} HAVING n >= 2"
        number = f"(row_number() OVER (ORDER BY n DESC, {name}) + 1)::UINTEGER AS id"
        connection.execute(f"CREATE TABLE v_{name} AS SELECT {name}, {number} FROM ({counted})")
    fit_seconds = time.perf_counter() - started
    ids = ", ".join(f"coalesce(v_{name}.id, 1) AS {name}" for name in _COLUMNS)
    joins = " ".join(f"LEFT JOIN v_{name} USING ({name})" for name in _COLUMNS)
    connection.execute(
        f"COPY (SELECT {ids}, click FROM read_parquet('{log}', file_row_number = true) AS log {joins} "
        f"ORDER BY log.file_row_number) TO '{out}' (FORMAT parquet, COMPRESSION uncompressed)"
    )
    sizes = [connection.execute(f"SELECT count(*) FROM v_{name}").fetchone() for name in _COLUMNS]
    features = sum(row[0] for row in sizes if row)
    return {
        "version": db.__version__,
        "seconds": time.perf_counter() - started,
        "fit_seconds": fit_seconds,
        "features": features,
    }


TASKS: dict[str, Callable[..., dict[str, Any]]] = {"polars": polars, "duckdb": duckdb}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--options", required=True)
    arguments = parser.parse_args()
    measured(TASKS[arguments.task], json.loads(arguments.options))
