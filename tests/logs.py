"""A small log with a planted truth, and the files and configurations that tests make of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

FIELDS = """
[fields.user]
type = "category"
min_count = 2
[fields.item]
type = "category"
[fields.price]
type = "number"
bins = 8
[fields.age]
type = "number"
scale = "standard"
[fields.tags]
type = "bag"
[fields.user_x_item]
cross = ["user", "item"]
buckets = 500
"""

QUICK = """
[model]
units = 2
hidden = [8]
[train]
epochs = 3
batch_size = 256
threads = 1
"""


def make_table(num_rows: int = 3000, seed: int = 0, classes: tuple[object, ...] = (0, 1)) -> pa.Table:
    """Return rows whose label follows user, item, price and tags."""
    rng = np.random.default_rng(seed)
    users, items = (rng.random(num_rows) ** 2 * 40).astype(int), (rng.random(num_rows) ** 2 * 20).astype(int)
    price = np.round(rng.lognormal(size=num_rows), 3)
    tags = [sorted(set((rng.random(rng.integers(0, 4)) * 6).astype(int).tolist())) for _ in range(num_rows)]
    effects = np.random.default_rng(99).normal(size=(3, 40, len(classes)))
    logits = effects[0, users] + effects[1, items] + np.log(price)[:, None] * effects[2, 0]
    logits += np.array([effects[2, 1 + np.array(t, dtype=int)].sum(axis=0) for t in tags])
    label = np.argmax(logits + rng.gumbel(size=logits.shape), axis=1)
    return pa.table(
        {
            "user": [f"u{u}" for u in users],
            "item": pa.array(items),
            "price": pa.array(price, mask=rng.random(num_rows) < 0.05),
            "age": pa.array(rng.integers(18, 80, num_rows)),
            "tags": ["|".join(f"t{i}" for i in t) for t in tags],
            "click": [classes[i] for i in label],
            "weight": np.round(rng.uniform(0.5, 2, num_rows), 2),
            "session": [f"s{i}" for i in rng.integers(0, 100, num_rows)],
            "impression": [f"i{i}" for i in range(num_rows)],
            "split": rng.choice(["train", "valid", "test"], num_rows, p=[0.7, 0.1, 0.2]),
        }
    )


def write(table: pa.Table, path: Path) -> Path:
    """Write a table as its name says."""
    if path.suffix == ".parquet":
        pa.parquet.write_table(table, path)
    else:
        pa.csv.write_csv(table, path)
    return path


def config_text(log: str, data: str = 'split = "split"', fields: str = FIELDS, more: str = QUICK) -> str:
    """Return a configuration for the log of `make_table`."""
    exclude = 'exclude = ["weight", "session", "impression"]'
    return f'[data]\ntrain = ["{log}"]\nlabel = "click"\n{exclude}\n{data}\n{fields}\n{more}'
