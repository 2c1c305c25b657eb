"""Rows of fewer bits, number by number."""

from __future__ import annotations

import struct

import numpy as np


def int8_row(weights) -> list[float]:
    """The numbers of an int8 row: the scale is the largest size over 127, up to the next bfloat16."""
    largest = max(abs(float(weight)) for weight in weights)
    [bits] = struct.unpack("<I", struct.pack("<f", np.float32(largest / 127)))
    upper = -(-bits // 65536)
    [scale] = struct.unpack("<f", struct.pack("<I", upper << 16))
    return [round(float(weight) / scale) * scale if scale else 0.0 for weight in weights]
