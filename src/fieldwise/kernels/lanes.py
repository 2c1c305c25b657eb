"""Vectorised updates of weights: 8 numbers in one vector register, independent of the loop vectoriser.

A row of a locally connected table is short. LLVM's loop vectoriser prepares for long loops that might overlap, and a
loop of 8 then runs in its scalar remainder; numba has its vectoriser of straight code switched off. These
instructions are what it would have written (docs/log/2026-11/table.md#which-habits-do-the-kernels-need has the rates).

A source of uint16 holds bfloat16 numbers (`kernels.storage`): their bits are the upper half of a float32's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, overload

__all__ = ["LANES", "adam_lanes", "add_lanes", "copy_lanes", "lanes_of"]

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


_NONE = np.uint64(1 << 62)


def lanes_of(rows: npt.NDArray[Any]) -> np.uint64:
    """In a kernel: how many numbers of a row are loaded at once; more than it has where they are loaded one by one."""
    raise NotImplementedError


@overload(lanes_of, inline="always", strict=False)
def _lanes_of(rows: Any) -> Any:
    found = _NONE if rows.dtype in (types.int8, types.int16) else np.uint64(LANES)
    return lambda rows: found


copy_lanes: _LaneKernel = intrinsic(_generator(accumulate=False))
"""In a kernel: ``out[line, column : column + LANES] = source[row, unit : unit + LANES]``; all within bounds, items of a
line side by side."""
add_lanes: _LaneKernel = intrinsic(_generator(accumulate=True))
"""As `copy_lanes`, with ``+=``."""


def _adam(
    typing_context: Any,
    rows: Any,
    r: Any,
    n: Any,
    gradients: Any,
    u: Any,
    k: Any,
    rate: Any,
    tiny: Any,
    decay: Any,
    new1: Any,
    new2: Any,
) -> Any:
    """Return the signature of `adam_lanes`, and what generates its instructions."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        of_rows, of_gradients = signature.args[0], signature.args[3]
        item = context.get_value_type(of_gradients.dtype)
        if of_rows.dtype != of_gradients.dtype:  # bfloat16 rows are moved one number at a time
            return ir.Constant(item, 0.0)
        vector, line = ir.VectorType(item, LANES), arguments[1]

        def everywhere(number: Any) -> Any:
            one = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
            return shuffled(one, [0] * LANES)

        def shuffled(numbers: Any, places: list[int]) -> Any:
            mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), places)
            return builder.shuffle_vector(numbers, ir.Constant(vector, ir.Undefined), mask)

        weights, first = arguments[2], arguments[5]
        columns = first, builder.add(first, weights), builder.add(builder.add(first, weights), weights)
        places = [_pointer(context, builder, of_rows, arguments[0], line, column) for column in columns]
        w, m, v = (_load(context, builder, of_rows, place, item) for place in places)
        start = _pointer(context, builder, of_gradients, arguments[3], arguments[4], first)
        rate, tiny, decay, new1, new2 = map(everywhere, arguments[6:])
        root = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            builder.module,
            ir.FunctionType(vector, [vector]),
            f"llvm.sqrt.v{LANES}f{of_rows.dtype.bitwidth}",
        )

        g = builder.fadd(_load(context, builder, of_gradients, start, item), builder.fmul(decay, w))
        m = builder.fadd(m, builder.fmul(new1, builder.fsub(g, m)))
        v = builder.fadd(v, builder.fmul(new2, builder.fsub(builder.fmul(g, g), v)))
        w = builder.fsub(w, builder.fdiv(builder.fmul(rate, m), builder.fadd(builder.call(root, [v]), tiny)))
        for place, numbers in zip(places, (w, m, v), strict=True):
            builder.store(numbers, builder.bitcast(place, vector.as_pointer()), align=of_rows.dtype.bitwidth // 8)

        check = builder.fmul(ir.Constant(vector, [0.0] * LANES), builder.fadd(w, v))
        for step in (4, 2, 1):
            check = builder.fadd(check, shuffled(check, [(lane + step) % LANES for lane in range(LANES)]))
        return builder.extract_element(check, ir.Constant(ir.IntType(32), 0))

    number = gradients.dtype
    return number(rows, types.intp, types.intp, gradients, types.intp, types.intp, *[number] * 5), generate


adam_lanes: Callable[..., float] = intrinsic(_adam)
"""In a kernel, ``adam_lanes(rows, r, n, gradients, u, k, rate, tiny, decay, new1, new2)``: take the step of
`optimizers.adam` for the weights k .. k + LANES - 1, all below n, of row r, by line u of the gradients; return their
part of its check. Rows are of the gradients' own type."""
