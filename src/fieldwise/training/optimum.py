"""Logistic regression solved to its optimum (`kernels.newton`), its penalty chosen on valid (`training.penalty`).

Every penalty is solved from the optimum of the one before. Without validation rows some of the training rows are put
aside to choose by, and the penalty that is kept is solved for on all rows.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from fieldwise.calibration import sigmoid
from fieldwise.data.cache import Cache
from fieldwise.errors import ArtefactError
from fieldwise.events import EpochEnd, Listener, Noted, ignore
from fieldwise.io.memory import require_memory
from fieldwise.kernels.jit import clock
from fieldwise.kernels.newton import LogisticProblem, LogisticSolution, logits_of
from fieldwise.metrics import BinaryMetrics, Metrics
from fieldwise.metrics.own import goodness
from fieldwise.training.checkpoint import Checkpoint, Checkpoints
from fieldwise.training.config import PretrainConfig
from fieldwise.training.interrupt import Interrupt, Interrupted
from fieldwise.training.penalty import LEAST_PENALTY, initial_penalty, next_penalty, put_aside
from fieldwise.training.solvable import ids_in_bags, solving_memory
from fieldwise.training.state import TrainingState
from fieldwise.training.unseen import filled

__all__ = ["Optimum", "read_initial", "read_optimum", "solve_initial", "solve_path"]

_ALONE = 4.0
"""The penalty where there is nothing to choose by: one or two rows."""
_CLOSE = 1e-7
_PIECE = 1 << 16


class Optimum(NamedTuple):
    """The weights (D,) and the bias of the penalty that was kept, and how it was found: an epoch for each penalty."""

    weights: npt.NDArray[np.float64]
    bias: float
    history: TrainingState


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
        started = clock()
        try:
            solution = problem.solve(np.full(train.layout.num_fields, l2), path.last, _CLOSE, look)
        except Interrupted:
            path.save()
            raise
        solution = solution._replace(weights=filled(solution.weights, train.layout, counts))
        seconds = max(clock() - started, 1e-9)
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
        fix="put the run folder where all workers can see it",
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
            return None if self.tried else max(self.only, LEAST_PENALTY)
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
