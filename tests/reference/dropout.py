"""Slow twin of dropout's random numbers: Python's own integers, one number after the other."""

from __future__ import annotations

WORD = 0xFFFFFFFF


def mixed(bits: int) -> int:
    """Return Wellons' "lowbias32" of 32 bits."""
    bits ^= bits >> 16
    bits = bits * 0x7FEB352D & WORD
    bits ^= bits >> 15
    bits = bits * 0x846CA68B & WORD
    return bits ^ bits >> 16


def is_kept(place: int, key: int, below: int) -> bool:
    """Return whether the number at a place stays."""
    low, high = key & WORD, key >> 32
    return mixed(mixed((place & WORD) ^ low) ^ mixed(mixed(low) ^ high)) >= below
