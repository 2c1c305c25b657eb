"""What a GPU does for the table and for a whole step, beside its own limits and the processor.

    python benchmarks/gpu.py [--json] [--quick] [--device torch]

For tables of 8.67 M rows and batches of 4,096 examples with skewed ids, on the GPU:

gather  rows of the batch into outputs; limit: torch.index_select of the same rows, weights alone
update  gradients sorted by row, summed, and the rows moved by Adam; limit: reading and writing once the rows
        that the batch touches, with their state
step    a whole training step of LR and LC-DNN with batches from memory; peer: the same on the processor
copy    a batch from the host; limit: the same bytes from page-locked memory

Every figure is a median; `ratio` is the limit's (or the peer's) seconds over ours. Nothing here has been run on a GPU
yet: `--device torch` runs the same lines on the processor, to see that they run, and its figures say nothing about a
GPU.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import msgspec
import numpy as np
import torch

from fieldwise.data.cache import Examples
from fieldwise.errors import ConfigError
from fieldwise.jobs.machine import describe_machine
from fieldwise.jobs.speed import drawn_batch
from fieldwise.kernels.layout import SINGLE, Layout
from fieldwise.models.click import build_model
from fieldwise.models.config import ModelConfig
from fieldwise.tables.config import TableOptimizerConfig
from fieldwise.tables.device import DeviceTable
from fieldwise.tables.optimizer import Rule
from fieldwise.tables.torch_ops import operations
from fieldwise.tables.torch_ops.batch import Placing, merge_plan
from fieldwise.training.config import DenseOptimizerConfig
from fieldwise.training.device import choose_device
from fieldwise.training.make import make_stepper

NUM_FEATURES, BATCH_SIZE = 8_670_000, 4096
TABLES = [(39, 1), (39, 16), (158, 1), (158, 10)]
MODELS: list[tuple[str, int, dict[str, Any]]] = [
    ("LR", 39, {"kind": "lr"}),
    ("LC-DNN 39 fields, 10 units, [400, 400, 400]", 39, {"kind": "lc-dnn", "units": 10, "hidden": (400, 400, 400)}),
    ("LC-DNN 158 fields, 1 unit, [2048, 1024]", 158, {"kind": "lc-dnn", "units": 1, "hidden": (2048, 1024)}),
]


def make_layout(num_fields: int, num_features: int) -> Layout:
    """Return fields of equal size."""
    return Layout.of([SINGLE] * num_fields, [num_features // num_fields] * num_fields)


class Clock:
    """Median seconds of a call, the device having done all of its work."""

    def __init__(self, device: torch.device | None, repeats: int) -> None:
        self.on_gpu, self.repeats = device is not None and device.type == "cuda", repeats

    def __call__(self, function: Callable[[], object]) -> float:
        """Measure a call."""
        for _ in range(3):
            function()
        found = []
        for _ in range(self.repeats):
            self._wait()
            started = time.perf_counter()
            function()
            self._wait()
            found.append(time.perf_counter() - started)
        return median(found)

    def _wait(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize()


def result(name: str, seconds: float, **others: float) -> dict[str, Any]:
    """Return a figure in milliseconds beside its limit or peer."""
    [(role, against)] = others.items()
    return {"name": name, "unit": "ms", "ours": seconds * 1e3, role: against * 1e3, "ratio": against / seconds}


def of_tables(device: torch.device, clock: Clock, num_features: int) -> Iterator[dict[str, Any]]:
    """Measure gather, update and copy."""
    for num_fields, units in TABLES:
        layout = make_layout(num_fields, num_features)
        batch = drawn_batch(layout, BATCH_SIZE, np.random.default_rng(0))
        table = DeviceTable(layout, units, 0, device=device).train_by(TableOptimizerConfig(), BATCH_SIZE)
        table.draw(0)
        rows, there = table.stored, Placing(layout, device).place(batch)
        what = f"{num_fields} fields, {units} units"
        weights = rows[:, :units].contiguous()
        limit = clock(lambda weights=weights, at=there.rows: weights.index_select(0, at))
        ours = clock(
            lambda rows=rows, there=there, f=num_fields, k=units: operations.gather(rows, there, f, k, 0, torch.float32)
        )
        yield result(f"gather, {what}", ours, limit=limit)
        touched, rule = there.rows.unique().long(), Rule("adam", (0.01, 1e-8, 0.0, 0.9, 0.999, 10), 1)
        limit = clock(lambda rows=rows, at=touched: rows.index_copy_(0, at, rows.index_select(0, at)))
        local = torch.randn(BATCH_SIZE, num_fields * units, device=device)
        full = local.new_empty(BATCH_SIZE, 0)

        def update(there: Any = there, rows: Any = rows, local: Any = local, full: Any = full) -> None:
            merge = merge_plan(there, len(rows) - 1)
            operations.update(rows, there, merge, local, full, num_fields, rule)  # noqa: B023

        yield result(f"update, {what}", clock(update), limit=limit)
        yield result(f"sort alone, {what}", clock(lambda at=there.rows: torch.sort(at, stable=True)), limit=limit)
        placing = Placing(layout, device)
        room = torch.empty(batch.ids.nbytes, dtype=torch.uint8, pin_memory=device.type == "cuda")
        limit = clock(lambda room=room: room.to(device, non_blocking=True, copy=True))
        yield result(f"copy, {what}", clock(lambda p=placing, batch=batch: p.place(batch)), limit=limit)


def of_steps(device: torch.device, clock: Clock, num_features: int) -> Iterator[dict[str, Any]]:
    """Measure whole steps."""
    for name, num_fields, options in MODELS:
        layout, rng = make_layout(num_fields, num_features), np.random.default_rng(0)
        batches = [
            Examples(drawn_batch(layout, BATCH_SIZE, rng), rng.integers(0, 2, BATCH_SIZE).astype(np.int32), None, None)
            for _ in range(4)
        ]
        seconds = []
        for where in (device, None):
            model = build_model(ModelConfig(fm_interactions=False, **options), layout, 2).train()
            settings = TableOptimizerConfig(), DenseOptimizerConfig(), BATCH_SIZE
            stepper = make_stepper(model, *settings, device=where, precision="auto")
            model.table.draw(0)

            def epoch(stepper: Any = stepper, batches: list[Examples] = batches) -> None:
                for examples in stepper.ahead(batches * 4):
                    stepper.step(examples, 1.0)

            with stepper.at_work():
                seconds.append(Clock(where, max(clock.repeats // 4, 1))(epoch) / (4 * len(batches)))
            del model, stepper, epoch
        yield result(f"step, {name}", seconds[0], peer=seconds[1])


def main() -> None:
    """Measure and print, or say why nothing can be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, few repeats")
    parser.add_argument("--device", choices=("cuda", "torch"), default="cuda")
    arguments = parser.parse_args()
    try:
        device = choose_device(arguments.device)
    except ConfigError as error:
        print(f"nothing to measure: {error}", file=sys.stderr)
        sys.exit(2)
    assert device is not None, "choose_device returns one or raises"
    clock = Clock(device, 3 if arguments.quick else 20)
    num_features = NUM_FEATURES // 10 if arguments.quick else NUM_FEATURES
    name = torch.cuda.get_device_name() if device.type == "cuda" else "the processor, by torch's operations: no GPU"
    if not arguments.json:
        print(f"{name}; torch {torch.__version__}\n")
    results = []
    for figures in (of_tables, of_steps):
        for figure in figures(device, clock, num_features):
            results.append(figure)
            if not arguments.json:
                role = "limit" if "limit" in figure else "peer"
                ours, against = figure["ours"], figure[role]
                print(f"{figure['name']:<62} {ours:9.3f} ms   {role} {against:9.3f} ms   {figure['ratio']:.2f}")
    if arguments.json:
        machine = {**msgspec.to_builtins(describe_machine()), "gpu": name}
        print(json.dumps({"machine": machine, "results": results}, indent=1))


if __name__ == "__main__":
    main()
