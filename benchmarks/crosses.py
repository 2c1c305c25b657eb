"""See whether planted crosses are found, and no others.

    python benchmarks/crosses.py                       # ten draws with crosses, ten without
    python benchmarks/crosses.py --draws 2 --rows 200000

Each draw has 30 fields of up to 10,000 values, frequent ones first. The logits are sums over the fields; three pairs of
fields of 50 to 500 values and one triple of fields of up to 30 add a number for each combination. Logistic regression
at its optimum (`fieldwise.kernels.newton`) is fitted without the crosses, with those that were found, and with the
planted ones, on four fifths of the rows; AUCs are of the last fifth, beside that of the true logits.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.layout import SINGLE, Batch, Layout, select
from fieldwise.kernels.newton import LogisticProblem, logits_of
from fieldwise.metrics import evaluate_predictions
from fieldwise.profile.crosses import find_crosses

FIELDS = 30
PAIRS, TRIPLE = ((0, 1), (2, 3), (4, 5)), (6, 7, 8)
L2 = 20.0


def drawn(
    num_rows: int, seed: int, planted: bool
) -> tuple[list[npt.NDArray[np.int64]], list[int], npt.NDArray[np.float64]]:
    """Return the values of the fields, how many each has, and the true logits."""
    rng = np.random.default_rng(seed)
    sizes = np.exp(rng.uniform(np.log(3), np.log(10_000), FIELDS)).astype(int).tolist()
    for fields, low, high in [(pair, 50, 501) for pair in PAIRS] + [(TRIPLE, 5, 31)]:
        for field in fields:
            sizes[field] = int(rng.integers(low, high))
    ids, logits = [], np.full(num_rows, -1.5)
    for size in sizes:
        shares = 1.0 / np.arange(1, size + 1)
        ids.append(rng.choice(size, num_rows, p=shares / shares.sum()))
        logits += rng.normal(0, 0.25, size)[ids[-1]]
    for fields in (*PAIRS, TRIPLE) if planted else ():
        cells = np.ravel_multi_index([ids[field] for field in fields], [sizes[field] for field in fields])
        logits += rng.normal(0, 0.6, int(np.prod([sizes[field] for field in fields])))[cells]
    return ids, sizes, logits


def batch_of(columns: list[npt.NDArray[np.int64]], num_train: int) -> tuple[Batch, Layout]:
    """Number the values of each column, those that occur once in the training rows being unseen."""
    lines, rows = [], []
    for column in columns:
        counts = np.bincount(column[:num_train], minlength=int(column.max()) + 1)
        number = np.ones(len(counts), np.int64)
        known = np.flatnonzero(counts > 1)
        number[known] = 2 + np.arange(len(known))
        lines.append(number[column].astype(np.uint32))
        rows.append(2 + len(known))
    none, count = np.empty(0, np.float32), len(columns[0])
    batch = Batch(
        np.stack(lines), none.reshape(0, count), np.empty((0, count + 1), np.int64), none.astype(np.uint32), none
    )
    return batch, Layout.of([SINGLE] * len(lines), rows)


def auc_with(
    crosses: list[tuple[int, ...]],
    ids: list[npt.NDArray[np.int64]],
    sizes: list[int],
    clicks: npt.NDArray[np.int64],
    num_train: int,
) -> float:
    """Return the test AUC of logistic regression on the fields and some crosses."""
    columns = list(ids)
    for fields in crosses:
        cells = np.ravel_multi_index([ids[field] for field in fields], [sizes[field] for field in fields])
        columns.append(np.unique(cells, return_inverse=True)[1])
    batch, layout = batch_of(columns, num_train)
    train = np.arange(len(clicks)) < num_train
    solution = LogisticProblem(select(batch, train), layout, clicks[:num_train]).solve(np.full(layout.num_fields, L2))
    logits = logits_of(solution, select(batch, ~train), layout)
    return float(evaluate_predictions(1.0 / (1.0 + np.exp(-logits)), clicks[num_train:]).auc or 0.0)


def main() -> None:
    """Print a line for each draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--first-seed", type=int, default=1000)
    arguments = parser.parse_args()
    print("seed  planted  found  others  seconds  AUC: fields  found  planted  best possible", flush=True)
    for planted in (True, False):
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.draws):
            ids, sizes, logits = drawn(arguments.rows, seed, planted)
            clicks = (np.random.default_rng(seed + 1).random(arguments.rows) < 1 / (1 + np.exp(-logits))).astype(
                np.int64
            )
            num_train = arguments.rows * 4 // 5
            batch, layout = batch_of(ids, num_train)
            started = time.process_time()
            search = find_crosses(select(batch, np.arange(arguments.rows) < num_train), layout, clicks[:num_train])
            seconds = time.process_time() - started
            found = [cross.fields for cross in search.crosses]
            truth = [*PAIRS, TRIPLE] if planted else []
            aucs = (
                [auc_with(crosses, ids, sizes, clicks, num_train) for crosses in ([], found, truth)] if planted else []
            )
            best = evaluate_predictions(1.0 / (1.0 + np.exp(-logits[num_train:])), clicks[num_train:]).auc
            right = len(set(found) & set(truth))
            shown = "  ".join(f"{auc:.4f}" for auc in [*aucs, best or 0.0])
            print(f"{seed}  {len(truth)}  {right}  {len(found) - right}  {seconds:.0f}  {shown}", flush=True)


if __name__ == "__main__":
    main()
