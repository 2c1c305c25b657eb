"""A signal from one thread to another, cheap where the wait is short.

A thread that sleeps takes long to wake: 45 microseconds on the virtual machine where this was measured, and a step of
logistic regression wakes threads four times. So the waiting thread polls a word of memory for a while, with the GIL
released, and sleeps only then.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from threading import Semaphore
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from fieldwise.kernels.jit import kernel

__all__ = ["Signal"]

_NOTHING, _POSTED, _ASLEEP = 0, 1, 2
_HAS_PAUSE = platform.machine().lower() in ("x86_64", "amd64")
_LOOKS = 8_000 if _HAS_PAUSE else 100_000
"""Some 200 microseconds: a pause takes 20 to 40 ns, a look 1 to 2. With 60 a bare loop took 700 microseconds a batch or
1,100, for minutes on end."""

Word = npt.NDArray[np.int64]


def _address(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Generate the address of the first number of the first argument."""
    view = context.make_array(signature.args[0])(context, builder, arguments[0])
    zero = ir.Constant(ir.IntType(64), 0)
    return cgutils.get_item_pointer(context, builder, signature.args[0], view, [zero], wraparound=False)  # type: ignore[no-untyped-call]


def _look(typing_context: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_address(context, builder, signature, arguments), "acquire", 8)

    return types.int64(word), generate


def _swap(typing_context: Any, word: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.atomic_rmw("xchg", _address(context, builder, signature, arguments), arguments[1], "seq_cst")

    return types.int64(word, types.int64), generate


def _replace(typing_context: Any, word: Any, old: Any, new: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, signature, arguments)
        return builder.extract_value(builder.cmpxchg(address, *arguments[1:], "seq_cst", "seq_cst"), 0)

    return types.int64(word, types.int64, types.int64), generate


def _pause(typing_context: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if _HAS_PAUSE:
            shape = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, shape, "llvm.x86.sse2.pause"), [])  # type: ignore[no-untyped-call]
        return context.get_dummy_value()

    return types.void(), generate


look: Callable[[Word], int] = intrinsic(_look)  # type: ignore[assignment]
"""In a kernel: return ``word[0]``, and see all that was written before it."""
swap: Callable[[Word, int], int] = intrinsic(_swap)  # type: ignore[assignment]
"""In a kernel: set ``word[0]``, and return what it was."""
replace: Callable[[Word, int, int], int] = intrinsic(_replace)  # type: ignore[assignment]
"""In a kernel: set ``word[0]`` to the last argument where it is the one before, and return what it was."""
pause: Callable[[], None] = intrinsic(_pause)  # type: ignore[assignment]
"""In a kernel: let a core that has two threads work for the other one."""


@kernel
def _post(word: Word) -> int:
    return swap(word, _POSTED)


@kernel
def _clear(word: Word) -> int:
    return swap(word, _NOTHING)


@kernel
def _is_posted(word: Word, looks: int, pauses: int) -> bool:
    """Look at a word until it is posted, then clear it and pause; or mark it as slept on, and return False."""
    for _ in range(looks):
        if look(word) == _POSTED:
            swap(word, _NOTHING)
            for _ in range(pauses):
                pause()
            return True
        pause()
    if replace(word, _NOTHING, _ASLEEP) == _POSTED:
        swap(word, _NOTHING)
        return True
    return False


class Signal:
    """Posted by one thread, waited for by another; both again and again, in turns.

    Examples
    --------
    >>> signal = Signal()
    >>> signal.post()
    >>> signal.wait()
    """

    def __init__(self) -> None:
        self._word = np.zeros(1, dtype=np.int64)
        self._awake = Semaphore(0)

    def post(self) -> None:
        """Let the other thread go on. What was written before, it sees."""
        if _post(self._word) == _ASLEEP:
            self._awake.release()

    def wait(self, pauses: int = 0) -> None:
        """Wait until the other thread posts, and then `pauses` of some 20 ns where it was soon."""
        if not _is_posted(self._word, _LOOKS, pauses):
            self._awake.acquire()
            _clear(self._word)
