"""What a server logs of the days of `runs`, and the labels that come later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tests.jobs.update.runs import config, day_of
from tests.logs import make_table

import fieldwise as fw

__all__ = ["FIRST_DAY", "labels_of", "rows_of", "serve_day", "train_with_ids"]

FIRST_DAY = datetime(2026, 11, 1, tzinfo=UTC)
_INPUTS = ["user", "item", "price", "age", "tags"]


def train_with_ids(folder: Path) -> Path:
    """Train a model that knows of an identifier, and return the run."""
    made = config(folder, "lr")
    data = msgspec.structs.replace(made.data, id="impression", exclude=("weight", "session", "split"))
    fw.train(msgspec.structs.replace(made, data=data), folder / "run", data=make_table(2000, seed=1))
    return folder / "run"


def rows_of(number: int, num_rows: int = 1200) -> pa.Table:
    """Return the rows of a day with identifiers of their own."""
    rows = day_of(number, num_rows)
    ids = pa.array([f"{number}-{place}" for place in range(num_rows)])
    return rows.set_column(rows.column_names.index("impression"), "impression", ids)


def serve_day(run: Path, folder: Path, number: int, rows: pa.Table | None = None, version: str | None = None) -> Path:
    """Write the log of a server that was asked the rows of a day, evenly over it, in two files; return its folder."""
    rows = rows_of(number) if rows is None else rows
    predictor = fw.Predictor(run)
    said = predictor.predict(rows)
    start, step = FIRST_DAY + timedelta(days=number), timedelta(days=1) / rows.num_rows
    moments = [start + place * step for place in range(rows.num_rows)]
    name = version or (run / "versions" / "current").read_text().strip()
    table = pa.table(
        {
            "request_id": [f"{number}/{place}" for place in range(rows.num_rows)],
            "request_row": pa.array(np.zeros(rows.num_rows, np.int32)),
            "asked_at": pa.array(moments, pa.timestamp("ns", "UTC")),
            "model_name": ["ctr"] * rows.num_rows,
            "model_version": [name] * rows.num_rows,
            "probability": np.asarray(said),
            **{column: rows[column] for column in [*_INPUTS, "impression"]},
        }
    )
    (folder / "ctr").mkdir(parents=True, exist_ok=True)
    half = rows.num_rows // 2
    for part, first in enumerate((0, half)):
        pq.write_table(
            table.slice(first, half if not part else None), folder / "ctr" / f"{number:02d}-{part}-{name}.parquet"
        )
    return folder / "ctr"


def labels_of(rows: pa.Table) -> pa.Table:
    """Return the file of labels of some rows."""
    return rows.select(["impression", "click"])
