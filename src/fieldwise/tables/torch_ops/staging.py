"""Arrays from the host to a device: packed into one piece of page-locked memory, fetched in one copy.

A copy from page-locked memory is only queued: the processor goes on while the device fetches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["Staging"]

Parts = Sequence[npt.NDArray[Any]]

_ALIGNED = 16


class Staging:
    """Two rooms of host memory in turn: one is filled while the device still fetches from the other.

    Parameters
    ----------
    device
        Where arrays go. Where it is the processor, they are copied all the same.

    Examples
    --------
    >>> numbers, more = Staging(torch.device("cpu")).send(
    ...     [[np.array([1, 2], dtype=np.int32), np.array([[3]], dtype=np.int32)], [np.array([0.5])]]
    ... )
    >>> numbers, more
    (tensor([1, 2, 3], dtype=torch.int32), tensor([0.5000], dtype=torch.float64))
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._rooms = [torch.empty(0, dtype=torch.uint8)] * 2
        self._fetched: list[Any] = [None, None]

    def send(self, groups: Sequence[Parts]) -> tuple[Tensor, ...]:
        """Return a flat tensor on the device for each group, whose arrays, of one type, are laid end to end."""
        starts, total = [], 0
        for group in groups:
            starts.append(total)
            total += -(-sum(part.nbytes for part in group) // _ALIGNED) * _ALIGNED
        room = self._empty_room(total)
        bytes_ = room.numpy()
        for group, start in zip(groups, starts, strict=True):
            for part in group:
                bytes_[start : start + part.nbytes].view(part.dtype).reshape(part.shape)[...] = part
                start += part.nbytes
        there = room[:total].to(self.device, non_blocking=True, copy=True)
        if self.device.type == "cuda":
            self._fetched[0] = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._fetched[0].record()
        return tuple(
            there[start : start + sum(part.nbytes for part in group)].view(_TYPES[group[0].dtype])
            for group, start in zip(groups, starts, strict=True)
        )

    def _empty_room(self, num_bytes: int) -> Tensor:
        """Return the room that was not used last, when nobody reads there any more."""
        self._rooms.reverse()
        self._fetched.reverse()
        if self._fetched[0] is not None:
            self._fetched[0].synchronize()
        if len(self._rooms[0]) < num_bytes:
            locked = self.device.type == "cuda"
            self._rooms[0] = torch.empty(num_bytes * 5 // 4, dtype=torch.uint8, pin_memory=locked)
        return self._rooms[0]


_TYPES = {
    np.dtype(np.int32): torch.int32,
    np.dtype(np.int64): torch.int64,
    np.dtype(np.float32): torch.float32,
    np.dtype(np.float64): torch.float64,
}
