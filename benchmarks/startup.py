"""How soon fieldwise answers: ``--help``, opening a cache of 10 GB, opening a model of a billion rows.

    python benchmarks/startup.py --json
    python benchmarks/startup.py --quick --json

The cache is a file with holes, whose checksums are true of the zeros in it: opening one reads the manifest and maps
the rest, so it is the same for a real one. The model is written out, 4 GB, and removed afterwards; 4096 rows are
predicted by it, which verifies the blocks that they touch: all of them, the buckets of a hash being everywhere.
Seconds, medians of processes of their own; `ours`
and `limit` (what the project promises), `ratio` limit over ours.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parent))

from measure import in_process, measured

from fieldwise.data.cache import Cache
from fieldwise.data.csv_dialect import CsvOptions
from fieldwise.features.encoder import Encoder
from fieldwise.io.files import checksum
from fieldwise.io.manifests import write_manifest
from fieldwise.jobs.machine import describe_machine


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="one run each")
    parser.add_argument("--folder", type=Path, default=Path("runs/startup"))
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--options", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        measured({"cache": open_cache, "model": open_model}[arguments.task], json.loads(arguments.options))
        return
    repeats = 1 if arguments.quick else 5
    shutil.rmtree(arguments.folder, ignore_errors=True)
    cache, model = arguments.folder / "cache", arguments.folder / "model"
    make_cache(cache, 10 * 10**9)
    make_model(model, 10**8 if arguments.quick else 10**9)
    results = [line("fieldwise --help", [help_seconds() for _ in range(repeats)], 0.3)]
    for name, task, folder in (
        ("open a cache of 10 GB", "cache", cache),
        ("open a model of 10^8 rows" if arguments.quick else "open a model of 10^9 rows", "model", model),
    ):
        runs = [in_process(__file__, task, folder=str(folder)) for _ in range(repeats)]
        results.append(line(name, [run["opened"] for run in runs], 1.0))
        if "used" in runs[0]:
            results.append(line("and predict 4096 examples", [run["used"] for run in runs], 10.0))
    shutil.rmtree(arguments.folder)
    if arguments.json:
        print(json.dumps({"machine": msgspec.to_builtins(describe_machine()), "results": results}, indent=1))
    else:
        for result in results:
            print(f"{result['name']:32}{result['ours']:8.3f} s   at most {result['limit']:.1f} s")


def line(name: str, seconds: list[float], limit: float) -> dict[str, Any]:
    """Return one figure."""
    ours = statistics.median(seconds)
    return {"name": name, "ours": ours, "limit": limit, "ratio": limit / ours}


def help_seconds() -> float:
    """Return the seconds of ``fieldwise --help``."""
    started = time.perf_counter()
    subprocess.run([Path(sys.executable).with_name("fieldwise"), "--help"], check=True, capture_output=True)
    return time.perf_counter() - started


def make_cache(folder: Path, num_bytes: int) -> None:
    """Make a cache of zeros: 39 fields of 32-bit ids."""
    from fieldwise.data import planes

    contents = planes.Contents(forms=(0,) * 39, num_rows=(1 << 20,) * 39, num_classes=2, weights=False, groups=False)
    size = planes.BLOCK_EXAMPLES * 40 * 4
    count = num_bytes // size
    seal = checksum(bytes(size))
    blocks = tuple(planes.Block(number * size, size, planes.BLOCK_EXAMPLES, seal) for number in range(count))
    folder.mkdir(parents=True)
    with (folder / planes.DATA_NAME).open("wb") as file:
        file.truncate(count * size)
    manifest = planes.Manifest(contents, count * planes.BLOCK_EXAMPLES, blocks)
    write_manifest(folder / planes.MANIFEST_NAME, manifest, format=planes.FORMAT, version=planes.VERSION)


def make_model(folder: Path, num_rows: int) -> None:
    """Save an LC-DNN with one unit per field, most of whose rows are those of a hashed cross."""
    from fieldwise.bundle import BundleWriter
    from fieldwise.models.click import build_model
    from fieldwise.models.config import ModelConfig
    from fieldwise.models.load import dense_arrays
    from fieldwise.schema import Field, Schema

    fields = (
        Field(name="a", column="a"),
        Field(name="b", column="b"),
        Field(name="a_x_b", type="cross", parts=("a", "b"), buckets=num_rows),
    )
    encoder = Encoder(Schema(fields=fields, label="click")).fit([example_rows()])
    config = ModelConfig(kind="lc-dnn", units=1, hidden=(64,))
    model = build_model(config, encoder.layout, 2)
    table = np.broadcast_to(np.zeros(1, dtype=np.float32), (encoder.layout.num_features, 1))
    writer = BundleWriter(folder, encoder, msgspec.to_builtins(config), "float32", msgspec.to_builtins(CsvOptions()))
    writer.save(1, table, dense_arrays(model))


def example_rows() -> pa.Table:
    """Return some raw rows."""
    rng = np.random.default_rng(0)
    columns = {name: [f"{name}{value}" for value in rng.integers(0, 500, 4096)] for name in "ab"}
    return pa.table({**columns, "click": rng.integers(0, 2, 4096)})


def open_cache(folder: str) -> dict[str, Any]:
    """Open a cache."""
    started = time.perf_counter()
    Cache.open(folder)
    return {"opened": time.perf_counter() - started}


def open_model(folder: str) -> dict[str, Any]:
    """Open a model, and use it; libraries are imported before."""
    from fieldwise.serving.predictor import Predictor

    rows = example_rows()
    started = time.perf_counter()
    predictor = Predictor(folder)
    opened = time.perf_counter() - started
    predictor.predict(rows)
    return {"opened": opened, "used": time.perf_counter() - started}


if __name__ == "__main__":
    main()
