"""Waiting for keys of the key-value store that the workers of a start share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from fieldwise.errors import WorkerLost

__all__ = ["KeyValueStore", "pause", "wait_for"]

_SECONDS_TO_STOP = 5.0


class KeyValueStore(Protocol):
    """The methods of torch's key-value stores that are used here."""

    def set(self, key: str, value: str) -> None:
        """Write a value."""

    def get(self, key: str) -> bytes:
        """Return the value of an existing key."""

    def check(self, keys: list[str]) -> bool:
        """Return whether all keys exist."""


def wait_for(
    store: KeyValueStore, key: str, deadline: float | None = None, stopping: Callable[[], bool] = lambda: False
) -> None:
    """Wait for a key to be set. Unlike the stores' own wait, this lets signals be handled.

    Parameters
    ----------
    store, key
        What to wait for.
    deadline
        On the clock of `time.monotonic`; None for no limit.
    stopping
        Returns whether this worker has been asked to stop. Some seconds later waiting ends, since the worker that would
        set the key has stopped too.

    Raises
    ------
    WorkerLost
        The key was not set in time.
    """
    seconds = 0.005
    while not store.check([key]):
        pause(deadline, seconds)
        seconds = min(2 * seconds, 0.25)
        if deadline is None and stopping():
            deadline = time.monotonic() + _SECONDS_TO_STOP


def pause(deadline: float | None, seconds: float = 0.01) -> None:
    """Sleep; raise WorkerLost after the deadline."""
    if deadline is not None and time.monotonic() > deadline:
        raise WorkerLost("another worker did not respond in time")
    time.sleep(seconds)
