"""The first layer with its rows on a device: what `nn.table.Table` is on the processor, behind the same calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fieldwise.errors import ResourceError
from fieldwise.io.memory import readable_bytes, require_memory
from fieldwise.kernels.layout import Batch
from fieldwise.kernels.table import initialise
from fieldwise.nn.cuda import operations
from fieldwise.nn.cuda.batch import DeviceBatch, Placing
from fieldwise.nn.cuda.storage import from_host, to_host
from fieldwise.nn.table import Table, Visit

__all__ = ["DeviceTable", "require_device_memory"]

_SLAB_BYTES = 1 << 26


class _Placed(NamedTuple):
    """A batch of the host, and what it is on the device."""

    batch: Batch
    there: DeviceBatch


class DeviceTable(Table):
    """A table whose rows lie on a device, stored as on the host, and one spare row after them: what need not be written
    goes there (`nn.cuda.operations`).

    Parameters
    ----------
    table
        Of which this one takes layout, units and type; it has no memory yet, and nor has this one (`allocate`).
    device
        Where the rows go.

    Attributes
    ----------
    stored
        (D + 1, columns) on the device.
    """

    def __init__(self, table: Table, device: torch.device) -> None:
        self.device, self.stored = device, torch.empty(1, 0, device=device)
        super().__init__(table.layout, table.num_local, table.num_full, table.dtype.type)
        self.train(table.training)
        self._placing: Placing | None = None
        self._placed: list[_Placed] = []

    @property
    def rows(self) -> npt.NDArray[Any]:
        """A copy of all rows on the host; it cannot be written to."""
        return self._fetch(slice(None))

    @rows.setter
    def rows(self, rows: npt.NDArray[Any]) -> None:
        spare = np.zeros((1, rows.shape[1]), dtype=rows.dtype)
        self.stored = torch.empty(len(rows) + 1, rows.shape[1], dtype=from_host(spare, self.device).dtype)
        self.stored = self.stored.to(self.device)
        self.write(0, rows)
        self.stored[-1:] = from_host(spare, self.device)

    @property
    def weights(self) -> npt.NDArray[Any]:
        """A copy of the weights (D, n) on the host, as they are stored; it cannot be written to."""
        return self._fetch(slice(0, self.num_weights))

    def allocate(self, columns: int, dtype: npt.DTypeLike | None = None) -> None:
        """Take memory of the device for `columns` numbers a row, all zero.

        Raises
        ------
        ResourceError
            Where it cannot fit, with the sizes.
        """
        stored = np.dtype(dtype or self.dtype)
        num_rows = self.layout.num_features + 1
        require_device_memory(
            num_rows * columns * stored.itemsize,
            self.device,
            f"a table of {num_rows - 1:,} features with {self.num_weights:,} weights each and their optimizer's state",
        )
        kind = from_host(np.zeros((0, 0), dtype=stored), self.device).dtype
        self.stored = torch.zeros(num_rows, columns, dtype=kind, device=self.device)

    def read(self, first: int, last: int) -> npt.NDArray[Any]:
        """Return a copy of the weights of rows `first` to `last`."""
        return to_host(self.stored[first:last, : self.num_weights])

    def pick(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return a copy of the weights of some rows, on the host."""
        return to_host(self.stored[torch.from_numpy(rows).to(self.device), : self.num_weights])

    def write(self, first: int, stored: npt.NDArray[Any]) -> None:
        """Set the first columns of the rows from `first` on: their weights, or all that they hold."""
        step = max(_SLAB_BYTES // max(stored[:1].nbytes, 1), 1)
        for begin in range(0, len(stored), step):
            part = from_host(stored[begin : begin + step], self.device)
            self.stored[first + begin : first + begin + len(part), : part.shape[1]] = part

    def pieces(self, piece_rows: int) -> Iterator[npt.NDArray[Any]]:
        """Yield the weights of all rows in order, so many rows at a time."""
        for first in range(0, self.layout.num_features, piece_rows):
            yield self.read(first, min(first + piece_rows, self.layout.num_features))

    def draw(self, seed: int) -> None:
        """As `Table.draw`, the same numbers."""
        num_units, scale = self.drawn
        step = max(_SLAB_BYTES // max(num_units * 4, 1), 1)
        for first in range(0, self.layout.num_features, step):
            part = self.read(first, min(first + step, self.layout.num_features))
            initialise(part, 0, num_units, scale, seed, first)
            self.write(first, part)

    def place(self, batch: Batch) -> DeviceBatch:
        """Bring a batch over, unless it is there; it stays until two others have come.

        To be called ahead of the forward pass, while the device works on something else.
        """
        for placed in self._placed:
            if placed.batch is batch:
                return placed.there
        if self._placing is None or self._placing.layout is not self.layout:
            staging = None if self._placing is None else self._placing.staging
            self._placing = Placing(self.layout, self.device, staging)
        self._placed = [*self._placed[-1:], _Placed(batch, self._placing.place(batch))]
        return self._placed[-1].there

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return ``local`` (B, F K) and ``full`` (B, W) on the device; see `Table.forward`."""
        there = self.place(batch)
        dtype = torch.float64 if self.dtype == np.float64 else torch.float32
        with torch.no_grad():
            local, full = operations.gather(
                self.stored, there, self.layout.num_fields, self.num_local, self.num_full, dtype
            )
        if self.training and torch.is_grad_enabled():
            local.requires_grad_(self.num_local > 0)
            full.requires_grad_(self.num_full > 0)
            self.visits.append(Visit(batch, local, full, there))
        return local, full

    def _fetch(self, columns: slice) -> npt.NDArray[Any]:
        copy = to_host(self.stored[:-1, columns])
        copy.flags.writeable = False
        return copy


def require_device_memory(num_bytes: int, device: torch.device, what: str) -> None:
    """Raise ResourceError, with the sizes, unless a device has so many bytes free."""
    fix = "use fewer units or features, train.table.storage = bfloat16, another GPU, or train.device = cpu"
    if device.type != "cuda":
        require_memory(num_bytes, what, fix)
        return
    torch.cuda.empty_cache()  # what torch keeps for later use counts as taken
    free, _ = torch.cuda.mem_get_info(device)
    if num_bytes > free:
        raise ResourceError(
            f"{what} does not fit in the memory of the GPU",
            expected=f"at most {readable_bytes(free)}, what is free there",
            got=readable_bytes(num_bytes),
            fix=fix,
        )
