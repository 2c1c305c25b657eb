"""The dot products of the numbers of two fields, summed over pairs of fields, and their gradient.

Letters: b examples of a block, F fields, K numbers of a field, P pairs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.jit import kernel

__all__ = ["pair_gradients", "sum_pairs"]

Floats = npt.NDArray[np.floating]
Pairs = npt.NDArray[np.int64]
"""(P, 2): the numbers of two fields."""

_U = np.uint64


@kernel(fastmath={"reassoc"})
def sum_pairs(units: Floats, pairs: Pairs, out: Floats) -> None:
    """Set out (b,) to the sum over the pairs (f, g) of ``units[b, f] . units[b, g]``, of units (b, F, K)."""
    for b in range(_U(len(out))):
        total = out.dtype.type(0)
        for p in range(_U(len(pairs))):
            f, g = _U(pairs[p, 0]), _U(pairs[p, 1])
            for k in range(_U(units.shape[2])):
                total += units[b, f, k] * units[b, g, k]
        out[b] = total


@kernel
def pair_gradients(units: Floats, pairs: Pairs, of_sums: Floats, out: Floats) -> None:
    """Set out (b, F, K) to the gradient of the units, from that of their sums (b,)."""
    for b in range(_U(len(of_sums))):
        out[b] = 0
        for p in range(_U(len(pairs))):
            f, g = _U(pairs[p, 0]), _U(pairs[p, 1])
            for k in range(_U(units.shape[2])):
                out[b, f, k] += of_sums[b] * units[b, g, k]
                out[b, g, k] += of_sums[b] * units[b, f, k]
