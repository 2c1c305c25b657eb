"""The optimizers of the table: one visit to every row that a batch touched.

Each kernel walks over the ids of its fields. At a row whose gradient slots are not all zero it takes the gradient g
(the sum over all occurrences in the batch), updates weight and state, and clears the slots, so a row that occurs
again in the batch is passed by: the optimizer acts once per batch and row. A row whose summed gradient is exactly
zero stays as it is.

Each returns its *check*: 0, or NaN where a weight or a state that it has written is not finite. The check is a sum of
``0 x``, which is 0 for every finite x: it costs a multiplication per number, and the caller one comparison.

With n weights in a row, the state begins at column 2 n (see `kernels.table`). L2 enters as g + l2 weight, for the rows
of the batch only.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from fieldwise.kernels.layout import BAG, Batch, Layout
from fieldwise.kernels.prefetch import prefetch_line

__all__ = ["adagrad", "adam", "ftrl", "rowwise_adagrad"]

Floats = npt.NDArray[np.floating]
Fields = npt.NDArray[np.int64]

_U = np.uint64
_AHEAD = _U(32)
"""How many ids ahead a row is asked for: the branch on what it holds keeps the processor from looking ahead."""
# Indices are unsigned and arithmetic stays in the table's own type (a float64 rate would make every product and root
# float64): see `kernels.table` for the first, docs/experiments.md for both.


@njit(cache=True, nogil=True)
def _ids_of(batch: Batch, layout: Layout, f: int) -> npt.NDArray[np.uint32]:
    """Return all ids of a field in the batch, whatever example they belong to."""
    ids = batch.bag_ids
    if layout.form[f] == BAG:
        offsets = batch.offsets[layout.bag[f]]
        ids = ids[offsets[0] : offsets[len(offsets) - 1]]
    else:
        ids = batch.ids[layout.single[f]]
    return ids


@njit(cache=True, nogil=True, inline="always")
def _touched(rows: Floats, r: np.uint64, width: np.uint64) -> bool:
    for k in range(width):
        if rows[r, width + k] != 0:
            return True
    return False


@njit(cache=True, nogil=True)
def adagrad(
    rows: Floats, n: int, batch: Batch, layout: Layout, fields: Fields, learning_rate: float, epsilon: float, l2: float
) -> float:
    """Adagrad (Duchi et al. 2011): s += g^2, weight -= learning_rate g / (sqrt(s) + epsilon), for each weight."""
    number, width = rows.dtype.type, _U(n)
    rate, tiny, decay, zero = number(learning_rate), number(epsilon), number(l2), number(0)
    check = zero
    for f in fields:
        base, ids = _U(layout.base[f]), _ids_of(batch, layout, f)
        num_ids = _U(len(ids))
        for i in range(num_ids):
            if i + _AHEAD < num_ids:
                prefetch_line(rows, np.int64(base + _U(ids[i + _AHEAD])))
            r = base + _U(ids[i])
            if not _touched(rows, r, width):
                continue
            for k in range(width):
                g = rows[r, width + k] + decay * rows[r, k]
                s = rows[r, width + width + k] + g * g
                rows[r, width + k] = zero
                rows[r, width + width + k] = s
                w = rows[r, k] - rate * g / (math.sqrt(s) + tiny)
                rows[r, k] = w
                check += zero * (w + s)
    return float(check)


@njit(cache=True, nogil=True)
def rowwise_adagrad(
    rows: Floats, n: int, batch: Batch, layout: Layout, fields: Fields, learning_rate: float, epsilon: float, l2: float
) -> float:
    """Adagrad with one state per row, the sum over steps of the mean square of g: a third of the state's memory."""
    number, width = rows.dtype.type, _U(n)
    rate, tiny, decay, zero, share = number(learning_rate), number(epsilon), number(l2), number(0), number(1 / n)
    check = zero
    for f in fields:
        base, ids = _U(layout.base[f]), _ids_of(batch, layout, f)
        num_ids = _U(len(ids))
        for i in range(num_ids):
            if i + _AHEAD < num_ids:
                prefetch_line(rows, np.int64(base + _U(ids[i + _AHEAD])))
            r = base + _U(ids[i])
            if not _touched(rows, r, width):
                continue
            total = zero
            for k in range(width):
                g = rows[r, width + k] + decay * rows[r, k]
                rows[r, width + k] = g
                total += g * g
            s = rows[r, width + width] + share * total
            rows[r, width + width] = s
            check += zero * s
            step = rate / (math.sqrt(s) + tiny)
            for k in range(width):
                w = rows[r, k] - step * rows[r, width + k]
                rows[r, k] = w
                rows[r, width + k] = zero
                check += zero * w
    return float(check)


