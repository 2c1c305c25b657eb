"""See whether planted crosses are found, and no others.

    python benchmarks/crosses.py                       # ten draws with crosses, ten without
    python benchmarks/crosses.py --draws 2 --rows 200000 --sweeps 200

Each draw has 30 fields of up to 10,000 values, frequent ones first. The logits are sums over the fields; three pairs of
fields of 50 to 500 values and one triple of fields of up to 30 add a number for each combination. Seven tenths of the
rows train, one tenth chooses penalties (`fieldwise.training.penalty`); test AUCs are of the last fifth:

fields, one, own
    Logistic regression at its optimum without crosses, with those that were found and the best penalty for all, and
    with penalties of fields' own, as the program has them.
learnable
    What those training rows can teach one who knows which crosses were planted and the variance of every field's
    effects: the optimum for their inverses as penalties, the mode of the posterior; with ``--sweeps`` also its mean, by
    Gibbs sampling with Polya-Gamma variables (Polson, Scott and Windle 2013).
truth
    The true logits.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.layout import SINGLE, Batch, Layout, select
from fieldwise.kernels.newton import LogisticProblem, LogisticSolution, logits_of
from fieldwise.metrics import Metrics, evaluate_predictions
from fieldwise.profile.crosses import find_crosses
from fieldwise.training.penalty import Fitted, next_penalty, own_penalties

Float64s = npt.NDArray[np.float64]

FIELDS = 30
PAIRS, TRIPLE = ((0, 1), (2, 3), (4, 5)), (6, 7, 8)
OF_FIELD, OF_CROSS = 0.25, 0.6
"""Standard deviations of effects."""
BURN_IN, TERMS = 20, 8


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
        logits += rng.normal(0, OF_FIELD, size)[ids[-1]]
    for fields in (*PAIRS, TRIPLE) if planted else ():
        cells = np.ravel_multi_index([ids[field] for field in fields], [sizes[field] for field in fields])
        logits += rng.normal(0, OF_CROSS, int(np.prod([sizes[field] for field in fields])))[cells]
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


class Rows:
    """One draw's rows with some crosses as fields: seven tenths train, a tenth is valid, a fifth is test."""

    def __init__(
        self,
        crosses: Sequence[tuple[int, ...]],
        ids: list[npt.NDArray[np.int64]],
        sizes: list[int],
        clicks: npt.NDArray[np.int64],
    ) -> None:
        self.columns = list(ids)
        for fields in crosses:
            cells = np.ravel_multi_index([ids[field] for field in fields], [sizes[field] for field in fields])
            self.columns.append(np.unique(cells, return_inverse=True)[1])
        tenths = np.arange(len(clicks)) * 10 // len(clicks)
        self.num_train, self.clicks = int((tenths < 7).sum()), clicks
        batch, self.layout = batch_of(self.columns, self.num_train)
        parts = [tenths < 7, tenths == 7, tenths > 7]
        self.batches = [select(batch, part) for part in parts]
        self.labels = [clicks[part] for part in parts]
        self.problem = LogisticProblem(self.batches[0], self.layout, self.labels[0])

    def metrics(self, solution: LogisticSolution, part: int) -> Metrics:
        """Return the metrics of valid (1) or test (2)."""
        return metrics_of(logits_of(solution, self.batches[part], self.layout), self.labels[part])

    def fitted(self, penalties: Float64s, start: LogisticSolution | None = None) -> Fitted:
        """Solve for penalties."""
        solution = self.problem.solve(penalties, start)
        return Fitted(penalties, solution, -(self.metrics(solution, 1).logloss or 0.0))

    def chosen(self) -> tuple[float, float]:
        """Return the test AUC with the best penalty for all fields, and with penalties of fields' own."""
        tried: list[tuple[float, float | None]] = []
        best: Fitted | None = None
        last: LogisticSolution | None = None
        while (l2 := next_penalty(tried)) is not None:
            one = self.fitted(np.full(self.layout.num_fields, l2), last)
            tried.append((l2, one.value))
            last, best = one.solution, max(best or one, one, key=lambda each: each.value)
        assert best is not None, "one penalty is tried at least"
        own = own_penalties(best, self.layout.base, self.problem.curvatures, self.fitted)
        return self.auc(best), self.auc(own)

    def auc(self, fitted: Fitted) -> float:
        """Return the test AUC."""
        return self.metrics(fitted.solution, 2).auc or 0.0

    def posterior_mean(self, variances: list[float], sweeps: int) -> float:
        """Return the test AUC of the mean probability over draws of all effects from their posterior."""
        rng, num_train, test = np.random.default_rng(0), self.num_train, len(self.clicks) - len(self.labels[2])
        terms = (np.arange(1, TERMS + 1)[:, np.newaxis] - 0.5) ** 2
        effects = [np.zeros(int(column.max()) + 1) for column in self.columns]
        bias, z, total = -1.5, np.full(num_train, -1.5), np.zeros(len(self.labels[2]))
        for sweep in range(sweeps):
            # A Polya-Gamma variable is a sum of exponential ones; the terms left out are taken at their mean.
            rates = 1.0 / (2.0 * np.pi**2 * (terms + np.square(z) / (4.0 * np.pi**2)))
            half = np.maximum(np.abs(z), 1e-6) / 2.0
            bend = (rng.standard_exponential(rates.shape) * rates).sum(axis=0)
            bend += np.tanh(half) / (4.0 * half) - rates.sum(axis=0)
            left = self.labels[0] - 0.5 - bend * z
            step = left.sum() / bend.sum() + rng.standard_normal() / np.sqrt(bend.sum())
            bias, z, left = bias + step, z + step, left - bend * step
            for column, own, variance in zip(self.columns, effects, variances, strict=True):
                cells = column[:num_train]
                curvature = np.bincount(cells, bend, len(own)) + 1.0 / variance
                mean = (np.bincount(cells, left, len(own)) - own / variance) / curvature
                steps = mean + rng.standard_normal(len(own)) / np.sqrt(curvature)
                own += steps
                z += steps[cells]
                left -= bend * steps[cells]
            if sweep >= BURN_IN:
                logits = bias + sum(own[column[test:]] for column, own in zip(self.columns, effects, strict=True))
                total += 1.0 / (1.0 + np.exp(-logits))
        return evaluate_predictions(total / max(sweeps - BURN_IN, 1), self.labels[2]).auc or 0.0


