"""What a server takes at most: bytes, rows, values, connections and seconds."""

from __future__ import annotations

import msgspec

from fieldwise.counted import counted
from fieldwise.serving.refusals import Refusal

__all__ = ["HeldBytes", "Limits", "busy", "too_many_rows", "too_many_values"]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of a server.

    Attributes
    ----------
    body_bytes
        Of the body of one request, before and after decompression.
    held_bytes
        Of the bodies of all requests that are being received or answered.
    rows
        Of one request.
    explained_rows
        Of one request to explain, which takes a hundred times as long as to answer.
    values
        In one cell of a bag.
    queued_rows
        Waiting for an answer, of all requests to one version of a model. A request that finds the queue empty is
        always taken.
    batch_rows
        Answered together. A request with more rows is a batch of its own.
    header_bytes
        Of the request line and the headers.
    connections
        Open at the same time.
    receive_seconds
        From the first byte of a request to its last, and from the start of a connection to its first request.
    send_seconds
        Without progress while a client does not read its answer.
    idle_seconds
        Between two requests on one connection.
    stop_seconds
        For requests under way when the server is stopped.
    """

    body_bytes: int = 16 << 20
    held_bytes: int = 256 << 20
    rows: int = 10_000
    explained_rows: int = 100
    values: int = 10_000
    queued_rows: int = 20_000
    batch_rows: int = 1_000
    header_bytes: int = 32 << 10
    connections: int = 4_000
    receive_seconds: float = 20.0
    send_seconds: float = 20.0
    idle_seconds: float = 75.0
    stop_seconds: int = 30


class HeldBytes:
    """Counts the bytes of bodies in memory, and refuses more than there may be.

    Examples
    --------
    >>> held = HeldBytes(10)
    >>> held.take(8)
    >>> held.take(8)
    Traceback (most recent call last):
    ...
    fieldwise.serving.refusals.Refusal: the server holds as many bytes of requests as it may; try again
    >>> held.give(8)
    >>> held.take(8)
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.held = limit, 0

    def take(self, num_bytes: int) -> None:
        """Count bytes that have come; raise `Refusal` (503) if they are too many."""
        if self.held + num_bytes > self.limit:
            raise busy("the server holds as many bytes of requests as it may; try again")
        self.held += num_bytes

    def give(self, num_bytes: int) -> None:
        """Count bytes that are no longer held."""
        self.held -= num_bytes


def busy(text: str) -> Refusal:
    """Return the refusal of a request that may be repeated in a second."""
    return Refusal(503, text, ((b"retry-after", b"1"),))


def too_many_rows(num_rows: int, limits: Limits) -> None:
    """Raise `Refusal` if a request has too many rows."""
    if num_rows > limits.rows:
        raise Refusal(413, f"a request holds {counted(limits.rows, 'row')} at most, not {num_rows}: send several")


def too_many_values(num_values: int, column: str, limits: Limits) -> None:
    """Raise `Refusal` if a cell of a bag has too many values."""
    if num_values > limits.values:
        raise Refusal(413, f"column {column}: a cell holds {counted(limits.values, 'value')} at most, not {num_values}")
