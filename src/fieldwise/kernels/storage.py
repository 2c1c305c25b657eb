"""How a row of the table holds its numbers: n weights, then S numbers of the optimizer's state.

::

    float32, float64    (D, n + S)            numbers of that type
    bfloat16            (D, n + 2 S) uint16   weights as the upper halves of float32 numbers; state in float32, as two
                                              halves, the lower one first
    float16             (D, n) int16          the bits of the weights; without state, to answer with (`kernels.compact`)
    int8                (D, n + 2) int8       weight k is number k times a scale, a bfloat16 in the last two bytes, the
                                              lower one first; without state, too

The kernels read and write through the functions here, which numba resolves by the type of the array, so one kernel
serves every storage and pays for none.

A step of training changes a weight by less than half of bfloat16's spacing more often than not, and rounding to the
nearest would lose all of these steps. So a weight is rounded up with the probability of what is cut off (stochastic
rounding, as in Gupta et al. 2015): right in the mean, and, the "random" bits being a hash of seed, step, row and unit,
the same in every run and for any number of threads. The row is that of the whole table (`kernels.numbering`), so they
are also the same for any number of workers that keep a part of it each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, overload

from fieldwise.kernels.jit import kernel, merged
from fieldwise.kernels.numbering import Numbering

__all__ = [
    "NEAREST",
    "columns",
    "decode_weights",
    "encode_weights",
    "in_whole",
    "load_state",
    "load_weight",
    "noise",
    "num_weights",
    "step_key",
    "store_state",
    "store_weight",
]

Rows = npt.NDArray[Any]

_U32, _U64 = np.uint32, np.uint64
NEAREST = np.uint32(0x8000)
"""For `store_weight`: round to the nearest."""


def columns(num_weights: int, num_states: int, bfloat16: bool) -> int:
    """Return how many columns a row takes in the array of its storage.

    Examples
    --------
    >>> columns(2, 1, bfloat16=False), columns(2, 1, bfloat16=True)
    (3, 4)
    """
    return num_weights + num_states * (2 if bfloat16 else 1)


def num_weights(rows: Rows) -> int:
    """Return n of rows without state.

    Examples
    --------
    >>> num_weights(np.zeros((3, 4), np.float32)), num_weights(np.zeros((3, 6), np.int8))
    (4, 4)
    """
    return int(rows.shape[1]) - (2 if rows.dtype == np.int8 else 0)


def step_key(seed: int, step: int) -> int:
    """Return the key (64 bits) that a step's random bits are a hash of: another for every seed and step.

    Examples
    --------
    >>> step_key(1, 2) == (1 << 40) + 2
    True
    >>> step_key(1 << 24, 2) == step_key(0, 2)
    False
    """
    # What of a seed of more than 24 bits would be shifted out is spread over all bits instead.
    return ((seed << 40) + (seed >> 24) * 0x9E3779B97F4A7C15 + step) % (1 << 64)


def _bitcast(source: Any, to: Any, llvm: Any) -> Any:
    def cast(typing_context: Any, number: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            # Shifts and unions of uint32 are uint64 to numba.
            return builder.bitcast(context.cast(builder, arguments[0], signature.args[0], source), llvm)

        return to(number), generate

    return intrinsic(cast)


_as_float = _bitcast(types.uint32, types.float32, ir.FloatType())
_as_bits = _bitcast(types.float32, types.uint32, ir.IntType(32))


_MORE = np.float32(2.0**112)


@merged
def _of_half(bits):  # type: ignore[no-untyped-def]
    """Return the float16 of 16 bits: exponents of float32 are 112 more, which a product adds, to small ones, too."""
    size = _as_float((_U32(bits) & _U32(0x7FFF)) << _U32(13)) * _MORE
    return -size if bits < 0 else size


@merged
def _scale_of(low, high):  # type: ignore[no-untyped-def]
    """Return the bfloat16 of two bytes."""
    return _as_float(((_U32(low) & _U32(0xFF)) << _U32(16)) | ((_U32(high) & _U32(0xFF)) << _U32(24)))


def load_weight(rows: Rows, r: Any, k: Any) -> Any:
    """In a kernel: weight k of row r."""
    raise NotImplementedError


def store_weight(rows: Rows, r: Any, k: Any, weight: Any, bits: Any) -> None:
    """In a kernel: set weight k of row r; `bits` (`noise`, or NEAREST) decide how it is rounded where it must be."""
    raise NotImplementedError


def load_state(rows: Rows, r: Any, n: Any, j: Any) -> Any:
    """In a kernel: number j of the state of row r, which has n weights."""
    raise NotImplementedError


def store_state(rows: Rows, r: Any, n: Any, j: Any, number: Any) -> None:
    """In a kernel: set number j of the state of row r."""
    raise NotImplementedError


def in_whole(rows: Rows, numbering: Numbering, r: Any) -> Any:
    """In a kernel: the number for `noise` of row r, that of the whole table; free where the storage does not round."""
    raise NotImplementedError


def noise(rows: Rows, key: Any, number: Any, k: Any) -> Any:
    """In a kernel: the bits that round weight k of the row of a number (`in_whole`); they depend on (key, number, k)
    alone, and are free where the storage does not round.
    """
    raise NotImplementedError


@overload(load_weight, inline="always", strict=False)
def _load_weight(rows: Any, r: Any, k: Any) -> Any:
    if rows.dtype == types.uint16:
        return lambda rows, r, k: _as_float(_U32(rows[r, k]) << _U32(16))
    if rows.dtype == types.int16:
        return lambda rows, r, k: _of_half(rows[r, k])
    if rows.dtype == types.int8:
        return lambda rows, r, k: np.float32(rows[r, k]) * _scale_of(rows[r, -2], rows[r, -1])
    return lambda rows, r, k: rows[r, k]


@overload(store_weight, inline="always", strict=False)
def _store_weight(rows: Any, r: Any, k: Any, weight: Any, bits: Any) -> Any:
    if rows.dtype == types.uint16:

        def rounding(rows: Any, r: Any, k: Any, weight: Any, bits: Any) -> None:
            rows[r, k] = (_as_bits(weight) + (bits & _U32(0xFFFF))) >> _U32(16)

        return rounding

    def plain(rows: Any, r: Any, k: Any, weight: Any, bits: Any) -> None:
        rows[r, k] = weight

    return plain


@overload(load_state, inline="always", strict=False)
def _load_state(rows: Any, r: Any, n: Any, j: Any) -> Any:
    if rows.dtype == types.uint16:

        def halves(rows: Any, r: Any, n: Any, j: Any) -> Any:
            low = n + j + j
            return _as_float(_U32(rows[r, low]) | (_U32(rows[r, low + _U64(1)]) << _U32(16)))

        return halves
    return lambda rows, r, n, j: rows[r, n + j]


@overload(store_state, inline="always", strict=False)
def _store_state(rows: Any, r: Any, n: Any, j: Any, number: Any) -> Any:
    if rows.dtype == types.uint16:

        def halves(rows: Any, r: Any, n: Any, j: Any, number: Any) -> None:
            low, bits = n + j + j, _as_bits(number)
            rows[r, low] = bits & _U32(0xFFFF)
            rows[r, low + _U64(1)] = bits >> _U32(16)

        return halves

    def plain(rows: Any, r: Any, n: Any, j: Any, number: Any) -> None:
        rows[r, n + j] = number

    return plain


_rows_of_whole: Any = merged(Numbering.of)


@overload(in_whole, inline="always", strict=False)
def _in_whole(rows: Any, numbering: Any, r: Any) -> Any:
    if rows.dtype == types.uint16:
        return lambda rows, numbering, r: _U64(_rows_of_whole(numbering, np.int64(r)))
    return lambda rows, numbering, r: r


@overload(noise, inline="always", strict=False)
def _noise(rows: Any, key: Any, number: Any, k: Any) -> Any:
    if rows.dtype == types.uint16:

        def mixed(rows: Any, key: Any, number: Any, k: Any) -> Any:
            z = (key ^ number) * _U64(0x9E3779B97F4A7C15) + _U64(k) * _U64(0xD6E8FEB86659FD93)
            z = (z ^ (z >> _U64(32))) * _U64(0xBF58476D1CE4E5B9)
            return _U32(z >> _U64(32))

        return mixed
    return lambda rows, key, number, k: NEAREST


@kernel
def _decode(bits: Rows, out: Rows) -> None:
    for r in range(out.shape[0]):
        for k in range(out.shape[1]):
            out[r, k] = load_weight(bits, r, k)


@kernel
def _encode(rows: Rows, unit: int, weights: Rows) -> None:
    for r in range(len(weights)):
        store_weight(rows, r, unit, weights[r], NEAREST)


def decode_weights(rows: Rows) -> npt.NDArray[np.floating]:
    """Return stored weights (R, n) as numbers: the array itself, or float32 made of fewer bits.

    Examples
    --------
    >>> decode_weights(np.array([[0x3F80, 0xBFC0]], dtype=np.uint16)).tolist()
    [[1.0, -1.5]]
    """
    if rows.dtype.kind == "f":
        return rows
    out = np.empty((len(rows), num_weights(rows)), dtype=np.float32)
    _decode(rows, out)
    return out


def encode_weights(rows: Rows, unit: int, weights: npt.NDArray[np.floating]) -> None:
    """Write weights (R,) into column `unit` of rows (R, any), rounded to the nearest that their storage holds.

    Examples
    --------
    >>> rows = np.zeros((2, 1), dtype=np.uint16)
    >>> encode_weights(rows, 0, np.array([1.0, 1.001953], dtype=np.float32))
    >>> decode_weights(rows).tolist()
    [[1.0], [1.0]]
    """
    if rows.dtype != np.uint16:
        rows[:, unit] = weights
    else:
        _encode(rows, unit, np.ascontiguousarray(weights, dtype=np.float32))
