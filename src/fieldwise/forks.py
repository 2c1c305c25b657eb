"""Fork safety: keeps a child of `os.fork` working whatever its parent was doing.

The child of a fork (a server worker whose master has loaded the model, a `multiprocessing` pool on Linux) has the
memory of its parent but only one thread, so it must not wait for other threads:

* torch's OpenMP threads no longer exist, but OpenMP would wait for them forever. The child therefore uses torch with
one
  thread. Kernels and the matrix products of layers use a thread pool of our own (`kernels.threads`, `nn.blocks`), which
  the child creates again.
* A lock held by another thread is never released. Our own locks are replaced by free ones (`ForkLock`); the data that
  they guard remain valid if an update was interrupted. numba's compiler lock is acquired before the fork, because the
  compiler must not be interrupted.

The hooks are registered when `fieldwise` is imported. They cannot help a process that forked before that while torch's
threads were running.
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
"""How long a fork waits for a thread that is compiling."""


class ForkLock:
    """A `threading.Lock` that is free in a forked child, whoever held it in the parent.

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
        """Replace the lock by a free one."""
        self._lock = threading.Lock()

    def acquire(self, blocking: bool = True) -> bool:
        """Acquire the lock and return whether it was acquired."""
        return self._lock.acquire(blocking)

    def release(self) -> None:
        """Release the lock."""
        self._lock.release()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lock.release()


_LOCKS: WeakSet[ForkLock] = WeakSet()


class _State:
    """State of this process: whether torch was inherited from a parent, and numba's lock during a fork."""

    inherited_torch = False
    compiling: Any = None
    registered = False


def inherited_torch() -> bool:
    """Return whether this process inherited torch from its parent, and must therefore use it with one thread."""
    return _State.inherited_torch


def register() -> None:
    """Register the fork hooks of this process, once."""
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
    if torch is not None and hasattr(torch, "set_num_threads"):  # absent while torch is being imported
        _State.inherited_torch = True
        torch.set_num_threads(1)
