"""Sums of outer products in vector registers, and the arithmetic of short rows around them.

A Gram matrix ``Q^T Q`` of a few hundred rows of some 16 numbers is the whole of a small least-squares problem. Eight of
its rows by eight columns fit into eight registers, which stay there for a whole tile of Q: a load, eight broadcasts and
eight multiplications with an addition for each row of Q. Only the blocks on and below the diagonal are computed. Sums
are float32 inside a tile, float64 over tiles.

As in `kernels.lanes`, the vectors are spelt out, for the loop vectoriser makes nothing of loops as short as these. All
rows are padded to a multiple of `lanes.LANES` numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from fieldwise.kernels.lanes import LANES

__all__ = ["add_scaled", "add_square", "dot"]

_FUSED = ("contract",)
_FLOAT, _DOUBLE, _INT = ir.FloatType(), ir.DoubleType(), ir.IntType(32)
_VECTOR, _WIDE = ir.VectorType(_FLOAT, LANES), ir.VectorType(_DOUBLE, LANES)


def _place(context: Any, builder: Any, kind: Any, array: Any, row: Any, column: Any) -> Any:
    view = context.make_array(kind)(context, builder, array)
    return cgutils.get_item_pointer(context, builder, kind, view, [row, column], wraparound=False)  # type: ignore[no-untyped-call]


def _load(builder: Any, address: Any, vector: ir.VectorType) -> Any:
    return builder.load(builder.bitcast(address, vector.as_pointer()), align=4 if vector is _VECTOR else 8)


def _store(builder: Any, numbers: Any, address: Any, vector: ir.VectorType) -> None:
    builder.store(numbers, builder.bitcast(address, vector.as_pointer()), align=4 if vector is _VECTOR else 8)


def _everywhere(builder: Any, number: Any) -> Any:
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), number, ir.Constant(_INT, 0))
    mask = ir.Constant(ir.VectorType(_INT, LANES), [0] * LANES)
    return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), mask)


def _add_product(builder: Any, total: Any, one: Any, other: Any) -> Any:
    return builder.fadd(total, builder.fmul(one, other, flags=_FUSED), flags=_FUSED)


def _add_scaled(typing_context: Any, out: Any, line: Any, source: Any, row: Any, factor: Any, width: Any) -> Any:
    """Return the signature of `add_scaled`, and what generates its instructions."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        of_out, of_source = signature.args[0], signature.args[2]
        out, line, source, row, factor, width = arguments
        scale = _everywhere(builder, factor)
        step = ir.Constant(width.type, LANES)
        with cgutils.for_range_slice(builder, ir.Constant(width.type, 0), width, step) as (column, _):
            to = _place(context, builder, of_out, out, line, column)
            numbers = _load(builder, _place(context, builder, of_source, source, row, column), _VECTOR)
            _store(builder, _add_product(builder, _load(builder, to, _VECTOR), scale, numbers), to, _VECTOR)
        return context.get_dummy_value()

    return types.void(out, types.intp, source, types.intp, types.float32, types.intp), generate


def _dot(typing_context: Any, one: Any, line: Any, other: Any, row: Any, width: Any) -> Any:
    """Return the signature of `dot`, and what generates its instructions."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        of_one, of_other = signature.args[0], signature.args[2]
        one, line, other, row, width = arguments
        total = cgutils.alloca_once(builder, _VECTOR)  # type: ignore[no-untyped-call]
        builder.store(ir.Constant(_VECTOR, [0.0] * LANES), total)
        step = ir.Constant(width.type, LANES)
        with cgutils.for_range_slice(builder, ir.Constant(width.type, 0), width, step) as (column, _):
            x = _load(builder, _place(context, builder, of_one, one, line, column), _VECTOR)
            y = _load(builder, _place(context, builder, of_other, other, row, column), _VECTOR)
            builder.store(_add_product(builder, builder.load(total), x, y), total)
        numbers = builder.load(total)
        for half in (4, 2, 1):
            mask = ir.Constant(ir.VectorType(_INT, LANES), [(lane + half) % LANES for lane in range(LANES)])
            turned = builder.shuffle_vector(numbers, ir.Constant(_VECTOR, ir.Undefined), mask)
            numbers = builder.fadd(numbers, turned)
        return builder.extract_element(numbers, ir.Constant(_INT, 0))

    return types.float32(one, types.intp, other, types.intp, types.intp), generate


def _add_square(typing_context: Any, square: Any, rows: Any, begin: Any, end: Any, k: Any, j: Any) -> Any:
    """Return the signature of `add_square`, and what generates its instructions."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        of_square, of_rows = signature.args[0], signature.args[1]
        square, rows, begin, end, k, j = arguments
        sums = [cgutils.alloca_once(builder, _VECTOR) for _ in range(LANES)]  # type: ignore[no-untyped-call]
        for total in sums:
            builder.store(ir.Constant(_VECTOR, [0.0] * LANES), total)
        with cgutils.for_range_slice(builder, begin, end, ir.Constant(begin.type, 1)) as (i, _):
            columns = _load(builder, _place(context, builder, of_rows, rows, i, j), _VECTOR)
            first = _place(context, builder, of_rows, rows, i, k)
            for lane, total in enumerate(sums):
                number = builder.load(builder.gep(first, [ir.Constant(_INT, lane)]))
                builder.store(_add_product(builder, builder.load(total), _everywhere(builder, number), columns), total)
        for lane, total in enumerate(sums):
            to = _place(context, builder, of_square, square, builder.add(k, ir.Constant(k.type, lane)), j)
            wide = builder.fpext(builder.load(total), _WIDE)
            _store(builder, builder.fadd(_load(builder, to, _WIDE), wide), to, _WIDE)
        return context.get_dummy_value()

    return types.void(square, rows, *[types.intp] * 4), generate


add_scaled: Callable[..., None] = intrinsic(_add_scaled)
"""In a kernel, ``add_scaled(out, line, source, row, factor, width)``: ``out[line, :width] += factor * source[row,
:width]``; float32, `width` a multiple of LANES."""
dot: Callable[..., float] = intrinsic(_dot)
"""In a kernel, ``dot(one, line, other, row, width)``: the dot product of ``one[line, :width]`` and ``other[row,
:width]``; float32, `width` a multiple of LANES."""
add_square: Callable[..., None] = intrinsic(_add_square)
"""In a kernel, ``add_square(square, rows, begin, end, k, j)``: add rows k to k + LANES - 1, columns j to j + LANES - 1
of ``Q^T Q`` to the float64 `square`, Q being the float32 ``rows[begin:end]``."""
