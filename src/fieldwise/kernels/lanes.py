"""Runs of weights moved together: 8 numbers in one vector register, whatever the loop vectoriser thinks of the loop.

A row of a locally connected table is short. LLVM's loop vectoriser prepares for long loops that might overlap, and a
loop of 8 then runs in its scalar remainder; numba has its vectoriser of straight code switched off. These two
instructions are what it would have written (docs/experiments.md has the rates).

A source of uint16 holds bfloat16 numbers (`kernels.storage`): their bits are the upper half of a float32's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

__all__ = ["LANES", "add_lanes", "copy_lanes"]

LANES = 8

_Place = Any
_LaneKernel = Callable[[npt.NDArray[Any], _Place, _Place, npt.NDArray[Any], _Place, _Place], None]


def _pointer(context: Any, builder: Any, kind: Any, array: Any, line: Any, column: Any) -> Any:
    """Return the address of ``array[line, column]``, as that of its item."""
    view = context.make_array(kind)(context, builder, array)
    return cgutils.get_item_pointer(context, builder, kind, view, [line, column], wraparound=False)  # type: ignore[no-untyped-call]


def _load(context: Any, builder: Any, kind: Any, address: Any, item: ir.Type) -> Any:
    """Return LANES numbers of type `item` from an address."""

    def vector(of: ir.Type) -> ir.Type:
        return ir.VectorType(of, LANES)

    def load(of: ir.Type, num_bytes: int) -> Any:
        return builder.load(builder.bitcast(address, vector(of).as_pointer()), align=num_bytes)

    if kind.dtype == types.uint16:
        wide = builder.zext(load(ir.IntType(16), 2), vector(ir.IntType(32)))
        shift = ir.Constant(vector(ir.IntType(32)), [16] * LANES)
        return builder.bitcast(builder.shl(wide, shift), vector(item))
    return load(item, kind.dtype.bitwidth // 8)


def _generator(accumulate: bool) -> Any:
    def lanes(typing_context: Any, out: Any, line: Any, column: Any, source: Any, row: Any, unit: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            to_kind, from_kind = signature.args[0], signature.args[3]
            item = context.get_value_type(to_kind.dtype)
            num_bytes = to_kind.dtype.bitwidth // 8
            to = _pointer(context, builder, to_kind, arguments[0], arguments[1], arguments[2])
            start = _pointer(context, builder, from_kind, arguments[3], arguments[4], arguments[5])
            numbers = _load(context, builder, from_kind, start, item)
            if accumulate:
                numbers = builder.fadd(_load(context, builder, to_kind, to, item), numbers)
            builder.store(numbers, builder.bitcast(to, ir.VectorType(item, LANES).as_pointer()), align=num_bytes)
            return context.get_dummy_value()

        return types.void(out, types.intp, types.intp, source, types.intp, types.intp), generate

    return lanes


copy_lanes: _LaneKernel = intrinsic(_generator(accumulate=False))
"""In a kernel: ``out[line, column : column + LANES] = source[row, unit : unit + LANES]``; all within bounds, items of a
line side by side."""
add_lanes: _LaneKernel = intrinsic(_generator(accumulate=True))
"""As `copy_lanes`, with ``+=``."""
