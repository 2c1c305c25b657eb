"""What a training step of LC-DNN costs beyond its matrix products, and beside the way that PyTorch libraries train.

    python benchmarks/dense.py [--json] [--quick] [--cpu]

For each shape and precision, in processes of their own, in turn:

limit   the sum of the products of all layers (forward, dx, dW), each at the best rate found among ways to call the
        library: torch's own product on all threads; parts of the result on one thread each, from torch and from oneDNN,
        with operands turned or packed beforehand, which is not counted
ours    a whole step on a cache on disk: reading and shuffling, gather, forward, backward, both optimizers, and
        how much of it the step waits for its batch
peer    nn.Embedding + nn.Sequential + torch.optim.Adam on ids in memory, in float32

Medians over steps, then over repeats. `--cpu` counts seconds of all processors together, which other work on the
machine disturbs less; a step is then charged for what its threads do, not for waiting.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from measure import in_process, medians
from torch import Tensor, nn

from fieldwise.data.batches import Batches
from fieldwise.data.cache import Cache, Examples
from fieldwise.data.cache_writer import CacheWriter
from fieldwise.kernels.layout import SINGLE, Batch, Layout
from fieldwise.kernels.threads import num_threads
from fieldwise.models.click import build_model
from fieldwise.models.config import ModelConfig
from fieldwise.nn.blocks import run_blocks, single_threaded_torch
from fieldwise.nn.product import has_product, product
from fieldwise.tables.config import TableOptimizerConfig
from fieldwise.training.config import DenseOptimizerConfig
from fieldwise.training.make import make_stepper

NUM_FEATURES, BATCH_SIZE = 8_670_000, 4096
LARGE = {"num_fields": 158, "hidden": [2048, 1024]}
SHAPES: list[dict[str, Any]] = [
    {**LARGE, "units": 1, "peer": True},
    {**LARGE, "units": 10, "peer": True},
    {"num_fields": 39, "units": 8, "hidden": [256, 128], "peer": False},
    {"num_fields": 39, "units": 10, "hidden": [400, 400, 400], "peer": False},
    {"num_fields": 7, "units": 8, "hidden": [256, 128], "peer": False},
]


def make_batch(rng: np.random.Generator, num_fields: int, num_examples: int) -> Examples:
    """Return examples whose ids are skewed as those of logs are."""
    none, rows = np.empty(0, np.float32), NUM_FEATURES // num_fields
    ids = (rng.random((num_fields, num_examples)) ** 3 * rows).astype(np.uint32)
    batch = Batch(
        ids, none.reshape(0, num_examples), np.empty((0, num_examples + 1), np.int64), np.empty(0, np.uint32), none
    )
    return Examples(batch, rng.integers(0, 2, num_examples).astype(np.int32), None, None)


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def seconds(function: Callable[[], object], repeats: int, clock: Callable[[], float]) -> float:
    """Return the median seconds of a call, after one to warm up."""
    function()
    found = []
    for _ in range(repeats):
        started = clock()
        function()
        found.append(clock() - started)
    return median(found)


def ways(x: Tensor, w: Tensor, dz: Tensor) -> Iterator[tuple[str, Callable[[slice], object], int]]:
    """Yield, for every way to take a product of a layer, its name, a call for a part of the result, and its rows."""
    onednn, pack = torch.ops.mkldnn._linear_pointwise, torch.ops.mkldnn._reorder_linear_weight
    y, dx, dw = torch.empty_like(dz), torch.empty_like(x), torch.empty_like(w)
    for name, a, b, out in (("forward", x, w, y), ("dx", dz, w.t(), dx), ("dW", dz.t(), x.t(), dw)):
        turned = a.contiguous()
        yield name, lambda of, a=a, b=b, out=out: torch.mm(a[of], b.t(), out=out[of]), len(a)
        yield name, lambda of, a=turned, b=b, out=out: torch.mm(a[of], b.t(), out=out[of]), len(a)
        # Without a primitive for bfloat16 the step takes its products through float32, and so does the limit.
        yield name, lambda of, a=turned, b=b: product(a[of], b), len(a)
        if min(b.shape) > 1 and has_product(a.dtype):
            for weight in (b, b.contiguous(), pack(b.contiguous(), len(a))):
                yield name, lambda of, a=turned, b=weight: onednn(a[of], b, None, "none", [], ""), len(a)


def limit(num_fields: int, units: int, hidden: list[int], precision: str, repeats: int, clock: str) -> dict[str, Any]:
    """Return the best seconds found for all products of a step."""
    dtype, total, threads = getattr(torch, precision), 0.0, num_threads()
    widths = [num_fields * units, *hidden, 1]
    for layer, (num_inputs, num_outputs) in enumerate(itertools.pairwise(widths)):
        of_last = torch.float32 if layer == len(hidden) else dtype
        x, w, dz = (
            torch.randn(shape).to(of_last)
            for shape in ((BATCH_SIZE, num_inputs), (num_outputs, num_inputs), (BATCH_SIZE, num_outputs))
        )
        best: dict[str, float] = {}
        with torch.no_grad():
            for name, call, num_rows in ways(x, w, dz):
                tried = [seconds(lambda call=call: call(slice(None)), repeats, CLOCKS[clock])]
                with single_threaded_torch():
                    for parts in (threads, 4 * threads):
                        cuts = [num_rows * part // parts for part in range(parts + 1)]
                        blocks = [slice(a, b) for a, b in itertools.pairwise(cuts) if a < b]
                        tried.append(
                            seconds(lambda call=call, blocks=blocks: run_blocks(call, blocks), repeats, CLOCKS[clock])
                        )
                best[name] = min([*tried, best.get(name, np.inf)])
        total += sum(best.values())
    flop = sum(2 * 3 * BATCH_SIZE * a * b for a, b in itertools.pairwise(widths))
    return {"limit": total, "limit_gflops": flop / total / 1e9}


def ours(
    num_fields: int, units: int, hidden: list[int], precision: str, num_steps: int, folder: str, clock: str
) -> dict[str, Any]:
    """Return the seconds of a step, and of those it waits for its batch."""
    layout = Layout.of([SINGLE] * num_fields, [NUM_FEATURES // num_fields] * num_fields)
    if not (Path(folder) / "manifest.json").exists():
        rng = np.random.default_rng(0)
        with CacheWriter(folder, layout, num_classes=2) as writer:
            for _ in range(24):
                writer.add(make_batch(rng, num_fields, BATCH_SIZE))
    model = build_model(ModelConfig(kind="lc-dnn", units=units, hidden=tuple(hidden)), layout, 2).train()
    stepper = make_stepper(model, TableOptimizerConfig(), DenseOptimizerConfig(), BATCH_SIZE, precision=precision)
    model.table.draw(0)
    batches = Batches(Cache.open(folder), BATCH_SIZE)
    whole: list[float] = []
    waiting: list[float] = []
    with stepper.at_work():
        for epoch in range(99):
            with stepper.reading(batches, epoch, 0) as examples_of_epoch:
                started, asked = CLOCKS[clock](), time.perf_counter()
                for number, examples in enumerate(examples_of_epoch):
                    arrived = time.perf_counter()
                    stepper.step(examples, 1.0)
                    ended = CLOCKS[clock]()
                    if number >= 3:  # before, rows and blocks are touched for the first time
                        whole.append(ended - started)
                        waiting.append(arrived - asked)
                    started, asked = ended, time.perf_counter()
                    if len(whole) == num_steps:
                        return {"ours": median(whole), "waiting": median(waiting)}
    raise AssertionError("no step was taken")


def peer(num_fields: int, units: int, hidden: list[int], num_steps: int, clock: str) -> dict[str, Any]:
    """Return the seconds of a step of plain PyTorch."""
    rng = np.random.default_rng(0)
    rows = NUM_FEATURES // num_fields
    base = torch.arange(num_fields) * rows
    widths = [num_fields * units, *hidden]
    layers = [part for a, b in zip(widths, hidden, strict=False) for part in (nn.Linear(a, b), nn.ReLU())]
    model = nn.Sequential(
        nn.Embedding(NUM_FEATURES, units), nn.Flatten(), *layers, nn.Linear(widths[-1], 1), nn.Flatten(0)
    )
    optimizer = torch.optim.Adam(model.parameters())
    examples = [make_batch(rng, num_fields, BATCH_SIZE) for _ in range(4)]
    batches = [
        (torch.from_numpy(part.batch.ids.T.astype(np.int64)) + base, torch.from_numpy(part.labels).float())
        for part in examples
        if part.labels is not None
    ]
    found = []
    for step in range(num_steps + 2):
        started = CLOCKS[clock]()
        ids, labels = batches[step % len(batches)]
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(model(ids), labels).backward()
        optimizer.step()
        found.append(CLOCKS[clock]() - started)
    return {"peer": median(found[2:])}


def machine() -> str:
    """Describe the machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor()
    return f"{name}, {num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}"


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    parser.add_argument("--quick", action="store_true", help="the first shape alone, a few steps")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cpu", action="store_true", help="processor seconds in place of seconds")
    parser.add_argument("--task", choices=["limit", "ours", "peer"], help=argparse.SUPPRESS)
    parser.add_argument("--options", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        print(json.dumps({"limit": limit, "ours": ours, "peer": peer}[arguments.task](**arguments.options)))
        return
    repeats, num_steps = (1, 8) if arguments.quick else (arguments.repeats, 20)
    results = []
    for shape in SHAPES[:1] if arguments.quick else SHAPES:
        of = {key: value for key, value in shape.items() if key != "peer"}
        clock = "cpu" if arguments.cpu else "wall"
        runs: dict[str, list[dict[str, Any]]] = {"float32": [], "bfloat16": [], "peer": []}
        with tempfile.TemporaryDirectory() as folder:
            for _ in range(repeats):
                if shape["peer"]:
                    runs["peer"].append(in_process(__file__, "peer", **of, num_steps=4, clock=clock))
                for precision in ("float32", "bfloat16"):
                    common = {**of, "precision": precision, "clock": clock}
                    products = in_process(__file__, "limit", **common, repeats=5)
                    step = in_process(__file__, "ours", **common, num_steps=num_steps, folder=folder)
                    runs[precision].append({**products, **step})
        of_peer = medians(runs["peer"]) if runs["peer"] else {}
        for precision in ("float32", "bfloat16"):
            figures = {**medians(runs[precision]), **of_peer}
            row = {**of, "precision": precision, "clock": clock, **figures, "ratio": figures["ours"] / figures["limit"]}
            row["examples_per_second"] = BATCH_SIZE / row["ours"]
            if of_peer:
                row["times_peer"] = row["peer"] / row["ours"]
            results.append(row)
            if not arguments.json:
                print(describe(row), flush=True)
    about = {"machine": machine(), "features": NUM_FEATURES, "batch_size": BATCH_SIZE}
    print(json.dumps({**about, "results": results}) if arguments.json else f"\n{about}")


def describe(row: dict[str, Any]) -> str:
    """Return a line for people; milliseconds."""
    line = f"{row['num_fields']:3} fields, K = {row['units']:2}, {row['hidden']!s:16} {row['precision']:8}"
    line += f" products {row['limit'] * 1e3:7.2f} ({row['limit_gflops']:4.0f} GFLOP/s)  step {row['ours'] * 1e3:7.2f}"
    line += f" = {row['ratio']:.2f} times, waiting {row['waiting'] * 1e3:.2f}, {row['examples_per_second']:9,.0f} /s"
    return line + (f", peer {row['peer'] * 1e3:8.2f}: {row['times_peer']:.1f} times" if "peer" in row else "")


if __name__ == "__main__":
    main()
