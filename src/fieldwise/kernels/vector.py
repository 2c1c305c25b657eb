"""64 bytes at a time: comparing them with one byte, and finding the matches, by instructions that numba does not offer.

LLVM makes two or four instructions of each where the processor has wide registers, and a few more where it has not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

__all__ = ["VECTOR_BYTES", "first_bit", "matches", "num_bits"]

VECTOR_BYTES = 64

_BYTE, _INT, _WORD = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_VECTOR = ir.VectorType(_BYTE, VECTOR_BYTES)


def _matches(typing_context: Any, array: Any, at: Any, byte: Any) -> Any:
    """Return the signature of `matches`, and what generates its instructions."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        view = context.make_array(kind)(context, builder, arguments[0])
        address = cgutils.get_item_pointer(  # type: ignore[no-untyped-call]
            context, builder, kind, view, [arguments[1]], wraparound=False
        )
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
