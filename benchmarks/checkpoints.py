"""What a checkpoint takes away from training: the seconds for which it stands still, for tables of growing size.

python benchmarks/checkpoints.py [--rows N ...] [--folder FOLDER] [--repeats N]

A model of one unit (weight, two moments of Adam, the average: 16 bytes a row) is saved as training saves it, with
checksums and syncs, into FOLDER. Beside the seconds stands their share of ten minutes, the time between two checkpoints
by default, and what copying the same memory takes: the least by which training would still stand still if a thread of
its own wrote a snapshot, which needs as much memory again.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

from fieldwise.kernels.layout import SINGLE, Layout
from fieldwise.models.click import build_model
from fieldwise.models.config import ModelConfig
from fieldwise.tables.config import TableOptimizerConfig
from fieldwise.training.averaging import Average
from fieldwise.training.checkpoint import Checkpoints
from fieldwise.training.config import DenseOptimizerConfig, TrainConfig
from fieldwise.training.make import make_stepper

NUM_FIELDS = 10


def measure(num_rows: int, folder: Path, repeats: int) -> tuple[int, list[float], float]:
    """Return the bytes of a checkpoint, the seconds of each saving, and those of a copy."""
    layout = Layout.of([SINGLE] * NUM_FIELDS, [num_rows // NUM_FIELDS] * NUM_FIELDS)
    model = build_model(ModelConfig(kind="lc-dnn", units=1), layout, 2)
    stepper = make_stepper(model, TableOptimizerConfig(), DenseOptimizerConfig(), 1)
    model.table.rows.fill(1)  # pages that were never written are not there
    average = Average(model, 1.0, 100)
    average.rows.fill(1)
    checkpoints, seconds = Checkpoints(folder / str(num_rows)), []
    for step in range(repeats):
        started = time.perf_counter()
        rows, arrays = model.table.rows, stepper.arrays() | average.arrays()
        checkpoints.save(step, average.beside(rows), arrays, {})
        seconds.append(time.perf_counter() - started)
    num_bytes = sum(path.stat().st_size for path in (checkpoints.folder / f"{repeats - 1:08d}").iterdir())
    started = time.perf_counter()
    copies = model.table.rows.copy(), average.rows.copy()
    copied = time.perf_counter() - started
    del copies
    checkpoints.remove()
    return num_bytes, seconds, copied


def main() -> None:
    """Print a line for every size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000, 10_000_000, 100_000_000])
    parser.add_argument(
        "--folder", type=Path, help="on the disk that is meant; the system's temporary folder unless given"
    )
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    between = TrainConfig().checkpoint_minutes * 60
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for num_rows in arguments.rows:
            num_bytes, seconds, copied = measure(num_rows, Path(folder), arguments.repeats)
            each = median(seconds)
            print(
                f"{num_rows:,} rows: {num_bytes / 1e6:,.1f} MB in {each:.3f} s ({min(seconds):.3f} to "
                f"{max(seconds):.3f}), {num_bytes / each / 1e6:,.0f} MB/s, {each / (between + each):.3%} of training "
                f"by default; a copy {copied:.3f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
