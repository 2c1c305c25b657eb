"""Where the rows of a model's table go: into memory, onto a device, or to several workers."""

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
    """Return a table of the same rows where they are to be trained, all zero.

    Parameters
    ----------
    table
        What a model was built with; it has no rows yet.
    config, batch_size, seed
        Of the optimizer (`optimizer.SparseOptimizer`); the batch is that of all workers.
    world, num_frozen, comm_bfloat16
        As in `sharded.ShardedTable`.
    device
        Where rows lie; in memory unless given.

    Raises
    ------
    ResourceError
        There is no room for the rows.
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