def metrics_of(logits: Float64s, labels: npt.NDArray[np.int64]) -> Metrics:
    """Return the metrics of logits."""
    return evaluate_predictions(1.0 / (1.0 + np.exp(-logits)), labels)


def main() -> None:
    """Print a line for each draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--sweeps", type=int, default=0)
    arguments = parser.parse_args()
    print("seed  planted  found  others  seconds  test AUC: fields  one  own  learnable  truth", flush=True)
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.draws):
        for planted in (True, False):
            ids, sizes, logits = drawn(arguments.rows, seed, planted)
            chance = np.random.default_rng(seed + 1).random(arguments.rows)
            clicks = (chance < 1 / (1 + np.exp(-logits))).astype(np.int64)
            alone = Rows([], ids, sizes, clicks)
            started = time.process_time()
            names = [str(field) for field in range(FIELDS)]
            search = find_crosses(alone.batches[0], alone.layout, alone.labels[0], names=names)
            found = [tuple(map(int, each.fields)) for each in search.crosses]
            seconds = time.process_time() - started
            truth: list[tuple[int, ...]] = [*PAIRS, TRIPLE] if planted else []
            right = len(set(found) & set(truth))
            print(f"{seed}  {len(truth)}  {right}  {len(found) - right}  {seconds:.0f}", end="", flush=True)
            if planted:
                with_found, with_truth = Rows(found, ids, sizes, clicks), Rows(truth, ids, sizes, clicks)
                variances = [OF_FIELD**2] * FIELDS + [OF_CROSS**2] * len(truth)
                aucs = [alone.auc(alone.fitted(np.full(FIELDS, 1 / OF_FIELD**2))), *with_found.chosen()]
                aucs.append(with_truth.auc(with_truth.fitted(1.0 / np.array(variances))))
                if arguments.sweeps:
                    aucs.append(with_truth.posterior_mean(variances, arguments.sweeps))
                aucs.append(metrics_of(logits[-len(alone.labels[2]) :], alone.labels[2]).auc or 0.0)
                print("  " + "  ".join(f"{auc:.4f}" for auc in aucs), end="")
            print(flush=True)


if __name__ == "__main__":
    main()