@njit(cache=True, nogil=True)
def adam(
    rows: Floats,
    n: int,
    batch: Batch,
    layout: Layout,
    fields: Fields,
    learning_rate: float,
    epsilon: float,
    l2: float,
    beta1: float,
    beta2: float,
    step: int,
) -> float:
    """Lazy Adam (Kingma and Ba 2015): moments of the rows of the batch alone, bias correction by the global step."""
    number, width = rows.dtype.type, _U(n)
    rate = number(learning_rate * math.sqrt(1.0 - beta2**step) / (1.0 - beta1**step))
    tiny, decay, zero = number(epsilon), number(l2), number(0)
    new1, new2 = number(1.0 - beta1), number(1.0 - beta2)
    check = zero
    for f in fields:
        base, ids = _U(layout.base[f]), _ids_of(batch, layout, f)
        num_ids = _U(len(ids))
        for i in range(num_ids):
            if i + _AHEAD < num_ids:
                prefetch_line(rows, np.int64(base + _U(ids[i + _AHEAD])))
            r = base + _U(ids[i])
            if not _touched(rows, r, width):
                continue
            first, second = width + width, width + width + width
            for k in range(width):
                g = rows[r, width + k] + decay * rows[r, k]
                m = rows[r, first + k]
                v = rows[r, second + k]
                m += new1 * (g - m)
                v += new2 * (g * g - v)
                rows[r, width + k] = zero
                rows[r, first + k] = m
                rows[r, second + k] = v
                w = rows[r, k] - rate * m / (math.sqrt(v) + tiny)
                rows[r, k] = w
                check += zero * (w + v)  # v is finite only where m is
    return float(check)


@njit(cache=True, nogil=True)
def ftrl(
    rows: Floats,
    n: int,
    batch: Batch,
    layout: Layout,
    fields: Fields,
    alpha: float,
    beta: float,
    l1: float,
    l2: float,
) -> float:
    """FTRL-proximal (McMahan et al. 2013, algorithm 1): state z, then the sum of squares s.

    ``sigma = (sqrt(s + g^2) - sqrt(s)) / alpha; z += g - sigma weight; s += g^2;``
    ``weight = 0 if abs(z) <= l1 else -(z - sign(z) l1) / ((beta + sqrt(s)) / alpha + l2)``
    """
    number, width = rows.dtype.type, _U(n)
    rate, offset, sparsity, decay, zero = number(alpha), number(beta), number(l1), number(l2), number(0)
    check = zero
    for f in fields:
        base, ids = _U(layout.base[f]), _ids_of(batch, layout, f)
        num_ids = _U(len(ids))
        for i in range(num_ids):
            if i + _AHEAD < num_ids:
                prefetch_line(rows, np.int64(base + _U(ids[i + _AHEAD])))
            r = base + _U(ids[i])
            if not _touched(rows, r, width):
                continue
            first, second = width + width, width + width + width
            for k in range(width):
                g = rows[r, width + k]
                s = rows[r, second + k]
                root = math.sqrt(s + g * g)
                z = rows[r, first + k] + g - (root - math.sqrt(s)) / rate * rows[r, k]
                rows[r, width + k] = zero
                rows[r, first + k] = z
                rows[r, second + k] = s + g * g
                w = zero
                if not abs(z) <= sparsity:
                    w = -(z - math.copysign(sparsity, z)) / ((offset + root) / rate + decay)
                rows[r, k] = w
                check += zero * (w + z)
    return float(check)
