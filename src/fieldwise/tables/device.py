"""A table on a device that is not the processor: rows in its memory, moved by torch's operations (`torch_ops`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fieldwise.errors import ResourceError
from fieldwise.io.memory import readable_bytes, require_memory
from fieldwise.kernels.layout import Batch, Layout
from fieldwise.kernels.table import initialise
from fieldwise.tables.interface import ForwardRecord, Int64s, Ticket
from fieldwise.tables.local import LocalTable
from fieldwise.tables.optimizer import Floats
from fieldwise.tables.torch_ops import operations
from fieldwise.tables.torch_ops.batch import DeviceBatch, Placing, join_batches, merge_plan
from fieldwise.tables.torch_ops.staging import Staging
from fieldwise.tables.torch_ops.storage import decode, from_host, to_host

__all__ = ["DeviceTable"]

_SLAB_BYTES = 1 << 26


class _DeviceTicket(Ticket):
    """A batch that is copied to the device while that works on another."""

    def __init__(self, table: DeviceTable, batch: Batch, amount: float) -> None:
        super().__init__(batch, amount)
        self._table = table
        self._placed: DeviceBatch | None = None

    def advance(self) -> None:
        """Pack the batch and queue its copy."""
        if self._placed is None:
            self._placed = self._table.place(self.batch)

    @property
    def placed(self) -> DeviceBatch:
        """The batch as it is on the device."""
        self.advance()
        assert self._placed is not None
        return self._placed


class DeviceTable(LocalTable):
    """A table whose rows lie on a device, stored as on the host, and one spare row after them: what need not be written
    goes there (`torch_ops.operations`).

    Parameters
    ----------
    layout, num_local, num_full, dtype
        As in `Table`.
    device
        Where the rows go.

    Attributes
    ----------
    stored
        (D + 1, columns) on the device.
    """

    lookahead = 1
    leaves_cores = True

    def __init__(
        self,
        layout: Layout,
        num_local: int,
        num_full: int,
        dtype: type[np.floating] = np.float32,
        device: torch.device | None = None,
    ) -> None:
        super().__init__(layout, num_local, num_full, dtype)
        self.device = device or torch.device("cpu")
        self._dtype = torch.float64 if self.dtype == np.float64 else torch.float32
        self.stored = torch.empty(1, 0, device=self.device)
        self._staging = Staging(self.device)
        self._placing = Placing(layout, self.device, self._staging)
        self._pulled: _DeviceTicket | None = None

    def _allocate(self, columns: int, stored: np.dtype[Any], what: str) -> None:
        num_rows = self.layout.num_features + 1
        _require_device_memory(num_rows * columns * stored.itemsize, self.device, what)
        kind = from_host(np.zeros((0, 0), dtype=stored), self.device).dtype
        self.stored = torch.zeros(num_rows, columns, dtype=kind, device=self.device)

    # --- a step ---

    def plan(self, batch: Batch, amount: float = 0.0) -> Ticket:
        """See `Table.plan`."""
        return _DeviceTicket(self, batch, amount)

    def pull(self, ticket: Ticket) -> float:
        """See `Table.pull`."""
        assert isinstance(ticket, _DeviceTicket), "a ticket of another table"
        self._pulled = ticket
        return super().pull(ticket)

    def place(self, batch: Batch) -> DeviceBatch:
        """Bring a batch over: one copy, which is only queued where the device is a GPU."""
        if self._placing.layout is not self.layout:
            self._placing = Placing(self.layout, self.device, self._staging)
        return self._placing.place(batch)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """See `Table.forward`; the outputs are on the device."""
        pulled = self._pulled
        there = pulled.placed if pulled is not None and pulled.batch is batch else self.place(batch)
        with torch.no_grad():
            local, full = operations.gather(
                self.stored, there, self.layout.num_fields, self.num_local, self.num_full, self._dtype
            )
        if self.training and torch.is_grad_enabled():
            local.requires_grad_(self.num_local > 0)
            full.requires_grad_(self.num_full > 0)
            self.records.append(ForwardRecord(batch, local, full, there))
        return local, full

    def push(self) -> Callable[[float], Tensor]:
        """See `Table.push`; nobody waits for the device."""
        batch, local, full = self._take_gradients()
        return lambda factor: self._move(batch, local, full, factor)

    def _move(self, batch: DeviceBatch, local: Tensor, full: Tensor, factor: float) -> Tensor:
        merge = merge_plan(batch, len(self.stored) - 1)
        rule = self.optimizer.next_rule(factor)
        return operations.update(self.stored, batch, merge, local, full, self.layout.num_fields, rule)

    def _take_gradients(self) -> tuple[DeviceBatch, Tensor, Tensor]:
        """Return the batch of the passes since the last push, and the gradients of its outputs."""
        records, self._pulled = self.records.copy(), None
        self.records.clear()
        if not records:
            raise RuntimeError("there was no forward pass in training mode since the last step")
        local, full = zip(*(record.gradients() for record in records), strict=True)
        batch = join_batches([record.placed for record in records], self.layout.num_fields)
        return batch, torch.cat(local), torch.cat(full)

    # --- rows ---

    @property
    def rows(self) -> npt.NDArray[Any]:
        """A copy of all rows on the host; it cannot be written to."""
        return self._fetch(slice(None))

    @property
    def weights(self) -> npt.NDArray[Any]:
        """A copy of the weights (D, n) on the host, as they are stored; it cannot be written to."""
        return self._fetch(slice(0, self.num_weights))

    def read(self, first: int, last: int) -> npt.NDArray[Any]:
        """See `Table.read`; a copy on the host."""
        return to_host(self.stored[first : min(last, len(self.stored) - 1), : self.num_weights])

    def write(self, first: int, stored: npt.NDArray[Any]) -> None:
        """See `Table.write`."""
        step = max(_SLAB_BYTES // max(stored[:1].nbytes, 1), 1)
        for begin in range(0, len(stored), step):
            part = from_host(stored[begin : begin + step], self.device)
            self.stored[first + begin : first + begin + len(part), : part.shape[1]] = part

    def pick(self, rows: Int64s) -> tuple[Int64s, npt.NDArray[Any]]:
        """See `Table.pick`."""
        there = self.stored[torch.from_numpy(rows).to(self.device), : self.num_weights]
        return np.arange(len(rows)), to_host(there)

    def put(self, row: int, stored: npt.NDArray[Any]) -> None:
        """See `Table.put`."""
        self.write(row, stored[np.newaxis])

    def draw(self, seed: int) -> None:
        """See `Table.draw`; the numbers that a table in memory draws."""
        num_units, scale = self.drawn
        for first, last in self._slabs(num_units * 4):
            part = self.read(first, last)
            initialise(part, 0, num_units, scale, seed, first)
            self.write(first, part)
        self.derive_state()

    def start(self, unit: int, weights: Floats) -> None:
        """See `Table.start`."""
        for first, last in self._slabs(self.stored.shape[1] * self.stored.element_size()):
            part = to_host(self.stored[first:last])
            self.optimizer.start(part, self.num_weights, unit, weights[first:last])
            self.write(first, part)

    def _slabs(self, bytes_per_row: int) -> Iterator[tuple[int, int]]:
        """Yield the first and last row of pieces of the table that are small beside the host's memory."""
        step, num_rows = max(_SLAB_BYTES // max(bytes_per_row, 1), 1), self.layout.num_features
        for first in range(0, num_rows, step):
            yield first, min(first + step, num_rows)

    def _fetch(self, columns: slice) -> npt.NDArray[Any]:
        copy = to_host(self.stored[:-1, columns])
        copy.flags.writeable = False
        return copy

    # --- a part of a table ---

    def hold(self, layout: Layout, order: Int64s, weights: Tensor, num_frozen: int) -> None:
        """See `Table.hold`."""
        self.layout = layout
        self.stored = torch.zeros(len(order) + 1, self.num_weights, dtype=self._dtype, device=self.device)
        self.stored[self._numbers(order), num_frozen:] = weights.to(self._dtype)

    def release(self) -> None:
        """See `Table.release`; the spare row stays."""
        self.stored = self.stored[-1:].clone()

    def sum_gradients(self) -> Tensor:
        """See `Table.sum_gradients`."""
        batch, local, full = self._take_gradients()
        merge = merge_plan(batch, len(self.stored) - 1)
        summed = torch.zeros_like(self.stored)
        # What stands for no row goes to the spare one.
        summed[merge.rows.long()] = operations.sums(batch, merge, local, full, self.layout.num_fields)
        return summed[:-1]

    def lend(self, places: Int64s) -> Tensor:
        """See `Table.lend`."""
        return decode(self.stored[self._numbers(places), : self.num_weights])

    def move_rows(self, places: Int64s, gradients: Tensor, factor: float) -> Tensor:
        """See `Table.move_rows`."""
        rows = self._numbers(places)
        batch = DeviceBatch(len(rows), rows, None, None, None, min(len(rows), len(self.stored) - 1))
        return self._move(batch, gradients, gradients.new_empty(len(rows), 0), factor)

    def _numbers(self, numbers: Int64s) -> Tensor:
        return torch.from_numpy(numbers.astype(np.int64, copy=False)).to(self.device)


def _require_device_memory(num_bytes: int, device: torch.device, what: str) -> None:
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
