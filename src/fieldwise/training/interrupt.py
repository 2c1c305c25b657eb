"""Stopping on request: SIGTERM and Ctrl-C are noted, and the loop stops at the end of its step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

__all__ = ["Interrupt", "Interrupted", "noting_signals"]

Item = TypeVar("Item")

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(Exception):
    """`Interrupt.watch` found that the work is to stop."""


class Interrupt:
    """Whether somebody asked the work to stop.

    Attributes
    ----------
    requested
        Set by a signal, or by hand.
    alone
        Whether this process may stop by itself; several workers stop together, after a step.
    """

    def __init__(self) -> None:
        self.requested = False
        self.alone = True

    def watch(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items, and raise `Interrupted` before the first one that comes after the request."""
        for item in items:
            if self.requested and self.alone:
                raise Interrupted
            yield item


@contextmanager
def noting_signals() -> Iterator[Interrupt]:
    """Note SIGTERM and SIGINT in place of dying from them; a second SIGINT is a KeyboardInterrupt at once.

    Only a process's main thread receives signals: in another thread nothing is changed.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return

    def note(number: int, frame: FrameType | None) -> None:
        if interrupt.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        interrupt.requested = True

    before = [(number, signal.signal(number, note)) for number in _SIGNALS]
    try:
        yield interrupt
    finally:
        for number, handler in before:
            signal.signal(number, handler)
