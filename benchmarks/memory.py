"""How far the memory that training takes is from the estimate of ``train --dry-run`` and of ``params``.

python benchmarks/memory.py [--quick] [--json] [SHAPE ...]

For each shape: a log of random values is prepared, the estimate is asked for, and ``fieldwise train`` runs in a process
of its own, whose anonymous memory (RssAnon of /proc/PID/status) is looked at every 10 ms. Mapped files are not counted:
their pages are the system's to take back.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FIELDWISE = [sys.executable, "-m", "fieldwise"]
CONFIG = """
[data]
train = ["log.parquet"]
label = "click"
valid = 0.1
{fields}
[model]
{model}
[train]
epochs = 1
threads = 1
{train}
[pretrain]
epochs = 1
"""


class Shape(NamedTuple):
    """A log and a model: `buckets` of each field, or `num_values` different values where there are none."""

    num_rows: int
    num_fields: int
    model: str
    buckets: int | None = None
    num_values: int = 1 << 30
    train: str = ""


SHAPES = {
    "lr, 40 M features": Shape(200_000, 20, 'kind = "lr"', buckets=2_000_000),
    "one unit, 20 M features": Shape(200_000, 20, 'kind = "lc-dnn"\nunits = 1', buckets=1_000_000),
    "32 units, 1 M features": Shape(100_000, 20, 'kind = "lc-wide-deep"\nunits = 32', buckets=50_000),
    "600 fields": Shape(30_000, 600, 'kind = "lc-dnn"\nunits = 4\nhidden = [256, 128]', num_values=40),
    "dnn, 0.2 M features": Shape(100_000, 20, 'kind = "dnn"\nhidden = [256, 128]', buckets=10_000),
    "one unit, 1 M values": Shape(200_000, 20, 'kind = "lc-dnn"\nunits = 1', num_values=50_000),
}


def write_log(shape: Shape, path: Path) -> None:
    """Write random values, and a label that follows the first of them."""
    rng = np.random.default_rng(0)
    columns = {f"f{number}": rng.integers(0, shape.num_values, shape.num_rows) for number in range(shape.num_fields)}
    click = (columns["f0"] % 7 < 3) ^ (rng.random(shape.num_rows) < 0.2)
    pq.write_table(pa.table({**columns, "click": click.astype(np.int8)}), path)


def peak_of(command: list[str]) -> int:
    """Run a command and return the most anonymous memory that it had."""
    peak = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            lines = status.read_text().splitlines()
            peak = max([peak, *(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))])
            time.sleep(0.01)
        assert process.stderr is not None
        if process.returncode:
            raise SystemExit(process.stderr.read())
    return peak


def ask(*arguments: object) -> Any:
    """Return what a verb says."""
    done = subprocess.run(
        [*FIELDWISE, *map(str, arguments), "--json", "--quiet"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def measure(name: str, quick: bool) -> dict[str, Any]:
    """Return the estimates and the peak of a shape."""
    shape = SHAPES[name]
    if quick:
        buckets = None if shape.buckets is None else shape.buckets // 8
        shape = shape._replace(num_rows=shape.num_rows // 8, buckets=buckets)
    with tempfile.TemporaryDirectory() as folder:
        path, run = Path(folder, "fieldwise.toml"), Path(folder, "run")
        write_log(shape, Path(folder, "log.parquet"))
        hashed = "" if shape.buckets is None else f"buckets = {shape.buckets}\n"
        fields = "".join(f'[fields.f{number}]\ntype = "category"\n{hashed}' for number in range(shape.num_fields))
        path.write_text(CONFIG.format(fields=fields, model=shape.model, train=shape.train))
        ask("prepare", path)
        estimated = ask("train", path, "--out", run, "--dry-run")["memory"]
        kind = shape.model.split('"')[1]
        [counted] = [size["training_bytes"] for size in ask("params", path) if size["model"] == kind]
        peak = peak_of([*FIELDWISE, "train", str(path), "--out", str(run), "--quiet"])
    return {"shape": name, "estimate": estimated, "params": counted, "peak": peak, "ratio": peak / estimated}


def main() -> None:
    """Print the figures of all shapes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="*", metavar="SHAPE", help=f"all unless given: {'; '.join(SHAPES)}")
    parser.add_argument("--quick", action="store_true", help="an eighth of the rows and features")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = []
    for name in arguments.shapes or SHAPES:
        found.append(measure(name, arguments.quick))
        if not arguments.json:
            of = found[-1]
            megabytes = " ".join(f"{key} {of[key] / 1e6:,.0f} MB," for key in ("estimate", "params", "peak"))
            print(f"{name}: {megabytes} peak / estimate {of['ratio']:.2f}", flush=True)
    if arguments.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
