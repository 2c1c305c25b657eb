"""A trained run to update, and days for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from tests.logs import make_table

import fieldwise as fw
from fieldwise.config import parse_config

__all__ = ["BATCH", "config", "contents", "day_of", "known", "train"]

BATCH = 128


def config(folder: Path, kind: str, more: str = "", train: str = "", model: str = ""):
    """Return the configuration of a small model on the log of `make_table`, in the precision for checking."""
    text = f"""
[data]
train = ["unused"]
valid = 0.1
label = "click"
exclude = ["weight", "session", "impression", "split"]
[fields.user]
min_count = 2
[fields.price]
bins = 8
[fields.age]
scale = "standard"
[fields.tags]
type = "bag"
[model]
kind = "{kind}"
units = 1
hidden = [4]
initial_model = "random"
{model}
[train]
epochs = 2
batch_size = {BATCH}
precision = "float64"
threads = 1
{train}
{more}
"""
    return parse_config(text, base=folder)


def train(folder: Path, kind: str, more: str = "", **rest) -> Path:
    """Train it, and return the run."""
    fw.train(config(folder, kind, more, **rest), folder / "run", data=make_table(2000, seed=1))
    assert fw.open_bundle(folder / "run").model["kind"] == kind, "and not the logistic regression that it started from"
    return folder / "run"


def day_of(number: int, num_rows: int = 1200, **columns) -> pa.Table:
    """Return the log of a day; `columns` replace its own."""
    table = make_table(num_rows, seed=100 + number)
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    return table


def contents(run: Path) -> dict[str, bytes]:
    """Return every byte that an update can leave."""
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in run.rglob("*")
        if path.is_file() and path.name not in (".lock", "run.json")
    }


def known(table: pa.Table) -> pa.Table:
    """Return the rows whose values any training log of some size has."""
    users, items = (table[name].to_numpy(zero_copy_only=False) for name in ("user", "item"))
    return table.filter(pa.array(np.isin(users, [f"u{n}" for n in range(20)]) & (items < 10)))
