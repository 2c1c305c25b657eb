"""Isotonic regression: the non-decreasing sequence nearest to given values, by pooling adjacent violators."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.jit import kernel

__all__ = ["isotonic"]

Floats = npt.NDArray[np.float64]


@kernel(allocates=True)
def isotonic(values: Floats, weights: Floats) -> Floats:
    """Return g_1 <= g_2 <= ... <= g_B that minimise ``sum w_i (values_i - g_i)^2``, in O(B).

    Blocks of equal g are kept on a stack; a new value is a block of its own, and is merged with the block before it for
    as long as that one's mean is not smaller.

    Parameters
    ----------
    values
        (B,), in the order of what they depend on.
    weights
        (B,) > 0.

    Examples
    --------
    >>> isotonic(np.array([1.0, 3.0, 2.0, 4.0]), np.ones(4))
    array([1. , 2.5, 2.5, 4. ])
    """
    means, masses = np.empty(len(values)), np.empty(len(values))
    starts = np.empty(len(values) + 1, np.int64)
    num_blocks = 0
    for i in range(len(values)):
        mean, mass, start = values[i], weights[i], i
        while num_blocks > 0 and means[num_blocks - 1] >= mean:
            num_blocks -= 1
            total = masses[num_blocks] + mass
            mean = (masses[num_blocks] * means[num_blocks] + mass * mean) / total
            mass, start = total, starts[num_blocks]
        means[num_blocks], masses[num_blocks], starts[num_blocks] = mean, mass, start
        num_blocks += 1
    starts[num_blocks] = len(values)
    fitted = np.empty(len(values))
    for block in range(num_blocks):
        fitted[starts[block] : starts[block + 1]] = means[block]
    return fitted
