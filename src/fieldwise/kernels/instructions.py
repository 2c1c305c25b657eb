"""Instructions that numba does not offer: prefetch, comparisons of 64 bytes at a time, and atomic counters.

A probe of a table larger than the cache waits some 80 ns for memory. Asking for the slots of keys to come while earlier
ones are worked on hides most of that: 33 to 20 ns a lookup among a million keys.

Of the comparison of 64 bytes LLVM makes two or four instructions where the processor has wide registers, and a few more
where it has not.

Pieces of work differ (fields of few and of many rows), and another process may use one of the cores: with pieces
assigned in advance, the other threads would wait for the slowest. So each takes a ticket for the next one when it has
finished one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit
from numba.core import cgutils, types
from numba.extending import intrinsic

__all__ = [
    "VECTOR_BYTES",
    "first_bit",
    "matches",
    "next_ticket",
    "num_bits",
    "prefetch_item",
    "prefetch_line",
    "prefetch_row",
]

VECTOR_BYTES = 64

_BYTE, _INT, _WORD = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_VECTOR = ir.VectorType(_BYTE, VECTOR_BYTES)
_READ, _KEEP_NEAR, _DATA = 0, 3, 1
_LINE_BYTES = 64


def _address(context: Any, builder: Any, kind: Any, array: Any, places: list[Any]) -> Any:
    """Generate the address of a number of an array; its places are within bounds."""
    view = context.make_array(kind)(context, builder, array)
    return cgutils.get_item_pointer(context, builder, kind, view, places, wraparound=False)  # type: ignore[no-untyped-call]


def _fetch(context: Any, builder: Any, kind: Any, array: Any, line: Any, column: Any) -> Any:
    """Generate the instruction."""
    address = builder.bitcast(_address(context, builder, kind, array, [line, column]), _BYTE.as_pointer())
    flags = [ir.Constant(_INT, value) for value in (_READ, _KEEP_NEAR, _DATA)]
    shape = ir.FunctionType(ir.VoidType(), [_BYTE.as_pointer(), _INT, _INT, _INT])
    function = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, shape, "llvm.prefetch.p0"
    )
    builder.call(function, [address, *flags])
    return context.get_dummy_value()


def _prefetch_line(typing_context: Any, array: Any, line: Any) -> Any:
    """Return the signature of `prefetch_line`, and what generates its instruction."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, line = arguments
        return _fetch(context, builder, signature.args[0], array, line, ir.Constant(_WORD, 0))

    return types.void(array, types.intp), generate


def _prefetch_item(typing_context: Any, array: Any, line: Any, column: Any) -> Any:
    """Return the signature of `prefetch_item`, and what generates its instruction."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, line, column = arguments
        return _fetch(context, builder, signature.args[0], array, line, column)

    return types.void(array, types.intp, types.intp), generate


prefetch_line: Callable[[npt.NDArray[Any], Any], None] = intrinsic(_prefetch_line)  # type: ignore[assignment]
"""In a kernel: begin to load ``array[line, 0]`` of a two-dimensional array; `line` is within bounds."""
prefetch_item: Callable[[npt.NDArray[Any], Any, Any], None] = intrinsic(_prefetch_item)  # type: ignore[assignment]
"""In a kernel: begin to load ``array[line, column]``, both within bounds."""


@njit(inline="always")
def prefetch_row(array: npt.NDArray[Any], line: Any, begin: Any, end: Any) -> None:
    """In a kernel: begin to load ``array[line, begin : end]``, 0 <= begin < end, whatever cache lines it lies in."""
    for column in range(begin, end - 1, _LINE_BYTES // array.itemsize):
        prefetch_item(array, line, column)
    prefetch_item(array, line, end - 1)


def _matches(typing_context: Any, array: Any, at: Any, byte: Any) -> Any:
    """Return the signature of `matches`, and what generates its instructions."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, signature.args[0], arguments[0], [arguments[1]])
        there = builder.load(builder.bitcast(address, _VECTOR.as_pointer()))
        there.align = 1
        nothing = ir.Constant(_VECTOR, ir.Undefined)
        one = builder.insert_element(nothing, arguments[2], ir.Constant(_INT, 0))
        everywhere = ir.Constant(ir.VectorType(_INT, VECTOR_BYTES), [0] * VECTOR_BYTES)
        equal = builder.icmp_unsigned("==", there, builder.shuffle_vector(one, nothing, everywhere))
        return builder.bitcast(equal, _WORD)

    return types.uint64(array, types.intp, types.uint8), generate


def _first_bit(typing_context: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), generate


def _num_bits(typing_context: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


matches: Callable[[npt.NDArray[np.uint8], int, np.uint8], np.uint64] = intrinsic(_matches)  # type: ignore[assignment]
"""In a kernel: bit i says whether ``array[at + i] == byte``; the array has `VECTOR_BYTES` bytes from `at` on."""

first_bit: Callable[[np.uint64], np.uint64] = intrinsic(_first_bit)  # type: ignore[assignment]
"""In a kernel: the place of the lowest bit that is set in a word that is not 0."""

num_bits: Callable[[np.uint64], np.uint64] = intrinsic(_num_bits)  # type: ignore[assignment]
"""In a kernel: how many bits of a word are set."""


def _next_ticket(typing_context: Any, counter: Any) -> Any:
    """Return the signature of `next_ticket`, and what generates its instruction."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, signature.args[0], arguments[0], [ir.Constant(_WORD, 0)])
        return builder.atomic_rmw("add", address, ir.Constant(_WORD, 1), "monotonic")

    return types.int64(counter), generate


next_ticket: Callable[[npt.NDArray[np.int64]], int] = intrinsic(_next_ticket)  # type: ignore[assignment]
"""In a kernel: return ``counter[0]`` and raise it by one, so that no two threads get the same number."""
