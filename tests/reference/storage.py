"""Slow twin of the storage of bfloat16: numbers by the definition, nothing of ours."""

from __future__ import annotations

import struct


def as_bits(number: float) -> int:
    return struct.unpack("<I", struct.pack("<f", number))[0]


def as_float(bits: int) -> float:
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def neighbours(number: float) -> tuple[float, float]:
    """Return the bfloat16 numbers at and beyond a float32 number, the one nearer to zero first."""
    upper = as_bits(number) >> 16
    return as_float(upper << 16), as_float((upper + 1) << 16)


def whole_row(row: int, factor: int, shift: int, modulus: int) -> int:
    """Return which row of the whole table a row of a part is, in integers without end."""
    return (factor * row + shift) % modulus


def noise(key: int, row: int, unit: int) -> int:
    """Return the 32 bits that round a weight, in integers without end; the row is that of the whole table."""
    full = (1 << 64) - 1
    z = ((key ^ row) * 0x9E3779B97F4A7C15 + unit * 0xD6E8FEB86659FD93) & full
    z = ((z ^ (z >> 32)) * 0xBF58476D1CE4E5B9) & full
    return z >> 32


def round_stochastic(number: float, bits: int) -> int:
    """Return the upper half of a float32 number, rounded up where what is cut off and half of `bits` overflow."""
    return (as_bits(number) + (bits & 0xFFFF)) >> 16
