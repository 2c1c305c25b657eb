"""The distribution of numbers, rounded down to so many keys, from all of them at once."""

import struct
from collections import Counter


def key_of(number: float) -> int:
    """Order-preserving bits of a float64."""
    (bits,) = struct.unpack("<Q", struct.pack("<d", number))
    return bits ^ (2**64 - 1) if bits >> 63 else bits | 2**63


def number_of(key: int) -> float:
    bits = key ^ 2**63 if key >> 63 else key ^ (2**64 - 1)
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


def distribution(numbers: list[float], capacity: int) -> tuple[int, dict[float, int]]:
    """The level, and how often each lower end occurs."""
    keys = [key_of(number) for number in numbers]
    level = 0
    while len({key >> level for key in keys}) > capacity:
        level += 1
    counts = Counter(number_of(key >> level << level) for key in keys)
    return level, dict(sorted(counts.items()))
