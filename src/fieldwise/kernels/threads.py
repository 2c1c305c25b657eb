"""The threads that run the kernels: a small pool over kernels that release Python's lock.

Kernels are compiled without numba's own parallel loops. Its threading layers either abort when two Python threads call
them at once (a reader that decodes the next batch, a loop that trains on this one) or keep OpenMP threads spinning
beside torch's. A pool over ``nogil`` kernels has neither fault, costs about 30 microseconds a launch, and leaves it
to us which thread owns which rows: that is what makes results independent of the number of threads.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["IDS_PER_THREAD", "available_cores", "map_in_order", "num_threads", "run_each", "set_num_threads"]

IDS_PER_THREAD = 16_384
"""Fewer features of a batch are not worth waking a thread for, which takes some 30 microseconds."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Pool:
    """The pool of the process; made when first needed, and anew after a fork."""

    def __init__(self) -> None:
        self.size = available_cores()
        self.executor: ThreadPoolExecutor | None = None
        self.owner = 0

    def helpers(self) -> ThreadPoolExecutor:
        if self.executor is None or self.owner != os.getpid():
            self.executor = ThreadPoolExecutor(max_workers=max(self.size - 1, 1), thread_name_prefix="fieldwise")
            self.owner = os.getpid()
        return self.executor


_POOL = _Pool()


def num_threads() -> int:
    """Return how many threads the kernels use: the cores of this process unless set otherwise."""
    return _POOL.size


def set_num_threads(count: int) -> None:
    """Use `count` threads (>= 1) from now on."""
    if count < 1:
        raise ValueError(f"count (={count}) must be 1 or more")
    if count != _POOL.size:
        _POOL.size, _POOL.executor = count, None


def run_each(function: Callable[..., Result], argument_lists: Iterable[tuple[object, ...]]) -> list[Result]:
    """Call `function` once with each list of arguments, all at the same time, and return what each call returned.

    The caller's own thread takes the first list. With one list nothing is handed over, so it costs nothing.
    """
    first, *others = argument_lists
    waiting = [_POOL.helpers().submit(function, *arguments) for arguments in others]
    try:
        results = [function(*first)]
    finally:
        others_results = [future.result() for future in waiting]
    return results + others_results


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
