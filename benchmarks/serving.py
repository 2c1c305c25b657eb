"""What an answer costs: one row and hundreds, from dicts, columns and Arrow tables; importing, opening, memory.

    python -m benchmarks.serving [--rows 20000]

trains LC-DNN (16 units, 256 and 128 hidden) on random logs of 39 fields (13 numbers and 26 categories) and of 7 (5
categories, a bag, a number), and asks it on one core. Times are processor time of this process, medians of many calls.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

_TARGETS = {39: (150, 25_000), 7: (100, 70_000)}
# VmHWM, for ru_maxrss of a process that is started by a larger one is the larger one's.
_START = """
import json, re, sys, time
import fieldwise
fieldwise.Predictor
imported = time.process_time()
predictor = fieldwise.Predictor({folder!r})
predictor.warm()
ready = time.process_time()
print(json.dumps({{"import": imported, "ready": ready - imported, "torch": "torch" in sys.modules,
    "megabytes": int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024}}))
"""


def make_log(num_fields: int, num_rows: int) -> dict[str, list[Any]]:
    """Return a random log of so many fields, by column."""
    rng = np.random.default_rng(num_fields)
    num_numbers, num_bags = (13, 0) if num_fields == 39 else (1, 1)
    log: dict[str, list[Any]] = {"click": rng.integers(0, 2, num_rows).tolist()}
    for number in range(num_numbers):
        log[f"number{number}"] = rng.normal(size=num_rows).round(3).tolist()
    for number in range(num_bags):
        tags = rng.integers(0, 20, (num_rows, 3))
        log[f"bag{number}"] = ["|".join(f"tag{tag}" for tag in line) for line in tags]
    for number in range(num_fields - num_numbers - num_bags):
        log[f"category{number}"] = [f"{value:08x}" for value in rng.zipf(1.3, num_rows) % 100_000]
    return log


def train(folder: Path, log: dict[str, list[Any]]) -> None:
    """Train the model that is asked."""
    import fieldwise as fw

    fields = {name: fw.FieldConfig(type="number") for name in log if name.startswith("number")}
    fields |= {name: fw.FieldConfig(type="bag") for name in log if name.startswith("bag")}
    fields |= {name: fw.FieldConfig(type="category") for name in log if name.startswith("category")}
    config = fw.Config(
        data=fw.DataConfig(train="in memory", label="click"),
        fields=fields,
        model=fw.ModelConfig(kind="lc-dnn", units=16, hidden=(256, 128), cooccurrence="none"),
        train=fw.TrainConfig(epochs=1),
        base=str(folder),
    )
    fw.train(config, folder / "run", data=log)


def median(call: Callable[[], object], repeat: int) -> float:
    """Return the median of the processor time of a call, in seconds."""
    for _ in range(20):
        call()
    times = []
    for _ in range(repeat):
        began = time.process_time_ns()
        call()
        times.append(time.process_time_ns() - began)
    return float(np.median(times)) / 1e9


def ask(run: Path, log: dict[str, list[Any]], num_fields: int) -> None:
    """Print what answers cost."""
    from fieldwise.serving.predictor import Predictor

    predictor = Predictor(run)
    predictor.warm()
    log = {name: values[:100] for name, values in log.items() if name != "click"}
    table = pa.table(log)
    rows = table.to_pylist()
    microseconds, per_second = _TARGETS[num_fields]
    batch = predictor.encode_columns({name: values[:1] for name, values in log.items()})
    print(f"{num_fields} fields")
    print(f"  one row, a dict         {median(lambda: predictor.predict(rows[0]), 2000) * 1e6:10.0f} us"
          f"   (at most {microseconds})")  # fmt: skip
    print(f"    of which the network  {median(lambda: predictor.score(batch), 2000) * 1e6:10.0f} us")
    for name, given in (("dicts", rows), ("columns", log), ("Arrow", table)):
        seconds = median(lambda given=given: predictor.predict(given), 200)
        print(f"  100 rows, {name:<14}{100 / seconds:10,.0f} rows/s   (at least {per_second:,})")
    if num_fields == 39:
        rank(predictor, rows, [*log][:30])
    hundred = predictor.encode_columns(log)
    print(f"    of which the network  {median(lambda: predictor.score(hundred), 200) * 1e6:10.0f} us")
    found = subprocess.run(
        [sys.executable, "-c", _START.format(folder=str(run))], capture_output=True, check=True, text=True
    )
    told = json.loads(found.stdout)
    print(f"  import {told['import']:.2f} s (at most .5), open and warm {told['ready']:.2f} s, {told['megabytes']} MB"
          f" (at most 260), torch imported: {told['torch']}")  # fmt: skip


def rank(predictor: Any, rows: list[dict[str, Any]], shared: list[str]) -> None:
    """Print what 200 candidates of one context cost, and the same as whole rows: in turns, on their processor time."""
    context = {name: rows[0][name] for name in shared}
    candidates = [{name: cell for name, cell in row.items() if name not in context} for row in (*rows, *rows)]
    whole = [{**context, **candidate} for candidate in candidates]
    ratios, per_second = [], []
    for _ in range(5):
        as_rows = median(lambda: predictor.predict(whole), 40)
        ranked = median(lambda: predictor.rank(context, candidates), 40)
        ratios.append(as_rows / ranked)
        per_second.append(len(candidates) / ranked)
    print(f"  200 candidates, {len(shared)} fields of one context {np.median(per_second):,.0f} rows/s,"
          f" {np.median(ratios):.2f} times as many as whole rows   (at least 2)")  # fmt: skip


def main() -> None:
    """Train, and ask."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--keep", type=Path, help="where the trained models lie, or are put")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        for num_fields in _TARGETS:
            log = make_log(num_fields, arguments.rows)
            place = folder / str(num_fields)
            if not (place / "run").exists():
                place.mkdir(parents=True, exist_ok=True)
                # In a process of its own: what trains brings torch, and threads that a server does without.
                child = os.fork()
                if child == 0:
                    train(place, log)
                    os._exit(0)
                os.waitpid(child, 0)
            ask(place / "run", log, num_fields)


if __name__ == "__main__":
    main()
