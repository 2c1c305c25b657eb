"""Work of the dense part in fixed blocks, spread over threads in each of which torch is single-threaded.

The last bits of a matrix product depend on how a library deals it to its threads. So it is dealt here, into blocks that
depend on the shapes alone: every block is one call of a library on one thread, whichever thread takes it, and results
are the same for any number of threads. It also keeps OpenMP's threads, which spin while they wait, from the cores.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier, Lock
from typing import TypeVar

import torch

from fieldwise.kernels.threads import num_threads

__all__ = ["cut", "run_blocks", "single_threaded_torch"]

Item = TypeVar("Item")


def cut(length: int, size: int) -> list[slice]:
    """Return slices of `size`, the last of which may be shorter, that cover 0 .. length.

    Examples
    --------
    >>> cut(5, 2)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    return [slice(begin, min(begin + size, length)) for begin in range(0, length, size)]


class _Workers:
    """The threads of this process; made when first needed, and anew after a fork or for another number."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.executor: ThreadPoolExecutor | None = None
        self.made_for = (0, 0)

    def get(self) -> ThreadPoolExecutor:
        wanted = (os.getpid(), num_threads())
        with self.lock:
            if self.executor is None or self.made_for != wanted:
                self.executor, self.made_for = _start(wanted[1]), wanted
            return self.executor


def _start(size: int) -> ThreadPoolExecutor:
    # A thread takes its number of OpenMP threads from the process when it first asks torch, and keeps it.
    together = Barrier(size)

    def prepare() -> None:
        torch.get_num_threads()
        torch.set_grad_enabled(False)
        together.wait()

    executor = ThreadPoolExecutor(size, thread_name_prefix="fieldwise-dense", initializer=prepare)
    with single_threaded_torch():
        for future in [executor.submit(int) for _ in range(size)]:
            future.result()
    return executor


_WORKERS = _Workers()


@contextmanager
def single_threaded_torch() -> Iterator[None]:
    """Let torch use one thread in the block, but for what `run_blocks` spreads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_blocks(function: Callable[[Item], object], blocks: Sequence[Item]) -> None:
    """Call `function` once with every block, without gradients and autocast, several at a time in any order.

    The calling thread takes part where torch is single-threaded in it.
    """
    takes_part = torch.get_num_threads() == 1
    helpers = min(num_threads(), len(blocks)) - takes_part
    pending = deque(blocks)

    def work() -> None:
        while True:
            try:
                block = pending.popleft()
            except IndexError:
                return
            function(block)

    waiting = [_WORKERS.get().submit(work) for _ in range(helpers)]
    try:
        if takes_part:
            with torch.no_grad(), torch.autocast("cpu", enabled=False):
                work()
    finally:
        for future in waiting:
            future.exception()
    for future in waiting:
        future.result()
