"""A table spread over workers that each have a device: rows and the messages about them stay there.

What a batch needs from whom is planned on the processor, as in `distributed.table`, and these messages (row numbers)
are the host's; weights and gradients go from device to device. Messages are gloo's for what lies in the host's memory
and NCCL's for what lies on a GPU (`distributed.group`).
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor

from fieldwise.distributed.table import Plan, ShardedTable
from fieldwise.kernels.layout import Batch
from fieldwise.nn.cuda import operations
from fieldwise.nn.cuda.batch import DeviceBatch, merge_plan
from fieldwise.nn.cuda.storage import decode
from fieldwise.nn.cuda.table import DeviceTable
from fieldwise.nn.table import Table
from fieldwise.optim.config import TableOptimizerConfig
from fieldwise.optim.device import DeviceTableOptimizer, take_placed

__all__ = ["DeviceShardedTable"]


class DeviceShardedTable(ShardedTable):
    """As `ShardedTable`, of a model that was placed on a device (`training.device.place_model`)."""

    @property
    def on_device(self) -> DeviceTable:
        """The rows owned here."""
        return cast(DeviceTable, self.owned)

    @property
    def _borrowed(self) -> DeviceTable:
        return cast(DeviceTable, self.table)

    def give_back(self) -> None:
        """See `ShardedTable.give_back`; the spare row stays."""
        self.table.layout, self._borrowed.stored = self.layout, self._borrowed.stored[-1:]

    def _make_optimizer(
        self, owned: Table, config: TableOptimizerConfig, batch_size: int, rounding_seed: int
    ) -> DeviceTableOptimizer:
        there = DeviceTable(owned, self._borrowed.device)
        return DeviceTableOptimizer(there, config, batch_size, rounding_seed, self.numbering)

    def _lend(self, lent: Batch) -> Tensor:
        return decode(self.on_device.stored[self._rows(lent), : self.table.num_weights])

    def _borrow(self, plan: Plan, received: Tensor, kept: int) -> None:
        there, count = self._borrowed, len(plan.small.rows)
        kind = torch.float64 if there.dtype.itemsize == 8 else torch.float32
        there.stored = torch.zeros(count + 1, there.num_weights, dtype=kind, device=there.device)
        there.stored[self._order(plan), kept:] = received.to(kind)

    def _sum_gradients(self, plan: Plan) -> Tensor:
        there = self._borrowed
        batch, local, full = take_placed(there)
        merge = merge_plan(batch, len(there.stored) - 1)
        summed = torch.zeros_like(there.stored)
        # What stands for no row goes to the spare one.
        summed[merge.rows.long()] = operations.sums(batch, merge, local, full, there.layout.num_fields)
        return summed[self._order(plan)]

    def _apply(self, lent: Batch, gradients: Tensor, scale: float) -> bool:
        rows = self._rows(lent)
        batch = DeviceBatch(len(rows), rows, None, None, None, min(len(rows), len(self.on_device.stored) - 1))
        optimizer = cast(DeviceTableOptimizer, self.optimizer)
        check = optimizer.act_on(batch, gradients, gradients.new_empty(len(rows), 0), scale)
        return math.isfinite(check.item())

    def _rows(self, lent: Batch) -> Tensor:
        return torch.from_numpy(lent.ids[0].astype("int64")).to(self._borrowed.device)

    def _order(self, plan: Plan) -> Tensor:
        return torch.from_numpy(plan.order).to(self._borrowed.device)
