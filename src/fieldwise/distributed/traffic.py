"""Statistics of the messages of a worker and of the time that it waits for others."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

__all__ = ["Count", "Traffic", "find_straggler"]

_TIMES_THE_WORK = 1.5


class Count(msgspec.Struct):
    """Statistics of the messages of one kind.

    Attributes
    ----------
    messages
        Number of messages that this worker took part in.
    num_bytes
        Bytes sent to other workers.
    seconds
        Time spent in sending, receiving and waiting for the last worker, without work done in the meantime.
    """

    messages: int = 0
    num_bytes: int = 0
    seconds: float = 0.0


class Traffic(msgspec.Struct):
    """Statistics of the messages of a worker by kind, and of the table rows that it requested and served.

    Attributes
    ----------
    kinds
        ``counts``, ``rows``, ``weights``, ``gradients``, ``dense`` and ``statistics`` in training steps; ``bundle`` and
        ``other`` when saving. Evaluation is not counted.
    steps, examples
        Number of training steps, and of this worker's examples in them.
    step_seconds, waiting_seconds
        Time of these steps, and the part of it spent in messages. The difference is the worker's own computation; if
        one worker has more of it than the others, they wait for it.
    cpu_seconds
        CPU time of all threads of the process in these steps.
    ids, rows_asked, rows_served
        Number of features in the examples; of distinct rows per step, summed over the steps; and of rows sent to all
        workers.
    """

    kinds: dict[str, Count] = {}
    steps: int = 0
    examples: int = 0
    step_seconds: float = 0.0
    waiting_seconds: float = 0.0
    cpu_seconds: float = 0.0
    ids: int = 0
    rows_asked: int = 0
    rows_served: int = 0

    @contextmanager
    def counting(self, kind: str, num_bytes: int) -> Iterator[None]:
        """Count a message that is sent inside the block."""
        count = self.kinds.setdefault(kind, Count())
        count.messages += 1
        count.num_bytes += num_bytes
        with self.waiting(kind):
            yield

    @contextmanager
    def waiting(self, kind: str) -> Iterator[None]:
        """Count the time of the block as waiting."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.kinds[kind].seconds += time.perf_counter() - begun

    @contextmanager
    def stepping(self, num_examples: int) -> Iterator[None]:
        """Count the block as a training step."""
        begun, cpu, waited = time.perf_counter(), time.process_time(), self.seconds
        yield
        self.steps += 1
        self.examples += num_examples
        self.step_seconds += time.perf_counter() - begun
        self.cpu_seconds += time.process_time() - cpu
        self.waiting_seconds += self.seconds - waited

    @property
    def step_bytes(self) -> int:
        """Bytes sent in training steps."""
        return sum(count.num_bytes for kind, count in self.kinds.items() if kind not in ("bundle", "other"))

    @property
    def seconds(self) -> float:
        """Total time of all messages."""
        return sum(count.seconds for count in self.kinds.values())

    @property
    def own_seconds(self) -> float:
        """Average time per step that this worker computes instead of sending or waiting."""
        return (self.step_seconds - self.waiting_seconds) / max(self.steps, 1)


def find_straggler(workers: Sequence[Traffic]) -> tuple[int, float] | None:
    """Return the slowest worker and the ratio of its computation time to the median of the others.

    None if the ratio is below 1.5.

    Examples
    --------
    >>> find_straggler([Traffic(steps=10, step_seconds=3.0, waiting_seconds=w) for w in (2.0, 2.0, 0.5)])
    (2, 2.5)
    >>> find_straggler([Traffic(steps=10, step_seconds=3.0, waiting_seconds=w) for w in (2.0, 1.8)])
    """
    if len(workers) < 2:
        return None
    own = [each.own_seconds for each in workers]
    slowest = own.index(max(own))
    others = statistics.median(own[:slowest] + own[slowest + 1 :])
    return (slowest, own[slowest] / others) if own[slowest] >= _TIMES_THE_WORK * others > 0 else None
