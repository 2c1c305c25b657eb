"""What the combinations of the values of several fields add to logits that are there.

With s the negative slope and h the curvature of each example's loss at its logit, a cell (one combination) of the
examples outside a part has G = sum of s and H = sum of h, and would move its logits by ``w = G / (H + l2)``; in the
part, where the sums are g and h, the loss then falls by ``w g - 1/2 w^2 h``, up to third order, with the variance
``w^2 h`` if nothing is true of the cell.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.jit import kernel

__all__ = ["combine_ids", "held_out_gain", "move_logits", "sum_cells"]

_MIX = np.uint64(0x9E3779B97F4A7C15)
_U = np.uint64


@kernel
def combine_ids(
    ids: npt.NDArray[np.uint32],
    others: npt.NDArray[np.uint32],
    num_others: int,
    num_cells: int,
    cells: npt.NDArray[np.uint32],
) -> None:
    """Write the cell of each example, ``ids * num_others + others``; spread by a hash where that is `num_cells`, a
    power of two, or more.
    """
    factor, limit = _U(num_others), _U(num_cells)
    for i in range(len(ids)):
        cell = _U(ids[i]) * factor + _U(others[i])
        if cell >= limit:
            cell = ((cell * _MIX) >> _U(20)) & (limit - _U(1))
        cells[i] = cell


@kernel
def sum_cells(
    cells: npt.NDArray[np.uint32],
    parts: npt.NDArray[np.uint8],
    slope: npt.NDArray[np.float32],
    bend: npt.NDArray[np.float32],
    sums: npt.NDArray[np.float32],
) -> None:
    """Add each example's slope and curvature to the sums (cells, parts, 2) of its cell and part."""
    for i in range(len(cells)):
        at = sums[cells[i], parts[i]]
        at[0] += slope[i]
        at[1] += bend[i]


@kernel
def held_out_gain(sums: npt.NDArray[np.float32], l2: float) -> tuple[float, float]:
    """Return by how much the loss of all parts falls, each moved by what the others say; and the variance of that."""
    gain = variance = 0.0
    num_parts = sums.shape[1]
    for cell in range(len(sums)):
        slope = bend = 0.0
        for part in range(num_parts):
            slope += sums[cell, part, 0]
            bend += sums[cell, part, 1]
        if bend > 0.0:
            for part in range(num_parts):
                w = (slope - sums[cell, part, 0]) / (bend - sums[cell, part, 1] + l2)
                gain += w * sums[cell, part, 0] - 0.5 * w * w * sums[cell, part, 1]
                variance += w * w * sums[cell, part, 1]
    return gain, variance


@kernel
def move_logits(
    cells: npt.NDArray[np.uint32],
    parts: npt.NDArray[np.uint8],
    sums: npt.NDArray[np.float32],
    l2: float,
    logits: npt.NDArray[np.float64],
) -> None:
    """Move each example's logit by what the other parts say of its cell; parts without sums by what all say."""
    num_parts = sums.shape[1]
    for i in range(len(cells)):
        slope = bend = 0.0
        for part in range(num_parts):
            if part != parts[i]:
                slope += sums[cells[i], part, 0]
                bend += sums[cells[i], part, 1]
        logits[i] += slope / (bend + l2)
