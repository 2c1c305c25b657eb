"""Work of the dense part in fixed blocks, spread over threads in each of which torch is single-threaded.

The last bits of a matrix product depend on how a library deals it to its threads. So it is dealt here, into blocks that
depend on the shapes alone: every block is one call of a library on one thread, whichever thread takes it, and results
are the same for any number of threads. It also keeps OpenMP's threads, which spin while they wait, from the cores.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar
from weakref import WeakSet

import torch

from fieldwise.forks import inherited_torch
from fieldwise.kernels.threads import ThreadTeam, num_threads, team

__all__ = ["cut", "is_exporting", "run_blocks", "set_torch_threads", "single_threaded_torch"]

Item = TypeVar("Item")


def cut(length: int, size: int) -> list[slice]:
    """Return slices of `size`, the last of which may be shorter, that cover 0 .. length.

    Examples
    --------
    >>> cut(5, 2)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    return [slice(begin, min(begin + size, length)) for begin in range(0, length, size)]


def is_exporting() -> bool:
    """Whether torch is writing down what a module does: it is then to be plain torch, without functions of our own."""
    return torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export()


def set_torch_threads(count: int) -> None:
    """Let torch use `count` threads; one in a child of a fork, which has no others (`forks`)."""
    torch.set_num_threads(1 if inherited_torch() else count)


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
    if not blocks:
        return
    pending = deque(blocks)

    def work() -> None:
        while True:
            try:
                block = pending.popleft()
            except IndexError:
                return
            function(block)

    def alone() -> None:
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            work()

    if not helpers:
        alone()
        return
    helping = team()
    with helping.busy:
        _prepare(helping)
        given = helping.begin(work, [()] * helpers)
        try:
            if takes_part:
                alone()
        finally:
            helping.end(given)


_PREPARED: WeakSet[ThreadTeam] = WeakSet()


def _prepare(helping: ThreadTeam) -> None:
    """Let torch be single-threaded, and without gradients, in every thread of a team."""
    if helping not in _PREPARED:
        # A thread takes its number of OpenMP threads from the process when it first asks torch, and keeps it.
        with single_threaded_torch():
            helping.end(helping.begin(_settle, [()] * num_threads()))
        _PREPARED.add(helping)


def _settle() -> None:
    torch.get_num_threads()
    torch.set_grad_enabled(False)
