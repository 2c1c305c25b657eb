"""Bare loops over a table: how fast this machine does the core of what the table's kernels do.

`bare_sums` and `bare_update` are a step of logistic regression with Adagrad on ids in memory, as one would write it
first: gather, accumulate in the row, apply. `bare_reads` is random access alone. `fieldwise bench` and the benchmarks
hold our kernels against them; nothing else uses them.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.jit import kernel

__all__ = ["bare_reads", "bare_sums", "bare_update"]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.uint32]
Int64s = npt.NDArray[np.int64]

_U = np.uint64


@kernel
def bare_sums(rows: Floats, ids: Ids, base: Int64s, labels: Ids, errors: Floats, begin: int, end: int) -> None:
    """Set ``errors[b]`` to ``(sigmoid(sum over f of rows[base[f] + ids[f, b], 0]) - labels[b]) / B``, b from begin to
    end.
    """
    first, last = _U(begin), _U(end)
    for b in range(first, last):
        errors[b] = 0
    for f in range(_U(ids.shape[0])):
        start = _U(base[f])
        for b in range(first, last):
            errors[b] += rows[start + _U(ids[f, b]), 0]
    scale = np.float32(1 / max(ids.shape[1], 1))
    one = np.float32(1)
    for b in range(first, last):
        errors[b] = (one / (one + math.exp(-errors[b])) - np.float32(labels[b])) * scale


@kernel
def bare_update(
    rows: Floats, ids: Ids, base: Int64s, errors: Floats, rate: float, epsilon: float, begin: int, end: int
) -> None:
    """Adagrad on rows of weight, gradient and sum of squares, for the fields from begin to end."""
    speed, tiny, zero = np.float32(rate), np.float32(epsilon), np.float32(0)
    for f in range(_U(begin), _U(end)):
        start = _U(base[f])
        for b in range(_U(ids.shape[1])):
            rows[start + _U(ids[f, b]), 1] += errors[b]
        for b in range(_U(ids.shape[1])):
            r = start + _U(ids[f, b])
            g = rows[r, 1]
            if g != zero:
                s = rows[r, 2] + g * g
                rows[r, 1] = zero
                rows[r, 2] = s
                rows[r, 0] -= speed * g / (math.sqrt(s) + tiny)


@kernel
def bare_reads(table: Floats, places: npt.NDArray[np.uint64]) -> float:
    """Return the sum of ``table[places]``: one cache line from memory for each, many under way at a time."""
    total = np.float32(0)
    for i in range(_U(len(places))):
        total += table[places[i]]
    return float(total)
