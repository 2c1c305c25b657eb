"""What a worker sends, and how long it waits for others: counted as it happens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

__all__ = ["Count", "Traffic"]


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
