"""What a worker sends, and how long it waits for others: counted as it happens."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

__all__ = ["Count", "Traffic", "find_straggler"]

_TIMES_THE_WORK = 1.5


class Count(msgspec.Struct):
    """Messages of one kind.

    Attributes
    ----------
    messages
        How many this worker took part in.
    num_bytes
        Sent to other workers; what stays here is not counted.
    seconds
        Spent in sending, receiving, and waiting for the last worker; not what was done meanwhile.
    """

    messages: int = 0
    num_bytes: int = 0
    seconds: float = 0.0


class Traffic(msgspec.Struct):
    """All of a worker's messages by kind, and the rows that it asked for and lent.

    Attributes
    ----------
    kinds
        ``counts``, ``rows``, ``weights``, ``gradients``, ``dense`` and ``statistics`` of the steps; ``bundle`` and
        ``other`` of what is saved. Evaluation is not counted.
    steps, examples
        Steps that were learnt from, and this worker's examples in them.
    step_seconds, waiting_seconds
        Of these steps; and what part of them went into messages. What is left is this worker's own work: where one has
        more of it than the others, they wait for it.
    cpu_seconds
        Of the process, all threads, in these steps.
    ids, rows_asked, rows_served
        Features that occurred in these examples; different rows among those of a step; rows lent to all workers.
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
        """Count a message that the block sends."""
        count = self.kinds.setdefault(kind, Count())
        count.messages += 1
        count.num_bytes += num_bytes
        with self.waiting(kind):
            yield

    @contextmanager
    def waiting(self, kind: str) -> Iterator[None]:
        """Count the seconds of the block."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.kinds[kind].seconds += time.perf_counter() - begun

    @contextmanager
    def stepping(self, num_examples: int) -> Iterator[None]:
        """Count a step that the block does."""
        begun, cpu, waited = time.perf_counter(), time.process_time(), self.seconds
        yield
        self.steps += 1
        self.examples += num_examples
        self.step_seconds += time.perf_counter() - begun
        self.cpu_seconds += time.process_time() - cpu
        self.waiting_seconds += self.seconds - waited

    @property
    def step_bytes(self) -> int:
        """Bytes sent in steps."""
        return sum(count.num_bytes for kind, count in self.kinds.items() if kind not in ("bundle", "other"))

    @property
    def seconds(self) -> float:
        """Seconds of messages of all kinds."""
        return sum(count.seconds for count in self.kinds.values())

    @property
    def own_seconds(self) -> float:
        """Seconds of a step that this worker does not spend in messages."""
        return (self.step_seconds - self.waiting_seconds) / max(self.steps, 1)


def find_straggler(workers: Sequence[Traffic]) -> tuple[int, float] | None:
    """Return the worker that all wait for, and how many times the median of the others' own work it has.

    None where no worker has 1.5 times as much.

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
