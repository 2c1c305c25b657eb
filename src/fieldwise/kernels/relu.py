"""Backward of relu, its sum over the examples and its transpose, in one pass over the gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.jit import kernel
from fieldwise.kernels.storage import load_weight
from fieldwise.kernels.transpose import transpose

__all__ = ["relu_backward"]

_U = np.uint64
_STRIP = _U(64)
"""Examples masked, summed and turned together: their numbers stay in the nearest large cache."""


@kernel
def relu_backward(
    dz: npt.NDArray[Any], y: npt.NDArray[Any], sums: npt.NDArray[np.floating], turned: npt.NDArray[Any]
) -> None:
    """Make dz of dy in place: ``dz = dy where y > 0 else 0``; sum it over the examples, and write it transposed.

    Parameters
    ----------
    dz
        (B, O): dy, overwritten. uint16 holds bfloat16, as in `kernels.storage`.
    y
        (B, O), what relu returned, of the same type.
    sums
        (O,), written: the sum of dz over the examples, in their order.
    turned
        (O, B), written: dz'; or (0, 0), where nobody asks for it.
    """
    num_examples, num_units, zero = _U(dz.shape[0]), _U(dz.shape[1]), dz.dtype.type(0)
    sums[:] = 0
    for first in range(_U(0), num_examples, _STRIP):
        last = min(first + _STRIP, num_examples)
        for b in range(first, last):
            for j in range(num_units):
                # Not "y > 0": what is NaN goes on, and is found.
                dz[b, j] = zero if load_weight(y, b, j) <= 0 else dz[b, j]
                sums[j] += load_weight(dz, b, j)
        if turned.shape[0] > 0:
            transpose(dz[first:last], turned[:, first:last])
