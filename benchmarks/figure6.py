"""Figure 6 of Chen et al. (WWW 2017) on this machine: seconds per epoch of LR, DNN, LC-DNN and LC-W&D as D grows.

    python benchmarks/figure6.py --json            # ten minutes
    python benchmarks/figure6.py --quick --json

Hidden layers [2048, 1024], 158 fields, an epoch of a million examples in batches of 4096. Steps are timed (the median
of some) and multiplied: an epoch of the DNN takes many minutes. `ratio` is the DNN's seconds over LC-DNN's. The DNN's
first layer has D x 2048 weights; where it does not fit in memory any more it is left out, with what it would need.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from measure import in_process, measured

from fieldwise.data.cache import Examples
from fieldwise.io.memory import available_bytes
from fieldwise.jobs.machine import describe_machine
from fieldwise.jobs.speed import drawn_batch, drawn_layout, lr_stepper, network_stepper
from fieldwise.models.config import ModelConfig
from fieldwise.models.memory import training_memory
from fieldwise.models.sizes import count_parameters
from fieldwise.tables.config import TableOptimizerConfig

_HIDDEN = (2048, 1024)
_FIELDS, _BATCH, _EPOCH = 158, 4096, 1_000_000
_MODELS = ("lr", "dnn", "lc-dnn", "lc-wide-deep")


def main() -> None:
    """Measure every model at every D, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="three sizes, two steps each")
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--features", type=int, action="append", help="sizes in place of the usual ones")
    parser.add_argument("--models", default=",".join(_MODELS), help="some of them")
    parser.add_argument("--keep", type=Path, help="a folder for the table and the plot, named by the date")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--options", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        measured(seconds_per_epoch, json.loads(arguments.options))
        return
    lines = []
    usual = [2_000, 20_000, 100_000] if arguments.quick else [10_000, 100_000, 1_000_000, 8_670_000]
    for features in arguments.features or usual:
        line: dict[str, Any] = {"features": features, "precision": arguments.precision}
        for model in arguments.models.split(","):
            config = ModelConfig(kind=model, units=1, hidden=tuple(_HIDDEN))
            size = count_parameters(config, features, _FIELDS)
            need = training_memory(config, size, _FIELDS, TableOptimizerConfig(name="adagrad")).total
            free = available_bytes() or need
            if need > free:
                line[model], line[f"{model}_bytes"] = None, need
                line[f"{model}_left_out"] = f"needs {need / 1e9:.1f} GB, {free / 1e9:.1f} GB are free"
                continue
            steps = 2 if arguments.quick else 3
            done = in_process(
                __file__, "epoch", model=model, features=features, steps=steps, precision=arguments.precision
            )
            line[model], line[f"{model}_cpu"] = done["wall"], done["cpu"]
        line["ours"], line["peer"] = line.get("lc-dnn"), line.get("dnn")
        line["ratio"] = line["peer"] / line["ours"] if line["ours"] and line["peer"] else None
        lines.append(line)
        if not arguments.json:
            print(json.dumps(line), flush=True)
    if arguments.json:
        print(json.dumps({"machine": msgspec.to_builtins(describe_machine()), "lines": lines}, indent=1))
    if arguments.keep:
        keep(arguments.keep, lines, arguments.precision)


def keep(folder: Path, lines: list[dict[str, Any]], precision: str) -> None:
    """Write a table, and a plot where matplotlib is there."""
    folder.mkdir(parents=True, exist_ok=True)
    stem, machine = folder / f"figure6-{precision}-{date.today().isoformat()}", describe_machine()
    models = [model for model in _MODELS if any(model in line for line in lines)]
    heads = ["D", *(f"{model}{suffix}" for model in models for suffix in ("", ", cpu"))]
    rows = [
        [f"{line['features']:,}", *(_cell(line, model, suffix) for model in models for suffix in ("", "_cpu"))]
        for line in lines
    ]
    table = "\n".join("| " + " | ".join(row) + " |" for row in [heads, ["---:"] * len(heads), *rows])
    about = f"{machine.processor}, {machine.cores} cores, load {machine.load:.1f} at the end; {precision}"
    unit = "seconds of an epoch of a million examples, on the clock and of all processors (cpu)"
    title = f"benchmarks/figure6.py, {date.today().isoformat()}"
    stem.with_suffix(".md").write_text(f"# {title}\n\n{about}; {unit}.\n\n{table}\n")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("no plot: pip install matplotlib", file=sys.stderr)
        return
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    for model in models:
        points = [(line["features"], line[f"{model}_cpu"]) for line in lines if line.get(model)]
        axes.plot(*zip(*points, strict=True), marker="o", label=model)
    axes.set(xscale="log", yscale="log", xlabel="features D", ylabel="processor seconds of a million examples")
    axes.legend()
    figure.savefig(stem.with_suffix(".svg"))


def _cell(line: dict[str, Any], model: str, suffix: str) -> str:
    if line.get(model) is not None:
        return f"{line[model + suffix]:.1f}"
    return f"needs {line[f'{model}_bytes'] / 1e9:.1f} GB" if f"{model}_bytes" in line else ""


def seconds_per_epoch(model: str, features: int, steps: int, precision: str) -> dict[str, Any]:
    """Return the seconds of an epoch from the median of some steps, on the clock and of all processors."""
    layout = drawn_layout(_FIELDS, features)
    rng = np.random.default_rng(0)
    adagrad = TableOptimizerConfig(name="adagrad", learning_rate=0.01)
    stepper = lr_stepper(layout) if model == "lr" else network_stepper(layout, _HIDDEN, precision, model, 1, adagrad)
    batches = [drawn_batch(layout, _BATCH, rng) for _ in range(steps + 1)]
    labels = (rng.random(_BATCH) < 0.25).astype(np.int32)
    stepper.model.train()
    wall, cpu = [], []
    for batch in batches:
        started, started_cpu = time.perf_counter(), time.process_time()
        stepper.step(Examples(batch, labels, None, None), 1.0)
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - started_cpu)
    steps_of_epoch = -(-_EPOCH // _BATCH)
    return {
        "wall": statistics.median(wall[1:]) * steps_of_epoch,
        "cpu": statistics.median(cpu[1:]) * steps_of_epoch,
    }


if __name__ == "__main__":
    main()
