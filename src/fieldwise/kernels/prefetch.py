"""Prefetch: loading memory before it is needed, by an instruction that numba does not offer.

A probe of a table larger than the cache waits some 80 ns for memory. Asking for the slots of keys to come while earlier
ones are worked on hides most of that: 33 to 20 ns a lookup among a million keys.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt
from llvmlite import ir
from numba import njit
from numba.core import cgutils, types
from numba.extending import intrinsic

__all__ = ["prefetch_item", "prefetch_line", "prefetch_row"]

_BYTES = ir.IntType(8).as_pointer()
_INT = ir.IntType(32)
_READ, _KEEP_NEAR, _DATA = 0, 3, 1
_LINE_BYTES = 64


def _fetch(context: Any, builder: Any, kind: Any, array: Any, line: Any, column: Any) -> Any:
    """Generate the instruction."""
    view = context.make_array(kind)(context, builder, array)
    address = cgutils.get_item_pointer(  # type: ignore[no-untyped-call]
        context, builder, kind, view, [line, column], wraparound=False
    )
    flags = [ir.Constant(_INT, value) for value in (_READ, _KEEP_NEAR, _DATA)]
    shape = ir.FunctionType(ir.VoidType(), [_BYTES, _INT, _INT, _INT])
    function = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, shape, "llvm.prefetch.p0"
    )
    builder.call(function, [builder.bitcast(address, _BYTES), *flags])
    return context.get_dummy_value()


def _prefetch_line(typing_context: Any, array: Any, line: Any) -> Any:
    """Return the signature of `prefetch_line`, and what generates its instruction."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, line = arguments
        return _fetch(context, builder, signature.args[0], array, line, ir.Constant(ir.IntType(64), 0))

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
