"""Whether two checkouts train the same weights, bit for bit, on the same log.

    python scripts/same_weights.py OLD_CHECKOUT NEW_CHECKOUT [--models lr lc-dnn] [--storage bfloat16] [--classes 3]
                                   [--workers 2] [--device torch] [--set KEY=VALUE] [--set-old ...] [--set-new ...]
    python scripts/same_weights.py OLD_CHECKOUT NEW_CHECKOUT --all

A planted log of 20,000 rows (categories, a cross, numbers with and without bins, a bag, example weights) is written,
each checkout prepares it and trains LR, DNN, LC-DNN and LC-W&D on it for two epochs, by its own ``.venv/bin/fieldwise``
(one of before stacks needs ``--set-old model.start=lr``), and every array of the saved models is compared. Dense arrays
are matched by name, and those whose names differ by what they hold. ``--set`` changes both configurations,
``--set-old`` and ``--set-new`` one of them, for keys that have another name there. ``--all`` goes through the variants:
bfloat16 storage, three classes, two workers, the engine of GPUs on the processor, float64.

What the old checkout trained is kept in ``--folder`` under its commit, and is not trained again. Exit code 1 where
something differs; the largest difference is printed. Needs numpy, pyarrow and safetensors: run it with the interpreter
of either checkout.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import safe_open

MODELS = ["lr", "dnn", "lc-dnn", "lc-wide-deep"]
NUM_ROWS = 20_000
CONFIG = """
[data]
train = ["{log}"]
valid = 0.1
label = "click"
weight = "weight"
[fields.user]
type = "category"
min_count = 2
[fields.item]
type = "category"
[fields.user_x_item]
cross = ["user", "item"]
buckets = 5000
[fields.price]
type = "number"
bins = 12
[fields.age]
type = "number"
scale = "standard"
[fields.tags]
type = "bag"
separator = "|"
[model]
units = 4
hidden = [16, 8]
[train]
epochs = 2
threads = 1
patience = 9
[pretrain]
epochs = 2
"""
VARIANTS: dict[str, list[str]] = {
    "plain": [],
    "bfloat16": ["--storage", "bfloat16"],
    "three classes": ["--classes", "3"],
    "float64": ["--set", "train.precision=float64"],
    "device": ["--device", "torch"],
    "two workers": ["--workers", "2"],
    "two workers, bfloat16": ["--workers", "2", "--storage", "bfloat16", "--models", "lr", "lc-wide-deep"],
    "two workers on devices": ["--workers", "2", "--device", "torch", "--models", "lr", "lc-wide-deep"],
}


def main(words: list[str] | None = None) -> int:
    """Train, compare and print; return 1 where something differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--storage", default="float32", help="of the table: float32 or bfloat16")
    parser.add_argument("--classes", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--set-old", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--set-new", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--all", action="store_true", help="go through all variants")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "same_weights")
    options = parser.parse_args(words)
    if options.all:
        rest = ["--folder", str(options.folder)]
        for name in ("set", "set_old", "set_new"):
            rest += [word for each in getattr(options, name) for word in (f"--{name.replace('_', '-')}", each)]
        failed = []
        for name, more in VARIANTS.items():
            print(f"{name}:", flush=True)
            if main([str(options.old), str(options.new), *more, *rest]):
                failed.append(name)
        print(f"different: {', '.join(failed)}" if failed else "all the same")
        return int(bool(failed))
    settings = [
        f"train.table.storage={options.storage}",
        f"pretrain.table.storage={options.storage}",
        f"train.device={options.device}",
        *options.set,
    ]
    # Bags are divided by a norm since 0.2; without it, both read the same features.
    for checkout, given in ((options.old, options.set_old), (options.new, options.set_new)):
        homes = [checkout / "src" / "fieldwise" / name for name in ("schema/field.py", "schema.py")]
        if any("norm: Norm" in home.read_text() for home in homes if home.exists()):
            given.append("fields.tags.norm=none")
    log = options.folder / f"log-{options.classes}.parquet"
    if not log.exists():
        options.folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(make_log(options.classes), log)
    same = True
    for model in options.models:
        runs = []
        for checkout, own in ((options.old, options.set_old), (options.new, options.set_new)):
            name = "-".join([model, *sorted({*settings, *own}), str(options.classes), str(options.workers)])
            name = name.replace("/", "_")
            home = options.folder / (commit_of(checkout) if checkout == options.old else f"new-{os.getpid()}")
            train(checkout, home, log, home / name, [f"model.kind={model}", *settings, *own], options.workers)
            runs.append(home / name / "bundle")
        same = compare(model, *map(read, runs)) and same
    return int(not same)


def make_log(num_classes: int) -> pa.Table:
    """Return rows whose label follows all fields."""
    rng = np.random.default_rng(5)
    users, items = ((rng.random(NUM_ROWS) ** 2 * count).astype(int) for count in (1500, 300))
    price, age = np.round(rng.lognormal(size=NUM_ROWS), 3), rng.integers(18, 80, NUM_ROWS)
    tags = [sorted(set((rng.random(length) ** 2 * 30).astype(int).tolist())) for length in rng.integers(0, 5, NUM_ROWS)]
    effects = rng.normal(size=(3, 1500, num_classes))
    logits = effects[0, users] + effects[1, items] + np.log(price)[:, None] * effects[2, 40]
    logits += (age[:, None] - 50) / 30 * effects[2, 41]
    logits += np.array([effects[2, np.array(some, dtype=int)].sum(axis=0) for some in tags])
    return pa.table(
        {
            "user": [f"u{user}" for user in users],
            "item": items,
            "price": pa.array(price, mask=rng.random(NUM_ROWS) < 0.05),
            "age": age,
            "tags": ["|".join(f"t{tag}" for tag in some) for some in tags],
            "weight": np.round(rng.uniform(0.5, 2.0, NUM_ROWS), 2),
            "click": np.argmax(logits + rng.gumbel(size=logits.shape), axis=1),
        }
    )


def commit_of(checkout: Path) -> str:
    """Return the commit of a checkout."""
    words = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def train(checkout: Path, home: Path, log: Path, out: Path, settings: list[str], workers: int) -> None:
    """Let a checkout train a model into the run folder `out`; one that is finished is left alone."""
    home.mkdir(parents=True, exist_ok=True)
    config = home / f"{log.stem}.toml"
    config.write_text(CONFIG.format(log=log.absolute()))
    words = [str(checkout / ".venv/bin/fieldwise"), "train", str(config), "--out", str(out), "--json"]
    words += [word for setting in settings for word in ("--set", setting)]
    if workers > 1:
        words += ["--workers", str(workers)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}\n{done.stderr[-3000:]}")
    json.loads(done.stdout)


def read(bundle: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the weights of a saved model, the table's under ``table``."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    for part in ("table", "dense"):
        [file] = bundle.glob(f"{part}-*.safetensors")
        with safe_open(file, framework="np") as opened:
            for name in opened.keys():  # noqa: SIM118 (it is no dict)
                array = opened.get_tensor(name)
                arrays["table" if part == "table" else name] = array
    return arrays


def compare(model: str, old: dict[str, npt.NDArray[Any]], new: dict[str, npt.NDArray[Any]]) -> bool:
    """Print how two models differ, and return whether they do not."""
    renamed = {}
    for name in old.keys() - new.keys():
        for other in new.keys() - old.keys() - set(renamed.values()):
            if is_same(old[name], new[other]):
                renamed[name] = other
                break
    wrong = []
    for name, array in old.items():
        other = new.get(renamed.get(name, name))
        if other is None:
            wrong.append(f"{name} is missing")
        elif not is_same(array, other):
            wrong.append(f"{name} differs{difference(array, other)}")
    wrong += [f"{name} is new" for name in new.keys() - old.keys() - set(renamed.values())]
    count = sum(array.size for array in old.values())
    print(f"  {model}: {'; '.join(wrong) if wrong else f'{count:,} numbers, the same bits'}", flush=True)
    for name, other in sorted(renamed.items()):
        print(f"    {name} is now {other}")
    return not wrong


def is_same(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    """Return whether type, shape and all bits are the same."""
    return (one.dtype, one.shape) == (other.dtype, other.shape) and one.tobytes() == other.tobytes()


def difference(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> str:
    """Say how far two arrays are apart."""
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return f": {one.dtype} {one.shape} and {other.dtype} {other.shape}"
    if one.dtype == np.uint16:
        one, other = ((part.astype(np.uint32) << 16).view(np.float32) for part in (one, other))
    apart = np.abs(one.astype(np.float64) - other.astype(np.float64))
    return f" in {np.mean(apart > 0):.1%} of its numbers, by at most {apart.max():.3g}"


if __name__ == "__main__":
    sys.exit(main())
