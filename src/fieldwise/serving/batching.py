"""Requests that wait are answered together: no timer, no request of another version beside them.

While a batch is answered, or while the loop reads from its connections, others come; they are the next batch. A server
that has nothing else to do answers a single request at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor
from itertools import chain
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from fieldwise.errors import UserError
from fieldwise.kernels.layout import Batch
from fieldwise.serving.limits import Limits, busy
from fieldwise.serving.metrics import ModelMetrics
from fieldwise.serving.refusals import refused
from fieldwise.serving.rows import Rows
from fieldwise.serving.unseen import UnseenCounter

__all__ = ["Answers", "Batcher", "Probabilities", "Scorer"]

Probabilities = npt.NDArray[np.floating[Any]]
_AT_ONCE = 128
"""Rows that are answered on the loop's own thread: to hand a few rows to another thread takes longer than to answer."""


class Scorer(Protocol):
    """What a batcher asks of a model (`serving.predictor.Predictor`)."""

    def encode_columns(self, columns: dict[str, Any], shared: frozenset[str] = frozenset()) -> Batch:
        """Return the features of rows."""

    def score(self, batch: Batch) -> Probabilities:
        """Return their probabilities."""

    def score_candidates(self, batch: Batch, shared: frozenset[str]) -> Probabilities:
        """Return the probabilities of rows with the same cells in some columns."""


class _Waiting(NamedTuple):
    rows: Rows
    future: asyncio.Future[Probabilities]


class Answers(NamedTuple):
    """What became of the requests of a batch: probabilities of each, or why there are none."""

    of_request: list[Probabilities | Exception]


class Batcher:
    """Answers the requests to one version of a model.

    Parameters
    ----------
    scorer
        The version.
    names
        The names of its columns.
    unseen, metrics
        What is counted.
    limits
        How many rows wait, and how many are answered together.
    executor
        A thread for large batches.

    Attributes
    ----------
    no_rows
        The answer to a request without a row.
    """

    def __init__(
        self,
        scorer: Scorer,
        names: Sequence[str],
        unseen: UnseenCounter,
        metrics: ModelMetrics,
        limits: Limits,
        executor: Executor,
    ) -> None:
        self._scorer, self._names = scorer, names
        self._unseen, self._metrics = unseen, metrics
        self._limits, self._executor = limits, executor
        self._waiting: deque[_Waiting] = deque()
        self._waiting_rows = 0
        self._is_busy = False
        self.no_rows: Probabilities = np.zeros(0, dtype=np.float32)
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def waiting_rows(self) -> int:
        """Rows that wait for an answer."""
        return self._waiting_rows

    async def answer(self, rows: Rows) -> Probabilities:
        """Return the probabilities of rows: (B,), or (B, O) for O > 2 classes.

        Raises
        ------
        Refusal
            The queue is full (503), or a row cannot be read (400).
        """
        if not rows.num_rows:
            return self.no_rows
        if self._waiting and self._waiting_rows + rows.num_rows > self._limits.queued_rows:
            raise busy("the queue is full; try again")
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        future: asyncio.Future[Probabilities] = loop.create_future()
        self._waiting.append(_Waiting(rows, future))
        self._waiting_rows += rows.num_rows
        if not self._is_busy:
            # Once all that the loop has read by now is in the queue.
            self._is_busy = True
            loop.call_soon(self._answer_next)
        try:
            return await future
        except (UserError, TypeError) as error:
            raise refused(error) from None

    def _answer_next(self) -> None:
        """Answer the next batch, on this thread or on the other one."""
        taken, num_rows = self._take()
        if not taken:
            self._is_busy = False
            return
        assert self._loop is not None
        if num_rows <= _AT_ONCE:
            self._finish(taken, self.score(taken))
            self._loop.call_soon(self._answer_next)
        else:
            running = self._loop.run_in_executor(self._executor, self.score, taken)
            running.add_done_callback(lambda done: self._after(taken, done))

    def _after(self, taken: list[_Waiting], done: asyncio.Future[Answers]) -> None:
        if not done.cancelled():
            self._finish(taken, done.result())
        self._answer_next()

    def _take(self) -> tuple[list[_Waiting], int]:
        """Take the requests of the next batch from the queue; those whose client has gone are passed over."""
        taken: list[_Waiting] = []
        num_rows = 0
        while self._waiting:
            rows = self._waiting[0].rows
            if taken and (num_rows + rows.num_rows > self._limits.batch_rows or not _go_together(rows, taken[0].rows)):
                break
            waiting = self._waiting.popleft()
            self._waiting_rows -= waiting.rows.num_rows
            if not waiting.future.done():
                taken.append(waiting)
                num_rows += waiting.rows.num_rows
        return taken, num_rows

    def score(self, taken: Sequence[_Waiting]) -> Answers:
        """Return the answers to some requests; an error of one is its own."""
        try:
            return self._score_together(taken)
        except Exception as error:
            if len(taken) == 1:
                return Answers([error])
        return Answers([answer for waiting in taken for answer in self.score([waiting]).of_request])

    def _score_together(self, taken: Sequence[_Waiting]) -> Answers:
        shared = taken[0].rows.shared
        if len(taken) == 1:
            columns: dict[str, Any] = dict(zip(self._names, taken[0].rows.columns, strict=True))
        else:
            by_column = zip(*(waiting.rows.columns for waiting in taken), strict=True)
            columns = {
                name: list(chain.from_iterable(cells)) for name, cells in zip(self._names, by_column, strict=True)
            }
        batch = self._scorer.encode_columns(columns, shared)
        probabilities = self._scorer.score_candidates(batch, shared) if shared else self._scorer.score(batch)
        self._unseen.count(batch)
        self._metrics.count_batch(probabilities)
        if len(taken) == 1:
            return Answers([probabilities])
        ends = np.cumsum([waiting.rows.num_rows for waiting in taken])[:-1]
        return Answers([*np.split(probabilities, ends)])

    @staticmethod
    def _finish(taken: Sequence[_Waiting], answers: Answers) -> None:
        for waiting, answer in zip(taken, answers.of_request, strict=True):
            if waiting.future.done():  # its client has gone
                continue
            if isinstance(answer, Exception):
                waiting.future.set_exception(answer)
            else:
                waiting.future.set_result(answer)


def _go_together(rows: Rows, others: Rows) -> bool:
    return rows.form == others.form and not rows.shared and not others.shared
