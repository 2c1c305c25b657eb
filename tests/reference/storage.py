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
