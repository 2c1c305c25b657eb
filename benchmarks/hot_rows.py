"""What replicating the hottest rows on every worker would save, against pulling and pushing them like all others.

    python benchmarks/hot_rows.py [--draws 1000000] [--skew 1] [--json]

Counted, not timed: batches of 4,096 examples a worker, 39 fields, ids as skewed as 1 / rank^skew. A row that is asked
for costs 4 + 2 n v bytes: its number, n weights, n gradients of v bytes each. If the H hottest rows are replicated, the
others alone are asked for, and all workers add up the gradients of the H rows, asked for or not: an all-reduce sends
them twice, 2 n v bytes. 1/W of either stays at home. For each W and n the H is taken that saves most. `of the step`
counts the dense part of LC-DNN, hidden [400, 400], too.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
import numpy.typing as npt

FIELDS, BATCH, BYTES, STEPS = 39, 4096, 4, 20


def main() -> None:
    """Count and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1_000_000, help="rows of the table")
    parser.add_argument("--skew", type=float, default=1.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    counts = asked_for(options.draws // FIELDS, options.skew)
    lines = [line(counts, workers, n) for workers in (2, 10, 100) for n in (1, 8, 16)]
    if options.json:
        print(json.dumps({"rows_per_step": float(counts.sum() / STEPS), "lines": lines}, indent=1))
        return
    print(f"{counts.sum() / STEPS:,.0f} rows a worker and step, of {BATCH * FIELDS:,} ids")
    for each in lines:
        print(
            "W = {workers:3}, n = {n:2}: the {hottest:,} hottest rows are {share:.0%} of those asked for; replicated, "
            "they save {saved:.1%} of the bytes of rows, {of_step:.1%} of those of the step".format(**each)
        )


def asked_for(rows: int, skew: float) -> npt.NDArray[np.int64]:
    """Return in how many of the steps a worker asks for each row, the hottest first."""
    rng = np.random.default_rng(0)
    weights = 1.0 / np.arange(1, rows + 1) ** skew
    bounds = np.cumsum(weights) / weights.sum()
    counts = np.zeros((FIELDS, rows), dtype=np.int64)
    for _ in range(STEPS):
        for field in counts:
            field[np.unique(np.searchsorted(bounds, rng.random(BATCH)))] += 1
    return np.sort(counts, axis=None)[::-1]


def line(counts: npt.NDArray[np.int64], workers: int, n: int) -> dict[str, Any]:
    """Return what is saved with the best number of replicated rows."""
    away = 1 - 1 / workers
    asked = np.concatenate([[0.0], np.cumsum(counts / STEPS)])
    pulled = away * (asked[-1] - asked) * (4 + 2 * n * BYTES)
    replicated = 2 * away * np.arange(len(asked)) * n * BYTES
    total = pulled + replicated
    best = int(np.argmin(total))
    dense = 2 * away * 4 * (FIELDS * n * 400 + 400 * 400 + 400)
    return {
        "workers": workers,
        "n": n,
        "hottest": best,
        "share": float(asked[best] / asked[-1]),
        "saved": float(1 - total[best] / total[0]),
        "of_step": float((total[0] - total[best]) / (total[0] + dense)),
    }


if __name__ == "__main__":
    main()
