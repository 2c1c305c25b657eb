"""How fast other libraries train on this machine, by their own APIs, beside ours: examples a second, and seconds to
each peer's own best AUC.

    python benchmarks/peer_speed.py [--quick] [--json] [--data synthetic,movielens-1m] [--peers ...]

synthetic     39 fields, D = 8.67 M, skewed ids; LC-DNN as wide as the peers' DNN: 10 units a field, hidden 400-400-400,
              batches of 4,096; without pairs and dropout, which they have not. A pass of peers is over some batches:
              an epoch of theirs takes minutes.
movielens-1m  the six fields with one value (no genres) of `fieldwise datasets movielens-1m`; all train on whole epochs,
              the test AUC is looked at after each, and ours with its default settings four times an epoch, until it has
              reached the peer's best.

`limit` is what the matrix products of our step alone allow, in the same precision; logistic regression has none here
(`lr.py`). The peers' environment is made below `--folder`. FuxiCTR's models are not in its wheel: see
`peer_libraries.py`. One thread count for all, `--threads`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from environment import peer_python
from lr import as_text, auc, existing

import fieldwise as fw
from fieldwise.data.batches import Batches
from fieldwise.data.cache import Cache, Examples
from fieldwise.data.cache_writer import CacheWriter
from fieldwise.jobs.machine import describe_machine
from fieldwise.jobs.speed import drawn_cache, drawn_layout, epoch_rate, network_products, products_seconds
from fieldwise.jobs.train.train import use_threads
from fieldwise.kernels.layout import SINGLE, Batch, Layout
from fieldwise.kernels.threads import num_threads
from fieldwise.models.click import build_model
from fieldwise.models.config import ModelConfig
from fieldwise.training.config import PretrainConfig, TrainConfig
from fieldwise.training.initial import set_base_rate
from fieldwise.training.make import make_stepper
from fieldwise.training.precision import has_bfloat16
from fieldwise.training.score import evaluate_model
from fieldwise.training.step import Stepper

LIBRARIES = ("torch==2.13.0", "deepctr-torch>=0.3,<0.4", "torch-rechub>=0.9,<0.10", "fuxictr>=2.3,<2.4", "polars<2",
             "lightgbm==4.7.0", "scipy")  # fmt: skip
NETWORKS, LINEAR = ("deepctr-torch", "torch-rechub", "fuxictr-dnn"), ("fuxictr-lr", "vowpal-wabbit")
PEERS = (*NETWORKS, *LINEAR, "lightgbm")
WIDTH, HIDDEN, BATCH = 10, (400, 400, 400), 4096
MAX_EPOCHS = 12


def main() -> None:
    """Measure, and print a line of JSON for each peer and data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    parser.add_argument("--quick", action="store_true", help="a few batches; one epoch; no AUC")
    parser.add_argument("--data", default="synthetic,movielens-1m")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--features", type=int, default=8_670_000, help="of the synthetic log")
    parser.add_argument("--epochs", type=int, default=3, help="of the peers on MovieLens-1M")
    parser.add_argument("--examples", type=int, help="of each part of MovieLens-1M; all unless given")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--folder", type=Path, default=Path("runs/peer-speed"), help="for logs and caches")
    arguments = parser.parse_args()
    use_threads(arguments.threads)
    lines = []
    for name in arguments.data.split(","):
        lines += (of_synthetic if name == "synthetic" else of_movielens)(arguments)
        if not arguments.json:
            print("\n".join(json.dumps(line) for line in lines), flush=True)
            lines.clear()
    if arguments.json:
        print(json.dumps({"machine": msgspec.to_builtins(describe_machine()), "lines": lines}, indent=1))


