"""How fast logistic regression trains: against a bare loop on ids in memory, and against Vowpal Wabbit.

    python benchmarks/lr.py --json              # about ten minutes, most of it drawing logs and VW
    python benchmarks/lr.py --quick --json

Two logs of skewed ids over D = 8.67 M features, with 39 and 158 fields. *Ours* is a whole epoch: the cache is read and
shuffled, batches of 4096 are stepped through. *Limit* is the same step as a bare loop with the same meaning (gather,
accumulate, apply; Adagrad) on ids that lie in memory. Both have gone over everything once before: `first_epoch` is ours
with the clearing of the table's pages and the checksums of all blocks. *Peer* is Vowpal Wabbit 9.11 learning from its
own binary cache, wall time. Ours and the limit alternate in one process, and figures are medians. Features a second;
`ratio` is ours over the limit, `peer_ratio` ours over the peer; `_cpu` the same by the seconds of all processors, for a
machine with other work on it. Then the seconds of learning until the peer's best test AUC.
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
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parent))

from environment import peer_python

from fieldwise.data.batches import Batches
from fieldwise.data.cache import Cache
from fieldwise.jobs.machine import describe_machine
from fieldwise.jobs.speed import bare_rate, drawn_cache, drawn_layout, epoch_rate, lr_stepper
from fieldwise.jobs.train.train import use_threads
from fieldwise.kernels.layout import Layout
from fieldwise.metrics import BinaryMetrics
from fieldwise.training.score import evaluate_model

_FEATURES = 8_670_000
_TEST = 50_000


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="small logs, one run each")
    parser.add_argument("--folder", type=Path, default=Path("runs/lr"), help="for logs and caches")
    parser.add_argument("--fields", type=int, action="append", help="39 and 158 unless given")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--no-peer", action="store_true", help="without Vowpal Wabbit")
    parser.add_argument("--only-peer", action="store_true", help="Vowpal Wabbit and the way to its AUC alone")
    arguments = parser.parse_args()
    use_threads(arguments.threads)
    results = []
    for num_fields in arguments.fields or [39, 158]:
        results.append(measure(num_fields, arguments))
        if not arguments.json:
            print(json.dumps(results[-1], indent=1))
    if arguments.json:
        print(json.dumps({"machine": msgspec.to_builtins(describe_machine()), "results": results}, indent=1))


def measure(num_fields: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one log."""
    quick = arguments.quick
    num_examples = (20_000_000 if quick else 80_000_000) // num_fields
    layout = drawn_layout(num_fields, _FEATURES)
    folder = arguments.folder / f"{num_fields}-{num_examples}"
    train, test = (
        existing(folder / name) or drawn_cache(folder / name, layout, size, seed)
        for name, size, seed in (("train", num_examples, 1), ("test", _TEST, 2))
    )
    figures: dict[str, Any] = {"fields": num_fields, "features": layout.num_features, "examples": num_examples}
    if not arguments.only_peer:
        figures |= against_limit(layout, train, 1 if quick else 5)
    if not arguments.no_peer:
        figures |= against_peer(layout, train, test, folder, 1 if quick else 3)
    if "ours" in figures and "peer" in figures:
        figures["peer_ratio"] = figures["ours"] / figures["peer"]
        figures["peer_ratio_cpu"] = figures["ours_cpu"] / figures["peer_cpu"]
    return figures


def existing(folder: Path) -> Cache | None:
    """Return a cache that an earlier run has drawn."""
    return Cache.open(folder) if (folder / "manifest.json").exists() else None


def against_limit(layout: Layout, train: Cache, repeats: int) -> dict[str, Any]:
    """Return our rate, the bare loop's and their ratio, from runs that alternate."""
    stepper = lr_stepper(layout)
    first = epoch_rate(stepper, train, num_epochs=1) * layout.num_fields
    figures: dict[str, Any] = {"unit": "features/s", "first_epoch": first}
    for suffix, cpu in (("", False), ("_cpu", True)):
        pairs = []
        for _ in range(repeats):
            ours = epoch_rate(stepper, train, num_epochs=1, cpu=cpu) * layout.num_fields
            pairs.append((ours, bare_rate(layout, num_batches=24, repeats=1, cpu=cpu)))
        figures[f"ours{suffix}"] = statistics.median(ours for ours, _ in pairs)
        figures[f"limit{suffix}"] = statistics.median(limit for _, limit in pairs)
        figures[f"ratio{suffix}"] = statistics.median(ours / limit for ours, limit in pairs)
    return figures


