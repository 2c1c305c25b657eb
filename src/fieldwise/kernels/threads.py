"""The threads that run the kernels: a team of threads that call kernels which release the GIL.

Kernels are compiled without numba's own parallel loops. Its threading layers either abort when two Python threads call
them at once (a reader that decodes the next batch, a loop that trains on this one) or keep OpenMP threads spinning
beside torch's. A team over ``nogil`` kernels has neither fault, and leaves it to us which thread owns which rows: that
is what makes results independent of the number of threads.

A call of the team costs 10 to 15 microseconds where the last was some tens of microseconds ago; Python's own executor
took 90 on the same virtual machine, for it puts both threads to sleep (`kernels.signals`).
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock, Thread
from typing import Any, TypeVar

from fieldwise.forks import ForkLock
from fieldwise.kernels.signals import Signal

__all__ = [
    "IDS_PER_THREAD",
    "ThreadTeam",
    "available_cores",
    "map_in_order",
    "num_threads",
    "run_each",
    "set_num_threads",
    "team",
]

IDS_PER_THREAD = 16_384
"""Fewer features of a batch are not worth a thread."""
_STAGGER = 100
"""Pauses between one helper's begin and the next one's: who calls them has let go of Python's lock by then. A thread
that finds it taken goes to sleep."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Helper:
    """A thread that makes one call after the other."""

    def __init__(self, name: str, place: int) -> None:
        self._begin, self._end, self._pauses = Signal(), Signal(), _STAGGER * (place + 1)
        self._call: tuple[Callable[..., Any], tuple[object, ...]] | None = None
        self._result: Any = None
        self._error: BaseException | None = None
        Thread(target=self._work, name=f"{name}-{place}", daemon=True).start()

    def begin(self, function: Callable[..., Any], arguments: tuple[object, ...]) -> None:
        self._call = function, arguments
        self._begin.post()

    def end(self) -> tuple[Any, BaseException | None]:
        """Wait until the call is over, and return its result and what it raised."""
        self._end.wait()
        result, error = self._result, self._error
        self._call = self._result = self._error = None
        return result, error

    def leave(self) -> None:
        """End the thread."""
        self._call = None
        self._begin.post()

    def _work(self) -> None:
        while True:
            self._begin.wait(self._pauses)
            if self._call is None:
                return
            function, arguments = self._call
            try:
                self._result = function(*arguments)
            except BaseException as error:
                self._error = error
            del function, arguments  # the arrays of a call are not kept until the next
            self._end.post()


class ThreadTeam:
    """Threads that work together with the one that calls them; used by one thread at a time (`busy`).

    Parameters
    ----------
    size
        Threads that work at the same time, 1 or more. There are as many helpers: the caller may take no part (`begin`).
    name
        Of their threads.

    Examples
    --------
    >>> ThreadTeam(2, "example").run(max, [(1, 2), (4, 3)])
    [2, 4]
    """

    def __init__(self, size: int, name: str) -> None:
        self.busy = Lock()
        self.made_for: tuple[int, int] | None = (os.getpid(), size)
        self._helpers = [_Helper(name, place) for place in range(size)]

    def run(self, function: Callable[..., Result], argument_lists: Sequence[tuple[object, ...]]) -> list[Result]:
        """Call `function` with each list, the first in this thread; return the results in their order.

        What a call raised is raised when all are over.
        """
        given = self.begin(function, argument_lists[1 : len(self._helpers)])
        try:
            own = function(*argument_lists[0])
            left = [function(*arguments) for arguments in argument_lists[given + 1 :]]
        finally:
            results = self.end(given)
        return [own, *results, *left]

    def begin(self, function: Callable[..., Any], argument_lists: Sequence[tuple[object, ...]]) -> int:
        """Let each helper make a call, as many as there are helpers; return how many."""
        given = min(len(self._helpers), len(argument_lists))
        try:
            for helper, arguments in zip(self._helpers, argument_lists, strict=False):
                helper.begin(function, arguments)
        except BaseException:  # the user's interruption, as in `end`
            self.made_for = None
            raise
        return given

    def end(self, given: int) -> list[Any]:
        """Wait for the calls of so many helpers, and return their results, or raise what the first raised."""
        try:
            ended = [helper.end() for helper in self._helpers[:given]]
        except BaseException:  # the user's interruption: helpers may still be at work
            self.made_for = None
            raise
        for _, error in ended:
            if error is not None:
                raise error
        return [result for result, _ in ended]

    def leave(self) -> None:
        """End the threads, unless they are at work; the team is of no use afterwards."""
        if self.busy.acquire(blocking=False):
            for helper in self._helpers:
                helper.leave()


class _Pool:
    """The team of the process: made when first needed, and anew after a fork, for another number of threads, or when
    the user's interruption has left it at work.
    """

    def __init__(self) -> None:
        self.size = available_cores()
        self._lock = ForkLock()
        self._team: ThreadTeam | None = None

    def team(self) -> ThreadTeam:
        with self._lock:
            old, wanted = self._team, (os.getpid(), self.size)
            if old is not None and old.made_for == wanted:
                return old
            if old is not None and old.made_for is not None and old.made_for[0] == wanted[0]:
                old.leave()
            self._team = ThreadTeam(self.size, "fieldwise")
            return self._team


_POOL = _Pool()


def num_threads() -> int:
    """Return how many threads the kernels use: the cores of this process unless set otherwise."""
    return _POOL.size


def set_num_threads(count: int) -> None:
    """Use `count` threads (>= 1) from now on."""
    if count < 1:
        raise ValueError(f"count (={count}) must be 1 or more")
    _POOL.size = count


def team() -> ThreadTeam:
    """Return the team of this process; it has a helper for each thread, for a caller that takes no part."""
    return _POOL.team()


def run_each(function: Callable[..., Result], argument_lists: Iterable[tuple[object, ...]]) -> list[Result]:
    """Call `function` once with each list of arguments, all at the same time, and return what each call returned.

    The caller's own thread takes the first list. With one list nothing is handed over, so it costs nothing; and where
    another thread has the team at work, the caller takes all of them, one after the other.
    """
    lists = list(argument_lists)
    if len(lists) > 1:
        helpers = team()
        if helpers.busy.acquire(blocking=False):
            try:
                return helpers.run(function, lists)
            finally:
                helpers.busy.release()
    return [function(*arguments) for arguments in lists]


def map_in_order(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Call `function` with each item in threads, and yield the results in the order of the items.

    What is yielded does not depend on the number of threads. No more items are taken than there are threads, and one
    more. The first exception in the order of the items is raised in its place; nothing is called after it.

    The threads are not those of `run_each`, so `function` may use it.

    Examples
    --------
    >>> list(map_in_order(str.upper, "abc"))
    ['A', 'B', 'C']
    """
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(num_threads(), thread_name_prefix="fieldwise-map")
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > num_threads():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
