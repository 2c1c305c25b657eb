"""How a row on a device holds its numbers, as `kernels.storage` has it on the host, bit for bit.

::

    float32, float64    (D, n + S)            numbers of that type
    bfloat16            (D, n + 2 S) int16    weights as the upper halves of float32 numbers; state in float32, as two
                                              halves, the lower one first

torch does little with uint16, so the same bits are int16 here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fieldwise.kernels.numbering import WHOLE, Numbering

__all__ = ["decode", "from_host", "load", "noise", "round_by", "store", "to_host"]

_LOW = 0xFFFF


def from_host(rows: npt.NDArray[Any], device: torch.device) -> Tensor:
    """Return a copy of stored rows on a device."""
    plain = np.ascontiguousarray(rows)
    if not plain.flags.writeable:  # a mapped file; torch warns of it
        plain = plain.copy()
    return torch.from_numpy(plain.view(np.int16) if plain.dtype == np.uint16 else plain).to(device, copy=True)


def to_host(rows: Tensor) -> npt.NDArray[Any]:
    """Return a copy of stored rows on the host."""
    array: npt.NDArray[Any] = rows.to("cpu", copy=True).contiguous().numpy()
    return array.view(np.uint16) if array.dtype == np.int16 else array


def decode(stored: Tensor) -> Tensor:
    """Return stored weights as numbers: the tensor itself, or float32 made of bfloat16."""
    if stored.dtype != torch.int16:
        return stored
    return (stored.int() << 16).view(torch.float32)


def load(stored: Tensor, rows: Tensor, num_weights: int) -> tuple[Tensor, Tensor]:
    """Return the weights (R, n) and the state (R, S) of some rows."""
    some = stored[rows]
    weights, state = some[:, :num_weights], some[:, num_weights:]
    if stored.dtype == torch.int16:
        halves = state.int().view(len(rows), state.shape[1] // 2, 2)
        state = ((halves[:, :, 0] & _LOW) | (halves[:, :, 1] << 16)).view(torch.float32)
    return decode(weights), state


def store(stored: Tensor, rows: Tensor, weights: Tensor, state: Tensor, key: int, numbering: Numbering = WHOLE) -> None:
    """Set the weights (R, n) and the state (R, S) of some rows, different ones, as `kernels.optimizers` does."""
    if stored.dtype == torch.int16:
        bits = state.float().contiguous().view(torch.int32)
        halves = torch.stack((bits & _LOW, bits >> 16), dim=2).view(len(rows), 2 * bits.shape[1])
        rounded = round_by(weights, noise(numbering.of(rows.long()), weights.shape[1], key))
        stored[rows] = torch.cat((rounded, _as_int16(halves)), dim=1)
    else:
        stored[rows] = torch.cat((weights, state), dim=1)


def noise(rows: Tensor, num_weights: int, key: int) -> Tensor:
    """Return (R, n) int64 below 2^32: the bits that round the weights of rows, those of `kernels.storage.noise`.

    `rows` are those of the whole table.
    """
    unit = torch.arange(num_weights, device=rows.device)
    z = (rows.long() ^ _signed(key)).unsqueeze(1) * _signed(0x9E3779B97F4A7C15) + unit * _signed(0xD6E8FEB86659FD93)
    z = (z ^ ((z >> 32) & 0xFFFFFFFF)) * _signed(0xBF58476D1CE4E5B9)
    return (z >> 32) & 0xFFFFFFFF


def round_by(weights: Tensor, bits: Tensor) -> Tensor:
    """Return float32 weights as bfloat16 in int16, rounded up with the probability of what is cut off."""
    return _upper(weights, bits & _LOW)


def _upper(weights: Tensor, add: Tensor | int) -> Tensor:
    bits = weights.float().contiguous().view(torch.int32).long() & 0xFFFFFFFF
    return _as_int16((bits + add) >> 16)


def _as_int16(bits: Tensor) -> Tensor:
    return ((bits & _LOW) - ((bits & 0x8000) << 1)).to(torch.int16)


def _signed(number: int) -> int:
    """Return the int64 with the bits of a uint64: products wrap around alike."""
    return number - (1 << 64) if number >> 63 else number
