"""Small models with every kind of column, made once for the tests of the server."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import fieldwise as fw

CITIES = [f"city{number}" for number in range(12)]
TAGS = [f"t{number}" for number in range(15)]
FIELDS = {
    "city": fw.FieldConfig(type="category"),
    "code": fw.FieldConfig(type="category"),
    "age": fw.FieldConfig(type="number"),
    "hour": fw.FieldConfig(type="time", column="at", part="hour"),
    "weekday": fw.FieldConfig(type="time", column="at", part="weekday"),
    "tags": fw.FieldConfig(type="bag", separator="|", norm="sqrt"),
    "position": fw.FieldConfig(type="category", serve_as="1"),
    "city_x_code": fw.FieldConfig(cross=("city", "code"), buckets=256),
}
SERVED_AS = {"position": "1"}
COLUMNS = ("city", "code", "age", "at", "tags")


def log_rows(num_rows: int = 500, seed: int = 1) -> list[dict[str, object]]:
    """Return rows of a log, some of whose cells are missing."""
    rng = random.Random(seed)
    rows = []
    for number in range(num_rows):
        city = rng.choice(CITIES)
        rows.append(
            {
                "click": str(int(rng.random() < (0.6 if city < "city5" else 0.2))),
                "id": f"r{number}",
                "city": city if rng.random() < 0.9 else "",
                "code": rng.randrange(20),
                "age": round(rng.uniform(18, 80), 1) if rng.random() < 0.9 else None,
                "at": f"2026-11-{rng.randrange(1, 29):02d} {rng.randrange(24):02d}:01:02",
                "position": rng.randrange(1, 6),
                "tags": "|".join(rng.sample(TAGS, rng.randrange(4))),
            }
        )
    return rows


def make_run(folder: Path, *, seed: int = 1, kind: str = "lr", classes: int = 2) -> Path:
    """Train a model and return its run folder."""
    rows = log_rows(seed=seed)
    if classes > 2:
        for number, row in enumerate(rows):
            row["click"] = "abc"[(number * seed) % classes]
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "log.parquet")
    data = fw.DataConfig(train="log.parquet", label="click", id="id")
    model = fw.ModelConfig(kind="lr") if kind == "lr" else fw.ModelConfig(kind=kind, units=2, hidden=(4,))
    train = fw.TrainConfig(epochs=1, batch_size=64, threads=1, seed=seed)
    config = fw.Config(data=data, fields=FIELDS, model=model, train=train, base=str(folder))
    fw.train(config, folder / "run")
    return folder / "run"


def library(bundle: Path, rows: list[dict[str, object]]) -> np.ndarray:
    """Return the probabilities that ``fieldwise predict`` writes: (B,), or (B, O) for more than two classes."""
    with tempfile.TemporaryDirectory() as folder:
        table = pa.Table.from_pylist([{**row, **SERVED_AS} for row in rows])
        pq.write_table(table, Path(folder, "rows.parquet"))
        fw.predict(bundle, Path(folder, "rows.parquet"), Path(folder, "out.parquet"))
        table = pq.read_table(Path(folder, "out.parquet"))
    columns = [table.column(name).to_numpy() for name in table.column_names[1:]]
    return columns[0] if len(columns) == 1 else np.column_stack(columns)


def asked(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Return what a client sends of the rows of a log."""
    return [{name: row[name] for name in COLUMNS} for row in rows]
