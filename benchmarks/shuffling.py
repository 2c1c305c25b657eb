"""What an unlucky order of the log costs: training on rows sorted by label against the same rows in random order.

python benchmarks/shuffling.py --json

The rows of a synthetic log are written twice, in random order and sorted by label (clicks come last), and models are
trained on both with several seeds; a difference is the mean over the seeds, with its standard error. One more run reads
the sorted log in its own order, without shuffling: what is at stake. It may diverge, and then has no AUC.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

import fieldwise as fw
from fieldwise.data.batches import RUN_EXAMPLES, WINDOW_RUNS, Batches
from fieldwise.datasets import SynthOptions, make_synth
from fieldwise.jobs.train import model as verb

ORDERS = ("random", "sorted")
UNSHUFFLED = "sorted, not shuffled"
CONFIG = """
[data]
train = "{train}.parquet"
valid = "valid.parquet"
test = "test.parquet"
label = "click"
exclude = ["split"]
[model]
hidden = [64, 32]
[train]
epochs = {epochs}
patience = 99
"""


def write_logs(folder: Path, rows: int) -> int:
    """Write the log, once in random order and once sorted by label, and return the number of training rows."""
    options = SynthOptions(rows=rows, fields=20, features=20_000)
    make_synth(folder, options)
    table = pq.read_table(folder / "synth.parquet")
    parts = {part: table.filter(pc.equal(table["split"], part)) for part in ("train", "valid", "test")}
    train = parts.pop("train")
    for part, of_part in parts.items():
        pq.write_table(of_part, folder / f"{part}.parquet")
    order = np.random.default_rng(0).permutation(train.num_rows)
    pq.write_table(train.take(order), folder / "random.parquet")
    pq.write_table(train.take(np.argsort(train["click"].to_numpy(), kind="stable")), folder / "sorted.parquet")
    return int(train.num_rows)


def unshuffled(*arguments: Any, **options: Any) -> Batches:
    """Return batches in the order of the cache."""
    return Batches(*arguments, **{**options, "shuffle": False})


def test_auc(folder: Path, model: str, order: str, seed: int, epochs: int) -> float:
    """Train a model on the log in one order, and return its test AUC."""
    kind, _, units = model.partition(":")
    config = fw.parse_config(
        CONFIG.format(train=order.partition(",")[0], epochs=epochs),
        base=folder,
        overrides=[f'model.kind="{kind}"', f"train.seed={seed}", *([f"model.units={units}"] if units else [])],
    )
    batches = unshuffled if order.endswith("not shuffled") else Batches
    with mock.patch.object(verb, "Batches", batches):
        result = fw.train(config, folder / f"{model}-{order}-{seed}".replace(":", "-"))
    assert result.test is not None
    assert result.test.auc is not None
    return result.test.auc


def compare(folder: Path, model: str, seeds: int, epochs: int) -> dict[str, Any]:
    """Train a model on every order with every seed."""
    aucs = {order: [test_auc(folder, model, order, seed, epochs) for seed in range(seeds)] for order in ORDERS}
    found: dict[str, Any] = {"model": model, "seeds": seeds}
    for order, of_order in aucs.items():
        found[order] = {"auc": statistics.mean(of_order), "sd": statistics.stdev(of_order)}
    gaps = [a - b for a, b in zip(aucs["sorted"], aucs["random"], strict=True)]
    found |= {"difference": statistics.mean(gaps), "standard_error": statistics.stdev(gaps) / seeds**0.5}
    try:
        found[UNSHUFFLED] = test_auc(folder, model, UNSHUFFLED, 0, epochs)
    except fw.UserError as error:
        found[UNSHUFFLED] = error.what
    return found


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="four fifths of them are trained on")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--models", default="lr,lc-dnn:4")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        num_rows = write_logs(folder, options.rows)
        models = [compare(folder, model, options.seeds, options.epochs) for model in options.models.split(",")]
    windows = -(-num_rows // (RUN_EXAMPLES * WINDOW_RUNS))
    if options.json:
        print(json.dumps({"training_rows": num_rows, "windows": windows, "models": models}, indent=1))
        return
    print(f"{num_rows:,} training rows, shuffled in {windows} windows; {options.seeds} seeds")
    for found in models:
        for order in ORDERS:
            print(f"{found['model']:12} {order:22} {found[order]['auc']:.5f} ± {found[order]['sd']:.5f}")
        print(f"{found['model']:12} {'difference':22} {found['difference']:+.5f} ± {found['standard_error']:.5f}")
        print(f"{found['model']:12} {UNSHUFFLED:22} {found[UNSHUFFLED]}")


if __name__ == "__main__":
    main()
