"""What an example costs against the number of features, fields, units, examples in a batch, and threads.

    python benchmarks/scale.py --json            # half an hour, and 13 GB of memory for a billion features
    python benchmarks/scale.py --quick --json    # two minutes, up to ten million features
    python benchmarks/scale.py --only features

features  D = 10^5 .. 10^9: the table's own part (gather and update, one unit per field, Adagrad) beside a bare loop
          with the same meaning at the same D, and a whole step of LC-DNN with hidden [64]; the memory that was said
          beforehand and what it was
billion   LC-W&D in bfloat16, the other model that a billion features are for; LC-DNN's line is the last of `features`
fields    F = 10 .. 640, D = 8.67 M
units     K = 1 .. 64
batch     B = 256 .. 65,536
threads   1 .. all

Every line is a process of its own: microseconds an example, wall and processor time (`cpu`), medians. In `features`,
`ours` is the table's part, `limit` the bare loop, `ratio` limit over ours; skewed ids (each value about as likely as
1 / rank^1.1, one in a hundred any).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from measure import PeakMemory, in_process, measured

from fieldwise.data.cache import Examples
from fieldwise.jobs.machine import describe_machine
from fieldwise.jobs.speed import bare_rate, drawn_batch, drawn_layout, network_stepper
from fieldwise.jobs.train.train import use_threads
from fieldwise.kernels.layout import Batch, Layout
from fieldwise.kernels.table import gather
from fieldwise.models.config import ModelConfig
from fieldwise.models.memory import training_memory
from fieldwise.models.sizes import count_parameters
from fieldwise.tables.config import TableOptimizerConfig

_MANY = 8_670_000
_AXES = {
    "features": ("features", "features D"),
    "fields": ("fields", "fields F"),
    "units": ("units", "units K of a field"),
    "batch": ("batch", "examples B of a batch"),
    "threads": ("threads", "threads"),
}
"""Of the plot: what a part varies, and how its axis is called."""


def main() -> None:
    """Run the parts, or one task in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--keep", type=Path, help="a folder for the table and the plot, named by the date")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--options", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        measured(step_costs, json.loads(arguments.options))
        return
    results: dict[str, Any] = {"machine": msgspec.to_builtins(describe_machine())}
    for name in arguments.only or PARTS:
        results[name] = [
            {**options, **in_process(__file__, "step", **options)} for options in PARTS[name](arguments.quick)
        ]
        if not arguments.json:
            show(name, results[name])
    if arguments.json:
        print(json.dumps(results, indent=1))
    if arguments.keep:
        keep(arguments.keep, results)


def by_features(quick: bool) -> list[dict[str, Any]]:
    """D grows."""
    return [{"features": 10**power} for power in range(5, 8 if quick else 10)]


def billion(quick: bool) -> list[dict[str, Any]]:
    """A billion features with a wide part too, which fit as bfloat16."""
    return [
        {
            "features": 10**7 if quick else 10**9,
            "kind": "lc-wide-deep",
            "optimizer": "rowwise-adagrad",
            "storage": "bfloat16",
            "bare": False,
        }
    ]


def by_fields(quick: bool) -> list[dict[str, Any]]:
    """F grows."""
    return [{"fields": fields} for fields in ([10, 160] if quick else [10, 40, 160, 640])]


def by_units(quick: bool) -> list[dict[str, Any]]:
    """K grows."""
    return [
        {"units": units, "bare": units == 1, "optimizer": "rowwise-adagrad"}
        for units in ([1, 8] if quick else [1, 4, 8, 16, 64])
    ]


def by_batch(quick: bool) -> list[dict[str, Any]]:
    """B grows."""
    return [{"batch": batch} for batch in ([256, 4096] if quick else [256, 1024, 4096, 16_384, 65_536])]


def by_threads(quick: bool) -> list[dict[str, Any]]:
    """Threads are added."""
    cores = len(os.sched_getaffinity(0))
    counts = [count for count in (1, 2, 4, 8, 16, 32, 64) if count < cores] + [cores]
    return [{"threads": count} for count in counts]


PARTS: dict[str, Callable[[bool], list[dict[str, Any]]]] = {
    "features": by_features,
    "billion": billion,
    "fields": by_fields,
    "units": by_units,
    "batch": by_batch,
    "threads": by_threads,
}


