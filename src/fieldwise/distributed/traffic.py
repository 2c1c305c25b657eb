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
        ``counts``, ``rows``, ``weights``, ``gradients``, ``dense``, ``statistics`` and ``other``.
    steps, examples
        Steps that were learnt from, and this worker's examples in them.
    ids, rows_asked, rows_served
        Features that occurred in these examples; different rows among those of a step; rows lent to all workers.
    """

    kinds: dict[str, Count] = {}
    steps: int = 0
    examples: int = 0
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

    @property
    def num_bytes(self) -> int:
        """Bytes sent, of all kinds."""
        return sum(count.num_bytes for count in self.kinds.values())
