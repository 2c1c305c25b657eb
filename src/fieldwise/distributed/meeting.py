"""How the workers of one start find each other, and no workers of earlier starts.

The store of torchrun's agents outlives the workers: it still contains keys written by workers of earlier starts,
including addresses of dead workers, which torch 2.13 uses in half of all restarts. Starts cannot be distinguished by
the number of restarts, because every agent counts its own. Therefore worker 0 opens a meeting under a new random name,
every other worker registers with a random number, and worker 0 closes the meeting with the numbers of all workers. A
worker that finds its own number there has met only living workers. The name of the meeting is the prefix of all their
keys.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Protocol

from fieldwise.errors import WorkerLost

__all__ = ["Store", "meet", "wait_for"]

_SECONDS_TO_STOP = 5.0


class Store(Protocol):
    """The methods of torch's key-value stores that are used here."""

    def set(self, key: str, value: str) -> None:
        """Write a value."""

    def get(self, key: str) -> bytes:
        """Return the value of an existing key."""

    def check(self, keys: list[str]) -> bool:
        """Return whether all keys exist."""


def meet(store: Store, rank: int, size: int, seconds: float) -> str:
    """Return the name of a meeting that all workers of the current start, 0 to size - 1, have joined.

    Parameters
    ----------
    store
        Shared by all workers.
    rank, size
        The number of this worker, and the number of workers.
    seconds
        Timeout.

    Raises
    ------
    WorkerLost
        A worker did not join in time.
    """
    deadline, own = time.monotonic() + seconds, secrets.token_hex(8)
    if rank == 0:
        store.set("meeting", own)
        keys = [f"{own}/{other}" for other in range(1, size)]
        for key in keys:
            wait_for(store, key, deadline)
        store.set(f"{own}/all", " ".join(store.get(key).decode() for key in keys))
        return own
    name = ""
    while True:
        wait_for(store, "meeting", deadline)
        newest = store.get("meeting").decode()
        if newest != name:
            name = newest
            store.set(f"{name}/{rank}", own)
        elif store.check([f"{name}/all"]) and own in store.get(f"{name}/all").decode().split():
            return name
        _pause(deadline)


def wait_for(
    store: Store, key: str, deadline: float | None = None, stopping: Callable[[], bool] = lambda: False
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
    pause = 0.005
    while not store.check([key]):
        _pause(deadline, pause)
        pause = min(2 * pause, 0.25)
        if deadline is None and stopping():
            deadline = time.monotonic() + _SECONDS_TO_STOP


def _pause(deadline: float | None, seconds: float = 0.01) -> None:
    if deadline is not None and time.monotonic() > deadline:
        raise WorkerLost("another worker did not respond in time")
    time.sleep(seconds)
