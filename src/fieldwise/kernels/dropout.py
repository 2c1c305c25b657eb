"""Random numbers for dropout: a hash of where a number stands, so that threads draw the same ones in any order.

torch draws one number after the other from one generator: 4.5 ns each, on one thread, a sixth of the step of a small
network (docs/log/2026-11/dense.md#what-does-it-bring-to-run-all-layers-as-one-function).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from fieldwise.kernels.jit import kernel

__all__ = ["draw_mask"]

_U32 = np.uint32


@njit(inline="always")
def _mixed(bits: Any) -> Any:
    """Return 32 bits, each of which depends on all bits given: "lowbias32", Wellons 2018."""
    bits = _U32(bits ^ (bits >> _U32(16)))
    bits = _U32(bits * _U32(0x7FEB352D))
    bits = _U32(bits ^ (bits >> _U32(15)))
    bits = _U32(bits * _U32(0x846CA68B))
    return _U32(bits ^ (bits >> _U32(16)))


@kernel
def draw_mask(out: npt.NDArray[Any], first: int, key: int, below: int, kept: Any) -> None:
    """Set ``out[i] = 0 if hash(key, first + i) < below else kept``.

    Parameters
    ----------
    out
        (any,), of any type.
    first
        The place of its first number in the whole, below 2^32.
    key
        0 to 2^64 - 1: another one gives independent numbers.
    below
        0 to 2^32 - 1: the share that becomes 0, times 2^32.
    kept
        What the others become.
    """
    # Alone, a low word that differs would give the same numbers in other places.
    low, limit = _U32(np.uint64(key)), _U32(below)
    high = _mixed(_U32(_mixed(low) ^ _U32(np.uint64(key) >> np.uint64(32))))
    start, zero = _U32(first), out.dtype.type(0)
    number = out.dtype.type(kept)
    for i in range(np.uint32(len(out))):
        drawn = _mixed(_U32(_mixed(_U32(start + _U32(i)) ^ low) ^ high))
        out[i] = zero if drawn < limit else number