def against_peer(layout: Layout, train: Cache, test: Cache, folder: Path, passes: int) -> dict[str, Any]:
    """Return VW's rate and AUC after each pass, and how long we take to its best."""
    python = peer_python("vowpalwabbit", "vowpalwabbit>=9.11,<9.12")
    texts = [as_text(cache, folder / f"{name}.vw") for name, cache in (("train", train), ("test", test))]
    command = [str(python), str(Path(__file__).with_name("vw_peer.py")), *map(str, texts), str(passes)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"vw failed:\n{done.stderr[-2000:]}")
    peer = json.loads(done.stdout.splitlines()[-1])
    labels = test.gather(np.arange(test.num_examples)).labels
    assert labels is not None
    aucs = [auc(np.loadtxt(path, dtype=np.float32), labels) for path in peer["predictions"]]
    best = int(np.argmax(aucs))
    a_pass, a_pass_cpu = (min(s / (number + 1) for number, s in enumerate(peer[key])) for key in ("seconds", "cpu"))
    reached = until(layout, train, test, aucs[best])
    return {
        "peer": train.num_examples * layout.num_fields / a_pass,
        "peer_cpu": train.num_examples * layout.num_fields / a_pass_cpu,
        "peer_text": train.num_examples * layout.num_fields / peer["text_seconds"],
        "peer_auc": aucs,
        "peer_seconds": peer["seconds"],
        "seconds_to_peer_auc": reached["seconds"],
        "our_auc": reached["auc"],
        "sooner": peer["seconds"][best] / reached["seconds"] if reached["seconds"] else None,
    }


def auc(predicted: npt.NDArray[np.float32], labels: npt.NDArray[np.int32]) -> float:
    """Return the exact AUC."""
    metrics = BinaryMetrics()
    metrics.update(predicted, labels, None, None)
    found = metrics.compute().auc
    assert found is not None
    return found


def until(layout: Layout, train: Cache, test: Cache, wanted: float) -> dict[str, Any]:
    """Train until the test AUC is reached, eight epochs at most; count training alone, and look four times an epoch."""
    stepper = lr_stepper(layout)
    seconds, best = 0.0, 0.0
    batches = Batches(train, 4096, seed=0)
    every = max(batches.num_batches // 4, 1)
    for epoch in range(8):
        with stepper.reading(batches, epoch, 0) as coming:
            started = time.perf_counter()
            for number, examples in enumerate(coming, 1):
                stepper.model.train()
                stepper.step(examples, 1.0)
                if number % every == 0:
                    seconds += time.perf_counter() - started
                    found = evaluate_model(stepper.model, Batches(test, 8192, shuffle=False).epoch(0)).auc
                    best = max(best, found or 0.0)
                    if best >= wanted:
                        return {"seconds": seconds, "auc": best}
                    started = time.perf_counter()
    return {"seconds": None, "auc": best}


def as_text(cache: Cache, path: Path) -> Path:
    """Write a cache as VW's text: every feature by its number, so that nothing collides."""
    if path.exists():
        return path
    layout = cache.layout
    temporary = path.with_suffix(".tmp")
    with temporary.open("w") as file:
        for first in range(0, cache.num_examples, 8192):
            examples = cache.gather(np.arange(first, min(first + 8192, cache.num_examples)))
            assert examples.labels is not None
            numbers = (examples.batch.ids + layout.base[:-1, None]).T
            for label, row in zip(examples.labels.tolist(), numbers.tolist(), strict=True):
                file.write(f"{1 if label else -1} |f {' '.join(map(str, row))}\n")
    temporary.rename(path)
    return path


if __name__ == "__main__":
    main()
