"""Logistic regression solved to its optimum (`kernels.newton`), its penalties chosen on valid (`training.penalty`).

All penalties are solved from the optimum of the one before. Without validation rows some of the training rows are put
aside to choose by, and the penalties that are kept are solved for on all rows.
"""

from __future__ import annotations

import math
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
from fieldwise.training.penalty import (
    LEAST_PENALTY,
    Fitted,
    initial_penalty,
    next_penalty,
    own_penalties,
    put_aside,
)
from fieldwise.training.solvable import ids_in_bags, solving_memory
from fieldwise.training.state import TrainingState
from fieldwise.training.unseen import filled

__all__ = ["Optimum", "read_initial", "read_optimum", "solve_initial", "solve_path"]

Float64s = npt.NDArray[np.float64]

_ALONE = 4.0
"""The penalty where there is nothing to choose by: one or two rows."""
_CLOSE = 1e-7
_PIECE = 1 << 16


class Optimum(NamedTuple):
    """The weights (D,) and the bias for the penalties that were kept, and how they were found: an epoch for each
    solution.
    """

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
    """Solve for one penalty of all fields after the other, then for penalties of fields' own, and leave the best in a
    checkpoint, for `read_optimum`.

    It goes on from the newest checkpoint: from the penalty that was not solved yet, or from fields' own.

    Parameters
    ----------
    train, valid
        Read into memory, valid in pieces.
    counts
        Of the values of each field, for the unseen one (`unseen.filled`).
    settings
        ``table.l2`` is the only penalty, of all fields, where it is given.
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

    def solved(
        l2: float, start: LogisticSolution | None, own: Float64s | None = None
    ) -> tuple[LogisticSolution, EpochEnd]:
        started = clock()
        try:
            solution = problem.solve(np.full(train.layout.num_fields, l2) if own is None else own, start, _CLOSE, look)
        except Interrupted:
            path.save()
            raise
        solution = solution._replace(weights=filled(solution.weights, train.layout, counts))
        seconds = max(clock() - started, 1e-9)
        rate = train.num_examples * solution.steps / seconds
        return solution, EpochEnd(0, solution.objective, seconds, rate, None, l2, own=own is not None)

    def judged(solution: LogisticSolution, end: EpochEnd, number: int) -> tuple[EpochEnd, float | None]:
        metrics = _metrics(solution, judges, rows) if judges is not None and len(rows) else None
        end = end._replace(epoch=number, valid=metrics if valid is not None else None)
        listen(end)
        return end, goodness(metrics, "logloss")

    saved = time.monotonic()
    while (l2 := path.next()) is not None:
        solution, end = solved(l2, path.last)
        path.add(l2, solution, *judged(solution, end, len(path.tried) + 1))
        if time.monotonic() - saved >= 60 * minutes_between:
            path.save()
            saved = time.monotonic()
    if path.may_have_own:
        tried: list[tuple[EpochEnd, float]] = []

        def fitted(penalties: Float64s, start: LogisticSolution) -> Fitted:
            solution, end = solved(path.chosen, start, penalties)
            end, value = judged(solution, end, len(path.tried) + len(tried) + 1)
            assert value is not None, "the same rows have chosen the penalty of all fields"
            tried.append((end, value))
            return Fitted(penalties, solution, value)

        path.set_own(own_penalties(path.best_fitted, train.layout.base, problem.curvatures, fitted), tried)
    if judges is train and not path.is_final:
        problem = _problem(train)
        solution, end = solved(path.chosen, path.last, np.array(own) if (own := path.history.penalties) else None)
        path.end(solution, end._replace(epoch=len(path.history.epochs) + 1))
        listen(path.history.epochs[-1])
    path.save()


def solve_initial(
    train: Cache,
    counts: Sequence[npt.NDArray[np.int64] | None],
    optimum: LogisticSolution,
    penalties: Float64s,
    checkpoints: Checkpoints,
    interrupt: Interrupt,
) -> None:
    """Solve for the penalties `initial_penalty` of `penalties` (F,), from the optimum for these, and leave it for
    `read_initial`; only once.

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
    stronger = np.array([initial_penalty(l2) for l2 in penalties.tolist()])
    solution = _problem(train).solve(stronger, optimum, _CLOSE, look)
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
        self.num_fields = train.layout.num_fields
        self.checkpoints = checkpoints
        self.history = TrainingState()
        self.tried: list[tuple[float, float | None]] = []
        self.num_own = 0
        self.last: LogisticSolution | None = None
        self.best = np.zeros(train.layout.num_features), 0.0
        if (checkpoint := checkpoints.newest()) is not None:
            self._restore(checkpoint)

    def next(self) -> float | None:
        """Return the penalty of all fields to solve for, or None."""
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

    @property
    def may_have_own(self) -> bool:
        """Whether fields may have penalties of their own, and none were tried."""
        return not self.num_own and self.only is None and self.history.best_value is not None and self.num_fields > 1

    @property
    def best_fitted(self) -> Fitted:
        """The best penalty of all fields."""
        assert self.history.best_value is not None, "valid has chosen it"
        penalties = np.full(self.num_fields, self.chosen)
        return Fitted(penalties, LogisticSolution(*self.best, 0.0, 0), self.history.best_value)

    def set_own(self, best: Fitted, tried: list[tuple[EpochEnd, float]]) -> None:
        """Keep what came of penalties of fields' own."""
        history, values = self.history, [value for _, value in tried]
        history.epochs += [end for end, _ in tried]
        self.num_own, self.last = len(tried), best.solution
        if best.value in values:
            history.penalties = best.penalties.tolist()
            history.best_epoch, history.best_value = len(self.tried) + 1 + values.index(best.value), best.value
            self.best = best.solution.weights, best.solution.bias

    @property
    def is_final(self) -> bool:
        """Whether the penalties that were chosen on some rows were solved for on all."""
        return len(self.history.epochs) > len(self.tried) + self.num_own

    def end(self, solution: LogisticSolution, end: EpochEnd) -> None:
        """Keep the solution on all rows for the penalties that some of them have chosen."""
        self.history.epochs.append(end)
        self.history.best_epoch = len(self.history.epochs)
        self.last, self.best = solution, (solution.weights, solution.bias)

    @property
    def chosen(self) -> float:
        """The best penalty of all fields."""
        return max(self.tried, key=lambda one: -math.inf if one[1] is None else one[1])[0]

    def save(self) -> None:
        """Write where the path is."""
        if self.last is None:
            return
        rows = np.stack([self.last.weights, self.best[0]], axis=1)
        numbers = {"bias": np.array([self.last.bias, self.best[1]])}
        state = {"history": msgspec.to_builtins(self.history), "tried": self.tried, "num_own": self.num_own}
        self.checkpoints.save(len(self.history.epochs), rows, numbers, state)

    def _restore(self, checkpoint: Checkpoint) -> None:
        last, best = (np.ascontiguousarray(column) for column in checkpoint.table.T)
        of_last, of_best = (float(bias) for bias in checkpoint.dense["bias"])
        self.last, self.best = LogisticSolution(last, of_last, 0.0, 0), (best, of_best)
        self.history = msgspec.convert(checkpoint.state["history"], TrainingState)
        self.tried = [(l2, value) for l2, value in checkpoint.state["tried"]]
        self.num_own = checkpoint.state.get("num_own", 0)


def _metrics(solution: LogisticSolution, cache: Cache, rows: npt.NDArray[np.int64]) -> Metrics:
    found = BinaryMetrics()
    for begin in range(0, len(rows), _PIECE):
        some = cache.gather(rows[begin : begin + _PIECE])
        assert some.labels is not None, "these rows have labels"
        logits = logits_of(solution, some.batch, cache.layout)
        found.update(sigmoid(logits), some.labels, some.weights, some.groups)
    return found.compute()