def step_costs(
    features: int = _MANY,
    fields: int = 39,
    units: int = 1,
    batch: int = 4096,
    threads: int | None = None,
    kind: str = "lc-dnn",
    optimizer: str = "adagrad",
    storage: str = "float32",
    bare: bool = True,
) -> dict[str, Any]:
    """Measure one model: the table's part and the whole step, and the bare loop where it is asked for."""
    use_threads(threads)
    layout = drawn_layout(fields, features)
    rng = np.random.default_rng(0)
    num_batches = max(min(24, 24 * 4096 // batch), 6)
    batches = [drawn_batch(layout, batch, rng) for _ in range(num_batches)]
    config = TableOptimizerConfig(name=optimizer, storage=storage, learning_rate=0.01)  # type: ignore[arg-type]
    with PeakMemory() as peak:
        result = our_costs(layout, batches, kind, units, config)
    result["memory"] = peak.bytes
    model = ModelConfig(kind=kind, units=units, hidden=(64,))
    size = count_parameters(model, features, fields)
    result["memory_said"] = training_memory(model, size, fields, config, batch_size=batch).total
    if bare:
        for key, cpu in (("limit", False), ("limit_cpu", True)):
            result[key] = fields / bare_rate(layout, num_batches=num_batches, batch_size=batch, cpu=cpu) * 1e6
        result["ratio"] = result["limit"] / result["ours"]
        result["ratio_cpu"] = result["limit_cpu"] / result["table_us"]["cpu"]
    return result


def our_costs(
    layout: Layout, batches: list[Batch], kind: str, units: int, config: TableOptimizerConfig
) -> dict[str, Any]:
    """Measure our own code; all of its memory is free again afterwards."""
    batch = batches[0].num_examples
    labels = (np.random.default_rng(1).random(batch) < 0.25).astype(np.int32)
    started = time.perf_counter()
    stepper = network_stepper(layout, (64,), "float32", kind, units, config)
    seconds_to_draw = time.perf_counter() - started
    table, moves = stepper.model.table, stepper.table_optimizer
    local = np.full((batch, layout.num_fields * units), 1e-4, dtype=np.float32)
    full = np.full((batch, table.num_full), 1e-4, dtype=np.float32)
    local_out, full_out = np.empty_like(local), np.empty_like(full)
    stepper.model.train()

    def table_part(number: int) -> None:
        gather(table.rows, batches[number], layout, local_out, full_out)
        moves.apply(batches[number], local, full)

    def whole(number: int) -> None:
        stepper.step(Examples(batches[number], labels, None, None), 1.0)

    of_table = microseconds(table_part, len(batches), batch)
    return {
        "ours": of_table["wall"],
        "table_us": of_table,
        "step_us": microseconds(whole, len(batches), batch),
        "row_bytes": config.bytes_per_row(table.num_weights),
        "seconds_to_draw": seconds_to_draw,
    }


def microseconds(action: Callable[[int], None], num_batches: int, batch: int) -> dict[str, float]:
    """Return the median microseconds an example takes, on the clock and of all processors."""
    for number in range(min(num_batches, 3)):
        action(number)
    wall, cpu = [], []
    for _ in range(3):
        started, started_cpu = time.perf_counter(), time.process_time()
        for number in range(num_batches):
            action(number)
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - started_cpu)
    each = 1e6 / (num_batches * batch)
    return {"wall": statistics.median(wall) * each, "cpu": statistics.median(cpu) * each}


def show(name: str, lines: list[dict[str, Any]]) -> None:
    """Print a part as a table."""
    print(f"\n{name}\n" + markdown(lines))


def markdown(lines: list[dict[str, Any]]) -> str:
    """Return a table: what was varied, then the figures."""
    varied = [key for key in lines[0] if key in step_costs.__annotations__ and key != "bare"]
    heads = [*varied, "table us", "cpu", "bare us", "cpu", "ratio (cpu)", "step us", "cpu", "GB", "GB said"]
    rows = []
    for line in lines:
        bare = [f"{line[key]:.2f}" if key in line else "" for key in ("limit", "limit_cpu", "ratio_cpu")]
        table, step = line["table_us"], line["step_us"]
        rows.append(
            [
                *(f"{line[key]:,}" if isinstance(line[key], int) else str(line[key]) for key in varied),
                f"{table['wall']:.2f}",
                f"{table['cpu']:.2f}",
                *bare,
                f"{step['wall']:.2f}",
                f"{step['cpu']:.2f}",
                f"{line['memory'] / 1e9:.2f}",
                f"{line['memory_said'] / 1e9:.2f}",
            ]
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in [heads, ["---:"] * len(heads), *rows])


def keep(folder: Path, results: dict[str, Any]) -> None:
    """Write the tables, and a plot of each part where matplotlib is there."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"scale-{date.today().isoformat()}"
    machine = results["machine"]
    text = f"{machine['processor']}, {machine['cores']} cores, load {machine['load']:.1f} before it began\n"
    for name, lines in results.items():
        if name != "machine":
            text += f"\n## {name}\n\n{markdown(lines)}\n"
    stem.with_suffix(".md").write_text(f"# benchmarks/scale.py, {date.today().isoformat()}\n\n{text}")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("no plot: pip install matplotlib", file=sys.stderr)
        return
    parts = {name: lines for name, lines in results.items() if name in _AXES}
    figure = Figure(figsize=(5 * len(parts), 4), layout="constrained")
    for axes, (name, lines) in zip(figure.subplots(1, len(parts), squeeze=False)[0], parts.items(), strict=True):
        key, label = _AXES[name]
        curves = {
            "table: gather and update": [(line[key], line["table_us"]["cpu"]) for line in lines],
            "bare loop": [(line[key], line["limit_cpu"]) for line in lines if "limit_cpu" in line],
            "LC-DNN, hidden [64], whole step": [(line[key], line["step_us"]["cpu"]) for line in lines],
        }
        for title, points in curves.items():
            axes.plot(*zip(*points, strict=True), marker="o", label=title)
        axes.set(xscale="log", xlabel=label, ylabel="processor microseconds an example")
        axes.set_ylim(bottom=0)
    figure.axes[0].legend()
    figure.savefig(stem.with_suffix(".svg"))


if __name__ == "__main__":
    main()
