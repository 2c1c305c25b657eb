"""Numbers as bins and as keys: which bin a number falls in, and integers that are ordered as the numbers are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.jit import kernel

__all__ = ["bin_ids", "number_keys", "numbers_of_keys"]

Float64s = npt.NDArray[np.float64]
_SIGN = np.uint64(1 << 63)


def bin_ids(numbers: Float64s, edges: Float64s, first: int) -> npt.NDArray[np.uint64]:
    """Return ``first`` plus the number of edges at or below each number; 0 for NaN.

    Bin i holds ``edges[i - 1] <= x < edges[i]``.

    Parameters
    ----------
    numbers
        (N,).
    edges
        (E,), ascending.

    Examples
    --------
    >>> bin_ids(np.array([17.0, 18.0, np.nan, 99.0]), np.array([18.0, 65.0]), first=2).tolist()
    [2, 3, 0, 4]
    """
    numbers, edges = numbers.view(), edges.view()
    numbers.flags.writeable = edges.flags.writeable = False  # as if mapped: numba compiles once for each kind of array
    out = np.empty(len(numbers), dtype=np.uint64)
    _bin_ids(numbers, edges, np.uint64(first), out)
    return out


@kernel
def _bin_ids(numbers, edges, first, out):  # type: ignore[no-untyped-def]
    for i in range(len(numbers)):
        x = numbers[i]
        low, high = 0, len(edges)
        while low < high:
            middle = (low + high) // 2
            if edges[middle] <= x:
                low = middle + 1
            else:
                high = middle
        out[i] = np.uint64(0) if np.isnan(x) else first + np.uint64(low)


def number_keys(numbers: Float64s) -> npt.NDArray[np.uint64]:
    """Return positive integers in the order of the numbers, -0 being 0; 0 for NaN.

    The bits of a float64 are ordered as its size is: setting the sign of a positive number, and turning all bits of a
    negative one, orders both. Leading bits of a key are sign, exponent and leading digits, so cutting its last bits
    rounds a number down by a bounded part of itself.

    Examples
    --------
    >>> keys = number_keys(np.array([-2.0, -1.0, 0.0, 1e-300, 1.0]))
    >>> bool((keys[1:] > keys[:-1]).all())
    True
    """
    bits = (numbers + 0.0).view(np.uint64)  # -0 + 0 is 0
    keys = np.where(bits >= _SIGN, ~bits, bits | _SIGN)
    keys[np.isnan(numbers)] = 0
    return keys


def numbers_of_keys(keys: npt.NDArray[np.uint64]) -> Float64s:
    """Return the numbers of positive keys: the inverse of `number_keys`.

    Examples
    --------
    >>> numbers_of_keys(number_keys(np.array([-2.5, 0.0, 3.0]))).tolist()
    [-2.5, 0.0, 3.0]
    """
    return np.where(keys >= _SIGN, keys ^ _SIGN, ~keys).view(np.float64)
