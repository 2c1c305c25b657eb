"""What is read of the units: unit 0 of every field, summed, and the deep part's input, standardised, with dropout.

Letters: b examples of a block, N numbers of an example, I of them that the deep part reads: those in `columns`, or all
of them where `columns` is None, which vector instructions move faster.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from fieldwise.kernels.jit import kernel

__all__ = ["Columns", "Kept", "add_skip", "standardise", "sum_gradients", "sum_inputs", "sum_skip", "unit_gradients"]

Floats = npt.NDArray[np.floating]
Sums = npt.NDArray[np.float64]
Columns = npt.NDArray[np.int64] | None
"""(I,), of the numbers of an example."""
Kept = npt.NDArray[np.uint8] | None
"""(b, I): 0 where dropout silences a number, else 1; None where there is no dropout."""

_ROWS = 4
_U = np.uint64


@kernel(fastmath={"reassoc"})
def sum_skip(units: Floats, first: int, step: int, out: Floats) -> None:
    """Set out (b,) to the sums of ``units[:, first::step]``."""
    for b in range(_U(len(out))):
        total = out.dtype.type(0)
        for n in range(_U(first), _U(units.shape[1]), _U(step)):
            total += units[b, n]
        out[b] = total


@kernel
def add_skip(gradient: Floats, first: int, step: int, of_sums: Floats) -> None:
    """Add the gradients of these sums (b,) to that of the units (b, N)."""
    for b in range(_U(len(of_sums))):
        for n in range(_U(first), _U(gradient.shape[1]), _U(step)):
            gradient[b, n] += of_sums[b]


@kernel
def sum_inputs(units: Floats, columns: Columns, sums: Sums) -> None:
    """Set sums (2, I) to those of what is read, and of its squares.

    They are float64, so the difference of two of them still tells a variance where the mean is far from zero.
    """
    sums[:] = 0.0
    for b in range(_U(units.shape[0])):
        for i in range(_U(sums.shape[1])):
            number = np.float64(units[b, _at(columns, i)])
            sums[0, i] += number
            sums[1, i] += number * number


@kernel
def standardise(
    units: Floats, columns: Columns, mean: Floats, scale: Floats, kept: Kept, grown: float, x: Floats
) -> None:
    """Set x (b, I) to ``y = (units[b, columns[i]] - mean[i]) scale[i]``; with dropout to 0 or to ``grown y``."""
    for b in range(_U(x.shape[0])):
        for i in range(_U(x.shape[1])):
            x[b, i] = (units[b, _at(columns, i)] - mean[i]) * scale[i]
        if kept is not None:
            for i in range(_U(x.shape[1])):
                x[b, i] = _dropped(x, kept, grown, b, i)


@kernel
def sum_gradients(
    dx: Floats, units: Floats, columns: Columns, mean: Floats, scale: Floats, kept: Kept, grown: float, sums: Sums
) -> None:
    """Set sums (2, I) to those of g, the gradient of y, and of ``g y``, from that of x."""
    num_examples, num_inputs = _U(dx.shape[0]), _U(dx.shape[1])
    whole = num_examples - num_examples % _U(_ROWS)
    sums[:] = 0.0
    for b in range(_U(0), whole, _U(_ROWS)):
        # Adding up in float64 takes longer than all else, so a few examples are added before.
        b1, b2, b3 = b + _U(1), b + _U(2), b + _U(3)
        for i in range(num_inputs):
            at, m = _at(columns, i), mean[i]
            g0, g1 = _dropped(dx, kept, grown, b, i), _dropped(dx, kept, grown, b1, i)
            g2, g3 = _dropped(dx, kept, grown, b2, i), _dropped(dx, kept, grown, b3, i)
            y0, y1, y2, y3 = units[b, at] - m, units[b1, at] - m, units[b2, at] - m, units[b3, at] - m
            sums[0, i] += (g0 + g1) + (g2 + g3)
            sums[1, i] += ((g0 * y0 + g1 * y1) + (g2 * y2 + g3 * y3)) * scale[i]
    for b in range(whole, num_examples):
        for i in range(num_inputs):
            g = _dropped(dx, kept, grown, b, i)
            sums[0, i] += g
            sums[1, i] += g * ((units[b, _at(columns, i)] - mean[i]) * scale[i])


@kernel
def unit_gradients(
    dx: Floats,
    units: Floats,
    columns: Columns,
    mean: Floats,
    scale: Floats,
    kept: Kept,
    grown: float,
    means: Floats,
    outer: Floats,
    gradient: Floats,
) -> None:
    """Set gradient (b, N) to ``outer[i] (g - means[0, i] - y means[1, i])`` for the numbers that are read, else to 0.

    Parameters
    ----------
    means
        (2, I): what `sum_gradients` sums, over the number of examples.
    outer
        (I,): `scale`, or 0 where no gradient is wanted.
    """
    for b in range(_U(dx.shape[0])):
        if columns is not None:
            gradient[b, :] = 0
        for i in range(_U(dx.shape[1])):
            at = _at(columns, i)
            y = (units[b, at] - mean[i]) * scale[i]
            gradient[b, at] = outer[i] * (_dropped(dx, kept, grown, b, i) - means[0, i] - y * means[1, i])


@njit(inline="always")
def _at(columns: Any, i: Any) -> Any:
    return i if columns is None else _U(columns[i])


@njit(inline="always")
def _dropped(numbers: Any, kept: Any, grown: Any, b: Any, i: Any) -> Any:
    if kept is None:
        return numbers[b, i]
    return numbers[b, i] * numbers.dtype.type(grown) if kept[b, i] else numbers.dtype.type(0)
