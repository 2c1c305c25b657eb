"""How the workers of one start find each other, and nobody else.

The store of torchrun's agents outlives the workers: it holds what those of earlier starts wrote, addresses of the dead
among it, which torch 2.13 takes for the living in half of all restarts. Neither the number of restarts nor that of
the workers tells starts apart: agents count restarts each for itself. So worker 0 opens a meeting with a name that was
never used, every other worker signs in with a number drawn for this occasion, and worker 0 closes the meeting with the
numbers of all. A worker that finds its own number there has met living workers only; all that they say to one another
has the name of the meeting before it.
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
    """What is used of torch's key-value stores."""

    def set(self, key: str, value: str) -> None:
        """Write a value."""

    def get(self, key: str) -> bytes:
        """Return a value that is there."""

    def check(self, keys: list[str]) -> bool:
        """Return whether all of these are there."""


def meet(store: Store, rank: int, size: int, seconds: float) -> str:
    """Return the name of a meeting that all of the workers 0 .. size - 1, started with this one, have come to.

    Raises
    ------
    WorkerLost
        Not all came in time.
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
    """Wait until a key is there, receiving signals meanwhile: a store's own waiting does not let them through.

    Some seconds after `stopping` first said so it is no use waiting on: whoever is to write the key has ended.
    """
    pause = 0.005
    while not store.check([key]):
        _pause(deadline, pause)
        pause = min(2 * pause, 0.25)
        if deadline is None and stopping():
            deadline = time.monotonic() + _SECONDS_TO_STOP


def _pause(deadline: float | None, seconds: float = 0.01) -> None:
    if deadline is not None and time.monotonic() > deadline:
        raise WorkerLost("another worker did not come in time")
    time.sleep(seconds)
