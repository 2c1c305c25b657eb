"""Logistic regression solved to its optimum (`kernels.newton`), its penalty chosen on valid.

Every penalty is solved from the optimum of the one before. They fall by a factor of 4 from 64 until two in a row are
worse on valid than the best; where 64 is the best they rise in the same way; at last the double and the half of the
best are tried. What decides is logloss: the AUC of a few hundred clicks is noise
(docs/log/2026-11.md#which-penalty-for-logistic-regression). Without validation rows some of the training rows are put
aside to choose by, and the penalty that is kept is solved for on all rows.

The rule is one of bytes, so that the same log is trained alike on every machine: examples take 8 for every feature that
they have (16 in a bag), and 64 more; features take 64.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from fieldwise.calibration import sigmoid
from fieldwise.data.cache import Cache
from fieldwise.errors import ArtefactError, ConfigError
from fieldwise.events import EpochEnd, Listener, Noted, ignore
from fieldwise.io.memory import require_memory
from fieldwise.kernels.layout import BAG, Layout
from fieldwise.kernels.newton import LogisticProblem, LogisticSolution, logits_of
from fieldwise.metrics import BinaryMetrics, Metrics
from fieldwise.metrics.own import goodness
from fieldwise.training.checkpoint import Checkpoint, Checkpoints
from fieldwise.training.config import LrTableOptimizerConfig, PretrainConfig
from fieldwise.training.interrupt import Interrupt, Interrupted
from fieldwise.training.state import TrainingState
from fieldwise.training.unseen import filled

__all__ = [
    "MOST_BYTES",
    "Optimum",
    "ids_in_bags",
    "initial_penalty",
    "next_penalty",
    "not_solved",
    "put_aside",
    "read_initial",
    "read_optimum",
    "solve_initial",
    "solve_path",
    "solving_memory",
]

MOST_BYTES = 512 * 2**20
"""What solving may take: one minute of two cores, at most."""
_FIRST, _FACTOR, _LEAST, _GREATEST = 64.0, 4.0, 2.0**-6, 2.0**14
_ALONE = 4.0
"""The penalty where there is nothing to choose by: one or two rows."""
_ASIDE_SHARE, _ENOUGH_ASIDE, _ASIDE_SEED = 0.1, 500, 0
_CLOSE = 1e-7
_STRONGER, _LEAST_INITIAL = 4.0, 2.0
_SOME, _PIECE = 1000, 1 << 16


class Optimum(NamedTuple):
    """The weights (D,) and the bias of the penalty that was kept, and how it was found: an epoch for each penalty."""

    weights: npt.NDArray[np.float64]
    bias: float
    history: TrainingState


def ids_in_bags(train: Cache) -> float:
    """Return how many features of bags an example has, by a thousand of them, evenly spread."""
    if not train.num_examples or not (train.layout.form == BAG).any():
        return 0.0
    some = train.gather(np.unique(np.linspace(0, train.num_examples - 1, _SOME).astype(np.int64)))
    return len(some.batch.bag_ids) / some.batch.num_examples


def solving_memory(layout: Layout, num_examples: int, in_bags: float = 0.0) -> int:
    """Return the bytes that solving takes.

    Examples
    --------
    >>> solving_memory(Layout.of([0] * 7, [1404] * 7), 600_000) / 1e6
    72.6...
    """
    of_example = 8 * int((layout.form != BAG).sum()) + 16 * in_bags + 64
    return int(num_examples * of_example) + 64 * layout.num_features


def not_solved(
    settings: PretrainConfig,
    needed: int,
    num_classes: int,
    negative_rate: float,
    num_labels: int = 0,
    *,
    one_class: bool = False,
) -> str | None:
    """Return why logistic regression is trained by steps, and not solved; None where it is solved.

    `needed` is what `solving_memory` says of the log; `num_labels` is 0 where there is one;
    `one_class` says that the training rows hold one class alone.

    Raises
    ------
    ConfigError
        It must be solved, and cannot be.
    """
    plain = msgspec.structs.replace(settings, solver="auto", table=msgspec.structs.replace(settings.table, l2=None))
    reasons = {
        "there are more than two classes": num_classes > 2,
        "there are several labels": num_labels > 1,
        "the training rows hold one class alone": one_class,  # its optimum is at infinity
        "train.negative_rate leaves examples out": negative_rate < 1.0,
        f"a penalty below {_LEAST:g} is set": settings.table.l2 is not None and settings.table.l2 < _LEAST,
        "an L1 penalty or another optimizer is set": settings.table.name != "ftrl" or settings.table.l1 > 0.0,
        f"the log needs {needed / 2**20:,.0f} MiB, {MOST_BYTES >> 20} at most": needed > MOST_BYTES,
    }
    if settings.solver == "auto":
        reasons["[pretrain] has settings of FTRL"] = plain != PretrainConfig(table=LrTableOptimizerConfig())
    elif settings.solver == "newton":  # as large as it may be
        reasons.popitem()
    found = [reason for reason, is_so in reasons.items() if is_so]
    if found and settings.solver == "newton":
        raise ConfigError(
            f"logistic regression cannot be solved: {found[0]}",
            where="pretrain.solver",
            got="newton",
            fix='set pretrain.solver = "auto" or "ftrl"',
        )
    return "[pretrain] says so" if settings.solver == "ftrl" else found[0] if found else None


def next_penalty(tried: Sequence[tuple[float, float | None]]) -> float | None:
    """Return the penalty to try next; None when the best of those that were `tried`, with what valid says, is kept.

    Examples
    --------
    >>> tried = []
    >>> while (l2 := next_penalty(tried)) is not None:
    ...     tried.append((l2, -abs(np.log(l2 / 3.0))))
    >>> [l2 for l2, _ in tried]
    [64.0, 16.0, 4.0, 1.0, 0.25, 8.0, 2.0]
    """
    if not tried:
        return _FIRST
    values = {l2: value for l2, value in tried if value is not None}
    if len(values) < len(tried):
        return None
    best = max(values, key=lambda l2: values[l2])
    least, greatest = min(values), max(values)
    if best <= least * _FACTOR and least > _LEAST:
        return least / _FACTOR
    if best >= greatest / _FACTOR and best > _FIRST / _FACTOR and greatest < _GREATEST:
        return greatest * _FACTOR
    whole = [l2 for l2 in values if np.log2(l2) % 2 == 0]
    coarse = max(whole, key=lambda l2: values[l2])
    return next((l2 for l2 in (2.0 * coarse, 0.5 * coarse) if l2 not in values), None)


def solve_path(
    train: Cache,
    valid: Cache | None,
    counts: Sequence[npt.NDArray[np.int64] | None],
    settings: PretrainConfig,
    checkpoints: Checkpoints,
    *,
    minutes_between: float = 10.0,
    interrupt: Interrupt | None = None,
    listen: Listener = ignore,
) -> None:
    """Solve for one penalty after the other, and leave the best in a checkpoint, for `read_optimum`.

    It goes on from the newest checkpoint: from the penalty that was not solved yet.

    Parameters
    ----------
    train, valid
        Read into memory, valid in pieces.
    counts
        Of the values of each field, for the unseen one (`unseen.filled`).
    settings
        ``table.l2`` is the only penalty where it is given.
    checkpoints
        Of this path alone.
    minutes_between
        Two checkpoints, at most.
    interrupt
        Looked at before every pass over the examples.

    Raises
    ------
    Interrupted
        On request, after a checkpoint was saved.
    ResourceError
        The examples do not fit in memory.
    """
    interrupt = interrupt or Interrupt()
    needed = solving_memory(train.layout, train.num_examples, ids_in_bags(train))
    require_memory(needed, "solving logistic regression", 'set pretrain.solver = "ftrl"')
    judges, rows = valid, np.arange(0 if valid is None else valid.num_examples)
    learnt_from = np.arange(train.num_examples)
    if valid is None and settings.table.l2 is None:
        judges, rows = train, put_aside(train.labels())
        learnt_from = np.delete(learnt_from, rows)
        listen(Noted(f"no validation rows: {len(rows):,} training rows choose the penalty, and are then learned from"))
    path = _Path(train, settings.table.l2, _ALONE if not len(rows) else None, checkpoints)
    problem = _problem(train, learnt_from)

    def look() -> None:
        if interrupt.requested:
            raise Interrupted

    def solved(l2: float) -> tuple[LogisticSolution, EpochEnd]:
        started = time.perf_counter()
        try:
            solution = problem.solve(np.full(train.layout.num_fields, l2), path.last, _CLOSE, look)
        except Interrupted:
            path.save()
            raise
        solution = solution._replace(weights=filled(solution.weights, train.layout, counts))
        seconds = max(time.perf_counter() - started, 1e-9)
        rate = train.num_examples * solution.steps / seconds
        return solution, EpochEnd(len(path.history.epochs) + 1, solution.objective, seconds, rate, None, l2)

    saved = time.monotonic()
    while (l2 := path.next()) is not None:
        solution, end = solved(l2)
        metrics = _metrics(solution, judges, rows) if judges is not None and len(rows) else None
        end = end._replace(valid=metrics) if valid is not None else end
        path.add(l2, solution, end, goodness(metrics, "logloss"))
        listen(end)
        if time.monotonic() - saved >= 60 * minutes_between:
            path.save()
            saved = time.monotonic()
    if judges is train and len(path.history.epochs) == len(path.tried):
        problem = _problem(train)
        path.end(*solved(path.chosen))
        listen(path.history.epochs[-1])
    path.save()


def put_aside(labels: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
    """Return the training rows to choose a penalty by, where there are no others: a tenth of each class, of small logs
    500 rows or a half.

    Examples
    --------
    >>> [len(put_aside(np.arange(num_rows) % 2)) for num_rows in (20_000, 1_200, 300, 2)]
    [2000, 500, 150, 0]
    """
    share = min(max(_ASIDE_SHARE, _ENOUGH_ASIDE / max(len(labels), 1)), 0.5)
    generator = np.random.default_rng(_ASIDE_SEED)
    of_class = [generator.permutation(np.flatnonzero(labels == each)) for each in np.unique(labels)]
    chosen = [rows[: int(share * len(rows))] for rows in of_class]
    return np.sort(np.concatenate(chosen or [np.zeros(0, dtype=np.int64)]))


def initial_penalty(l2: float) -> float:
    """Return the penalty of the logistic regression that networks start from, where `l2` is best for itself.

    Its optimum says of rare features what their few examples say, and a network that is about to meet these examples
    believes it: it starts from a stronger prior (docs/log/2026-11.md#which-penalty-for-logistic-regression).

    Examples
    --------
    >>> initial_penalty(0.1), initial_penalty(32.0)
    (2.0, 128.0)
    """
    return max(_STRONGER * l2, _LEAST_INITIAL)


def solve_initial(
    train: Cache,
    counts: Sequence[npt.NDArray[np.int64] | None],
    optimum: LogisticSolution,
    l2: float,
    checkpoints: Checkpoints,
    interrupt: Interrupt,
) -> None:
    """Solve for the penalty `initial_penalty` of `l2`, from the optimum for that, and leave it for `read_initial`; only
    once.

    Raises
    ------
    Interrupted
        On request.
    """

    def look() -> None:
        if interrupt.requested:
            raise Interrupted

    if checkpoints.newest() is not None:
        return
    penalties = np.full(train.layout.num_fields, initial_penalty(l2))
    solution = _problem(train).solve(penalties, optimum, _CLOSE, look)
    rows = filled(solution.weights, train.layout, counts)[:, np.newaxis]
    checkpoints.save(1, rows, {"bias": np.array([solution.bias])}, {})


def read_initial(checkpoints: Checkpoints) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]:
    """Return the weights (D, 1) and the bias (1,) that `solve_initial` has left, here or in another process."""
    checkpoint = checkpoints.newest()
    if checkpoint is None:
        raise _not_there(checkpoints)
    return checkpoint.table, checkpoint.dense["bias"]


def read_optimum(checkpoints: Checkpoints) -> Optimum:
    """Return what `solve_path` has left, here or in another process.

    Raises
    ------
    ArtefactError
        It is damaged, or cannot be seen from here.
    """
    checkpoint = checkpoints.newest()
    if checkpoint is None:
        raise _not_there(checkpoints)
    history = msgspec.convert(checkpoint.state["history"], TrainingState)
    return Optimum(checkpoint.table[:, 1].astype(np.float64), float(checkpoint.dense["bias"][1]), history)


def _not_there(checkpoints: Checkpoints) -> ArtefactError:
    return ArtefactError(
        "the solution of logistic regression is not there",
        where=checkpoints.folder,
        fix="let the run folder lie where all workers see it",
    )


def _problem(train: Cache, rows: npt.NDArray[np.int64] | None = None) -> LogisticProblem:
    examples = train.gather(np.arange(train.num_examples) if rows is None else rows)
    assert examples.labels is not None, "training needs labels"
    return LogisticProblem(examples.batch, train.layout, examples.labels, examples.weights)


class _Path:
    """The penalties that were tried, the last solution and the best."""

    def __init__(self, train: Cache, l2: float | None, alone: float | None, checkpoints: Checkpoints) -> None:
        self.only = alone if l2 is None else l2
        self.checkpoints = checkpoints
        self.history = TrainingState()
        self.tried: list[tuple[float, float | None]] = []
        self.last: LogisticSolution | None = None
        self.best = np.zeros(train.layout.num_features), 0.0
        if (checkpoint := checkpoints.newest()) is not None:
            self._restore(checkpoint)

    def next(self) -> float | None:
        """Return the penalty to solve for, or None."""
        if self.only is not None:
            return None if self.tried else max(self.only, _LEAST)
        return next_penalty(self.tried)

    def add(self, l2: float, solution: LogisticSolution, end: EpochEnd, value: float | None) -> None:
        """Keep a solution, as the best where it is."""
        history = self.history
        history.epochs.append(end)
        self.tried.append((l2, value))
        self.last = solution
        if history.best_value is None or value is None or value > history.best_value:
            history.best_epoch, history.best_value = len(self.tried), value
            self.best = solution.weights, solution.bias

    def end(self, solution: LogisticSolution, end: EpochEnd) -> None:
        """Keep the solution on all rows for the penalty that some of them have chosen."""
        self.history.epochs.append(end)
        self.history.best_epoch = len(self.history.epochs)
        self.last, self.best = solution, (solution.weights, solution.bias)

    @property
    def chosen(self) -> float:
        """The best of the penalties that were tried."""
        return self.tried[self.history.best_epoch - 1][0]

    def save(self) -> None:
        """Write where the path is."""
        if self.last is None:
            return
        rows = np.stack([self.last.weights, self.best[0]], axis=1)
        numbers = {"bias": np.array([self.last.bias, self.best[1]])}
        state = {"history": msgspec.to_builtins(self.history), "tried": self.tried}
        self.checkpoints.save(len(self.history.epochs), rows, numbers, state)

    def _restore(self, checkpoint: Checkpoint) -> None:
        last, best = (np.ascontiguousarray(column) for column in checkpoint.table.T)
        of_last, of_best = (float(bias) for bias in checkpoint.dense["bias"])
        self.last, self.best = LogisticSolution(last, of_last, 0.0, 0), (best, of_best)
        self.history = msgspec.convert(checkpoint.state["history"], TrainingState)
        self.tried = [(l2, value) for l2, value in checkpoint.state["tried"]]


def _metrics(solution: LogisticSolution, cache: Cache, rows: npt.NDArray[np.int64]) -> Metrics:
    found = BinaryMetrics()
    for begin in range(0, len(rows), _PIECE):
        some = cache.gather(rows[begin : begin + _PIECE])
        assert some.labels is not None, "these rows have labels"
        logits = logits_of(solution, some.batch, cache.layout)
        found.update(sigmoid(logits), some.labels, some.weights, some.groups)
    return found.compute()
