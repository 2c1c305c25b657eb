"""The choice of a table: rows in memory, on a device, or spread over several workers."""

from __future__ import annotations

import torch

from fieldwise.distributed.world import ALONE, World
from fieldwise.tables.config import TableOptimizerConfig
from fieldwise.tables.device import DeviceTable
from fieldwise.tables.host import HostTable
from fieldwise.tables.interface import Table
from fieldwise.tables.sharded import ShardedTable

__all__ = ["place_table"]


def place_table(
    table: Table,
    config: TableOptimizerConfig,
    batch_size: int,
    *,
    world: World = ALONE,
    device: torch.device | None = None,
    seed: int = 0,
    num_frozen: int = 0,
    comm_bfloat16: bool = False,
) -> Table:
    """Return a table with the same rows, all zero, in the place where they will be trained.

    Parameters
    ----------
    table
        The table that a model was built with, which has no rows yet.
    config, batch_size, seed
        See `optimizer.SparseOptimizer`; `batch_size` counts the examples of all workers.
    world, num_frozen, comm_bfloat16
        As in `sharded.ShardedTable`.
    device
        The device of the rows; by default the host's memory.

    Returns
    -------
    Table
        A `host.HostTable` or `device.DeviceTable`; for more than one worker a `sharded.ShardedTable` of these.

    Raises
    ------
    ResourceError
        There is not enough memory for the rows; the message says which settings take less.
    """
    shape = table.layout, table.num_local, table.num_full, table.dtype.type
    if world.size > 1:
        sharded = ShardedTable(*shape, world=world, device=device, num_frozen=num_frozen, comm_bfloat16=comm_bfloat16)
        placed: Table = sharded.train_by(config, batch_size, seed)
    elif device is not None:
        placed = DeviceTable(*shape, device).train_by(config, batch_size, seed)
    else:
        placed = HostTable(*shape).train_by(config, batch_size, seed)
    return placed.train(table.training)
