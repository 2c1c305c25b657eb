"""How much memory training a model takes, from its sizes alone: nothing is built.

With D features, n weights in a row of the table (K locally connected and W others) and B examples a batch::

    table        D times the bytes of a row, weights and optimizer's state (`tables.optimizer`)
    dense        16 bytes a weight: itself, its gradient, and two moments
    batch        outputs of the table and of every layer, each with its gradient, and batches read ahead
    process      libraries and compiled kernels

These are bytes that cannot be dropped. Caches and saved models are mapped files, whose pages come and go.
"""

from __future__ import annotations

from typing import NamedTuple

from fieldwise.models.config import ModelConfig
from fieldwise.models.sizes import Size
from fieldwise.tables.config import TableOptimizerConfig

__all__ = ["PROCESS_BYTES", "TrainingMemory", "training_memory"]

PROCESS_BYTES = 400 << 20
"""Of a process that trains, beside what grows with model and log: libraries, compiled kernels, threads."""
_BATCHES_AHEAD = 5


class TrainingMemory(NamedTuple):
    """Bytes of the table, of all else that grows with the model, and of both and the process."""

    table: int
    dense: int
    total: int


def training_memory(
    config: ModelConfig,
    size: Size,
    num_fields: int,
    optimizer: TableOptimizerConfig,
    *,
    batch_size: int = 4096,
    itemsize: int = 4,
    averaged: bool = False,
) -> TrainingMemory:
    """Return what training a model takes.

    Parameters
    ----------
    config, size
        The model, and what `models.sizes.count_parameters` says of it.
    num_fields
        F, co-occurrence bags among them.
    optimizer
        Of the table.
    batch_size
        B.
    itemsize
        4 for float32, 8 for float64.
    averaged
        Whether the average of the weights is kept, and those of its own beside it while it is validated
        (`training.averaging`).

    Examples
    --------
    A billion features, one weight each, by Adagrad:

    >>> from fieldwise.models.sizes import count_parameters
    >>> config = ModelConfig(kind="lc-dnn", units=1, hidden=(64,))
    >>> size = count_parameters(config, 10**9, 39)
    >>> training_memory(config, size, 39, TableOptimizerConfig(name="adagrad")).table
    8000000000
    """
    table = size.num_rows * optimizer.bytes_per_row(size.row_weights, itemsize)
    deep = 0 if config.kind == "lr" else sum(config.hidden) + 1
    outputs = 4 * (size.table_outputs + deep) * itemsize
    dense = size.dense * 4 * itemsize + batch_size * (outputs + _BATCHES_AHEAD * num_fields * 8)
    if averaged and config.kind != "lr":
        stored = 2 if optimizer.storage == "bfloat16" else itemsize
        dense += size.num_rows * size.row_weights * (itemsize + stored)
    return TrainingMemory(table, dense, table + dense + PROCESS_BYTES)
