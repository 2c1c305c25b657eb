"""The optimizer of a table on a device: the rules of `optim.table`, in torch's operations."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fieldwise.kernels.numbering import WHOLE, Numbering
from fieldwise.nn.cuda import operations
from fieldwise.nn.cuda.batch import DeviceBatch, join_batches, merge_plan
from fieldwise.nn.cuda.rule import Rule
from fieldwise.nn.cuda.storage import from_host, to_host
from fieldwise.nn.cuda.table import DeviceTable
from fieldwise.optim.config import TableOptimizerConfig
from fieldwise.optim.table import Floats, TableOptimizer

__all__ = ["DeviceTableOptimizer", "take_placed"]

_SLAB = 1 << 20


class DeviceTableOptimizer(TableOptimizer):
    """Moves the rows of a table on a device.

    Parameters
    ----------
    table, config, batch_size, seed, numbering
        As in `TableOptimizer`.
    """

    def __init__(
        self,
        table: DeviceTable,
        config: TableOptimizerConfig,
        batch_size: int = 1,
        seed: int = 0,
        numbering: Numbering = WHOLE,
    ) -> None:
        super().__init__(table, config, batch_size, seed, numbering)
        self.on_device = table

    def start(self, unit: int, weights: Floats) -> None:
        """Set the weights (D,) of one unit, and the state that belongs to them; see `TableOptimizer.start`."""
        stored = self.on_device.stored
        for first in range(0, len(stored) - 1, _SLAB):
            given = weights[first : first + _SLAB]
            part = to_host(stored[first : first + len(given)])
            self._start(part, unit, given)
            stored[first : first + len(given)] = from_host(part, self.on_device.device)

    def step(self, scale: float = 1.0) -> bool:
        """Act once on the gradients of the last ``backward``, and wait for the answer; see `TableOptimizer.step`."""
        return math.isfinite(self.act(scale).item())

    def act(self, scale: float = 1.0) -> Tensor:
        """As `step`, without waiting: what is returned is 0, or NaN where something written is not finite."""
        return self.act_on(*take_placed(self.on_device), scale)

    def act_on(self, batch: DeviceBatch, local: Tensor, full: Tensor, scale: float = 1.0) -> Tensor:
        """As `act`, given the gradients ``local`` (B, F K) and ``full`` (B, W) of a batch's outputs."""
        table = self.on_device
        self.num_steps += 1
        rule = Rule(self.config.name, self.settings(scale), self.key, self.numbering)
        merge = merge_plan(batch, len(table.stored) - 1)
        return operations.update(table.stored, batch, merge, local, full, table.layout.num_fields, rule)


def take_placed(table: DeviceTable) -> tuple[DeviceBatch, Tensor, Tensor]:
    """Return the batch of the last passes through a table, and what ``backward`` left for its outputs."""
    visits, table.visits = table.visits, []
    if not visits:
        raise RuntimeError("there was no forward pass in training mode since the last step")
    placed: list[DeviceBatch] = [visit.placed for visit in visits]
    local = torch.cat([_gradient(visit.local) for visit in visits])
    full = torch.cat([_gradient(visit.full) for visit in visits])
    return join_batches(placed, table.layout.num_fields), local, full


def _gradient(output: Tensor) -> Tensor:
    """Return what ``backward`` left for an output; zero where it did not reach it."""
    return torch.zeros_like(output) if output.grad is None else output.grad.contiguous()
