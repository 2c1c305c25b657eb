"""What a child of a fork needs to go on, whatever its parent was doing.

A child of `os.fork` (a server's worker whose master had loaded the model, a pool of `multiprocessing` on Linux) has the
memory of its parent and one thread. So it must not wait for what the other threads were to do:

* torch's own threads (OpenMP's) are gone, but the library believes that they wait for work, and the child would wait
  for them for ever. The child's torch therefore works on one thread. The products of layers, and the kernels, are
  spread over a team of our own (`kernels.threads`, `nn.blocks`), which the child makes anew.
* A lock that another thread held is held for ever. Ours are made anew (`ForkLock`); what they guard stays right when it
  is left half done. numba's lock is waited for before the fork, for its compiler must not be left half done.

`fieldwise` registers this when it is imported. A process that forks before that, with torch's threads at work, gets no
help from here.
"""

from __future__ import annotations

import os
import sys
import threading
from types import TracebackType
from typing import Any
from weakref import WeakSet

__all__ = ["ForkLock", "inherited_torch", "register"]

_COMPILING_SECONDS = 60.0
"""A fork waits no longer for a thread that compiles."""


class ForkLock:
    """As `threading.Lock`, but free in a child, whoever held it in its parent.

    Examples
    --------
    >>> lock = ForkLock()
    >>> with lock:
    ...     lock.acquire(blocking=False)
    False
    """

    def __init__(self) -> None:
        self.renew()
        _LOCKS.add(self)

    def renew(self) -> None:
        """Make it free."""
        self._lock = threading.Lock()

    def acquire(self, blocking: bool = True) -> bool:
        """Take it, and return whether that was possible."""
        return self._lock.acquire(blocking)

    def release(self) -> None:
        """Let go of it."""
        self._lock.release()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lock.release()


_LOCKS: WeakSet[ForkLock] = WeakSet()


class _State:
    """Of this process: whether its torch came from a parent, and numba's lock while a fork is under way."""

    inherited_torch = False
    compiling: Any = None
    registered = False


def inherited_torch() -> bool:
    """Return whether this process has torch from its parent, and may therefore use one thread of it only."""
    return _State.inherited_torch


def register() -> None:
    """Let forks of this process be prepared, once."""
    if not _State.registered and hasattr(os, "register_at_fork"):
        _State.registered = True
        os.register_at_fork(before=_before, after_in_parent=_release_compiler, after_in_child=_in_child)


def _before() -> None:
    numba = sys.modules.get("numba.core.compiler_lock")
    lock = getattr(getattr(numba, "global_compiler_lock", None), "_lock", None)
    if lock is not None and lock.acquire(timeout=_COMPILING_SECONDS):
        _State.compiling = lock


def _release_compiler() -> None:
    lock, _State.compiling = _State.compiling, None
    if lock is not None:
        lock.release()


def _in_child() -> None:
    _release_compiler()
    for lock in list(_LOCKS):
        lock.renew()
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "set_num_threads"):  # not where its import is under way
        _State.inherited_torch = True
        torch.set_num_threads(1)