def of_synthetic(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the figures on the drawn log."""
    layout = drawn_layout(39, arguments.features)
    folder = arguments.folder / f"synthetic-{layout.num_features}"
    sizes = {"train": 64 * BATCH, "test": 8 * BATCH}
    caches = {
        part: existing(folder / part) or drawn_cache(folder / part, layout, size, seed)
        for seed, (part, size) in enumerate(sizes.items(), 1)
    }
    plain = ModelConfig(units=WIDTH, hidden=HIDDEN, fm_interactions=False, unit_dropout=0.0)
    steps = 4 if arguments.quick else 8
    ours, limits = {}, {}
    for precision in precisions():
        stepper = stepper_of(plain, layout, precision)
        ours[precision] = epoch_rate(stepper, caches["train"], num_epochs=1, max_batches=32)
        limits[precision] = BATCH / products_seconds(network_products(39 * WIDTH, HIDDEN), precision, 3)
    linear = epoch_rate(stepper_of(ModelConfig(kind="lr"), layout), caches["train"], num_epochs=3)
    lines = []
    for peer in arguments.peers.split(","):
        if peer == "vowpal-wabbit":
            found = of_vw(caches, folder, arguments, passes=1, aucs=False)
        else:
            few = 0 if peer == "lightgbm" else steps * BATCH
            found = of_library(peer, exported(caches, folder), arguments, examples=few, passes=1, aucs=False)
        for precision in precisions() if peer not in LINEAR else ["float32"]:
            mine = linear if peer in LINEAR else ours[precision]
            limit = None if peer in LINEAR else limits[precision]
            lines.append(line_of("synthetic", peer, precision, mine, found, limit))
    return lines


def of_movielens(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the figures on MovieLens-1M, with the seconds to each peer's best AUC."""
    folder = arguments.folder / f"movielens-1m{f'-{arguments.examples}' if arguments.examples else ''}"
    caches = movielens(folder, arguments.folder / "data", arguments.examples)
    layout = caches["train"].layout
    passes = 1 if arguments.quick else arguments.epochs
    rates, lines = {}, []
    for precision in precisions():
        same = ModelConfig(units=WIDTH, hidden=HIDDEN, fm_interactions=False, unit_dropout=0.0)
        rates[precision] = epoch_rate(stepper_of(same, layout, precision), caches["train"], num_epochs=1)
    linear = epoch_rate(stepper_of(ModelConfig(kind="lr"), layout), caches["train"], num_epochs=1)
    for peer in arguments.peers.split(","):
        if peer == "vowpal-wabbit":
            found = of_vw(caches, folder, arguments, passes, aucs=not arguments.quick)
        else:
            several = passes * 3 if peer == "lightgbm" else passes
            log = exported(caches, folder)
            found = of_library(peer, log, arguments, examples=0, passes=several, aucs=not arguments.quick)
        more = {}
        if found["aucs"]:
            best = int(np.argmax(found["aucs"]))
            reached = until(layout, caches, found["aucs"][best])
            more = {"peer_auc": found["aucs"][best], "peer_seconds": found["seconds"][best], **reached}
            if reached["our_seconds"]:
                more["sooner"] = more["peer_seconds"] / reached["our_seconds"]
        for precision in precisions() if peer not in LINEAR else ["float32"]:
            mine = linear if peer in LINEAR else rates[precision]
            lines.append({**line_of("movielens-1m", peer, precision, mine, found, None), **more})
    return lines


def line_of(
    data: str, peer: str, precision: str, ours: float, found: dict[str, Any], limit: float | None
) -> dict[str, Any]:
    """Return the figures of one peer: examples a second."""
    rate = found["examples_per_second"]
    of_trees = {"note": "of LightGBM: examples times passes of ten trees"} if peer == "lightgbm" else {}
    names = {"data": data, "peer_name": peer, "precision": precision, "unit": "examples/s", **of_trees}
    return {**names, "ours": ours, "peer": rate, "limit": limit, "ratio": ours / rate}


def precisions() -> list[str]:
    """Return those that this machine is fast in."""
    return ["float32", "bfloat16"] if has_bfloat16() else ["float32"]


def stepper_of(config: ModelConfig, layout: Layout, precision: str = "float32") -> Stepper:
    """Return what trains a model with the default optimizers."""
    model, settings = build_model(config, layout, 2), PretrainConfig() if config.kind == "lr" else TrainConfig()
    stepper = make_stepper(model, settings.table, settings.dense, BATCH, precision=precision)
    if config.kind != "lr":
        model.table.draw(0)
    return stepper


def until(layout: Layout, caches: dict[str, Cache], wanted: float) -> dict[str, Any]:
    """Train logistic regression and, from a random start, the default model, each until the test AUC is reached; return
    what took less time, of training alone.
    """
    found = [reach(ModelConfig(kind=kind), layout, caches, wanted) for kind in ("lr", "lc-dnn")]
    there = [one for one in found if one["our_seconds"] is not None]
    return min(there, key=lambda one: one["our_seconds"]) if there else max(found, key=lambda one: one["our_auc"])


def reach(config: ModelConfig, layout: Layout, caches: dict[str, Cache], wanted: float) -> dict[str, Any]:
    """Train one model until the test AUC is reached."""
    stepper, seconds, best = stepper_of(config, layout), 0.0, 0.0
    set_base_rate(stepper.model, caches["train"])
    batches = Batches(caches["train"], BATCH, seed=0)
    every = max(batches.num_batches // 4, 1)
    with stepper.at_work():
        for epoch in range(MAX_EPOCHS):
            with stepper.reading(batches, epoch, 0) as coming:
                started = time.perf_counter()
                for number, examples in enumerate(coming, 1):
                    stepper.model.train()
                    stepper.step(examples, 1.0)
                    if number % every == 0:
                        seconds += time.perf_counter() - started
                        found = evaluate_model(stepper.model, Batches(caches["test"], 8192, shuffle=False).epoch(0))
                        best = max(best, found.auc or 0.0)
                        if best >= wanted:
                            return {"our_auc": best, "our_seconds": seconds, "our_model": config.kind}
                        started = time.perf_counter()
    return {"our_auc": best, "our_seconds": None, "our_model": config.kind}


def of_library(
    peer: str, log: Path, arguments: argparse.Namespace, examples: int, passes: int, aucs: bool
) -> dict[str, Any]:
    """Run a peer in its environment; the best of one thread and of all."""
    python = peer_python("libraries", *LIBRARIES, root=arguments.folder / "environments")
    found = []
    for threads in sorted({1, num_threads()}) if not aucs else [num_threads()]:
        options = {"examples": examples, "threads": threads, "passes": passes, "aucs": aucs, "batch": BATCH,
                   "width": WIDTH, "hidden": HIDDEN}  # fmt: skip
        script = Path(__file__).with_name("peer_libraries.py")
        done = subprocess.run([python, script, peer, log, json.dumps(options)], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{peer} failed:\n{done.stderr[-2000:]}")
        found.append(json.loads(done.stdout.splitlines()[-1]))
    best: dict[str, Any] = max(found, key=lambda figures: figures["examples_per_second"])
    return best


def of_vw(
    caches: dict[str, Cache], folder: Path, arguments: argparse.Namespace, passes: int, aucs: bool
) -> dict[str, Any]:
    """Run Vowpal Wabbit over its own cache."""
    python = peer_python("vowpalwabbit", "vowpalwabbit>=9.11,<9.12", root=arguments.folder / "environments")
    texts = [str(as_text(caches[part], folder / f"{part}.vw")) for part in ("train", "test")]
    command = [str(python), str(Path(__file__).with_name("vw_peer.py")), *texts, str(passes)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"vw failed:\n{done.stderr[-2000:]}")
    peer = json.loads(done.stdout.splitlines()[-1])
    labels = caches["test"].gather(np.arange(caches["test"].num_examples)).labels
    assert labels is not None
    a_pass = statistics.median(seconds / number for number, seconds in enumerate(peer["seconds"], 1))
    found = [auc(np.loadtxt(path, dtype=np.float32), labels) for path in peer["predictions"]] if aucs else []
    return {
        "seconds": peer["seconds"],
        "aucs": found,
        "examples_per_second": caches["train"].num_examples / a_pass,
    }


def exported(caches: dict[str, Cache], folder: Path) -> Path:
    """Write the ids of both parts as plain arrays."""
    path = folder / "log.npz"
    if not path.exists():
        arrays: dict[str, Any] = {"rows": np.diff(caches["train"].layout.base)}
        for part, cache in caches.items():
            examples = cache.gather(np.arange(cache.num_examples))
            arrays |= {f"{part}_ids": examples.batch.ids.T.astype(np.int32), f"{part}_labels": examples.labels}
        np.savez(path.with_suffix(".tmp.npz"), **arrays)
        path.with_suffix(".tmp.npz").rename(path)
    return path


def movielens(folder: Path, data: Path, most: int | None) -> dict[str, Cache]:
    """Return caches of the train and test rows, the first so many, with the fields of one value alone."""
    found = {part: existing(folder / part) for part in ("train", "test")}
    if any(cache is None for cache in found.values()):
        command = [sys.executable, "-m", "fieldwise", "datasets", "movielens-1m", "--out", str(data)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        prepared = fw.prepare(fw.load_config(data / "movielens-1m.toml"))
        layout = prepared.encoder.layout
        single = layout.form == SINGLE
        small = Layout.of([SINGLE] * int(single.sum()), np.diff(layout.base)[single].tolist())
        for part in found:
            cache = prepared.parts[part]
            with CacheWriter(folder / part, small, num_classes=2) as writer:
                num_examples = min(most or cache.num_examples, cache.num_examples)
                for first in range(0, num_examples, 1 << 16):
                    rows = np.arange(first, min(first + (1 << 16), num_examples))
                    examples = cache.gather(rows)
                    none = np.empty(0, dtype=np.float32)
                    batch = Batch(
                        examples.batch.ids[layout.single[single]],
                        none.reshape(0, len(rows)),
                        np.empty((0, len(rows) + 1), dtype=np.int64),
                        none.astype(np.uint32),
                        none,
                    )
                    writer.add(Examples(batch, examples.labels, None, None))
    return {part: Cache.open(folder / part) for part in found}


if __name__ == "__main__":
    main()
