"""How much memory training a model takes, from its sizes alone: nothing is built.

With D features, n weights in a row of the table (K locally connected and W others) and B examples a batch::

    table        D times the bytes of a row, weights and optimizer's state (`optim.table`)
    dense        16 bytes a weight: itself, its gradient, and two moments
    batch        outputs of the table and of every layer, each with its gradient, and batches read ahead
    process      libraries and compiled kernels

These are bytes that cannot be dropped. Caches and saved models are mapped files, whose pages come and go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from fieldwise.models.config import Kind, ModelConfig
from fieldwise.models.sizes import count_parameters
from fieldwise.optim.config import TableOptimizerConfig

__all__ = ["PROCESS_BYTES", "TrainingMemory", "table_weights", "training_memory"]

PROCESS_BYTES = 400 << 20
"""Of a process that trains, beside what grows with model and log: libraries, compiled kernels, threads."""
_BATCHES_AHEAD = 5


class TrainingMemory(NamedTuple):
    """Bytes of the table, of all else that grows with the model, and of both and the process."""

    table: int
    dense: int
    total: int


def table_weights(kind: Kind, units: int, hidden: Sequence[int], num_outputs: int = 1, posterior: int = 0) -> int:
    """Return n, the weights of one row of the table, `posterior` of them kept from a posterior.

    Examples
    --------
    >>> [table_weights(kind, 8, [256]) for kind in ("lr", "dnn", "lc-dnn", "lc-wide-deep")]
    [1, 256, 8, 9]
    """
    if kind == "dnn":
        return hidden[0]
    if kind == "lr":
        return num_outputs
    return posterior + units + (num_outputs if kind == "lc-wide-deep" else 0)


def training_memory(
    kind: Kind,
    num_features: int,
    num_fields: int,
    units: int,
    hidden: Sequence[int],
    optimizer: TableOptimizerConfig,
    *,
    num_outputs: int = 1,
    batch_size: int = 4096,
    itemsize: int = 4,
    averaged: bool = False,
    config: ModelConfig | None = None,
    histories: Sequence[int] = (),
) -> TrainingMemory:
    """Return what training a model takes.

    Parameters
    ----------
    kind, num_features, num_fields, units, hidden, num_outputs, config, histories
        As in `models.sizes.count_parameters`.
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

    >>> training_memory("lc-dnn", 10**9, 39, 1, [64], TableOptimizerConfig(name="adagrad")).table
    8000000000
    """
    size = count_parameters(kind, num_features, num_fields, units, hidden, num_outputs, config, histories)
    config = msgspec.structs.replace(config or ModelConfig(), kind=kind, units=units).for_fields(num_fields)
    if config.has_pairs(num_fields):
        num_features, added = num_features + sum(histories), len(histories)
    else:
        added = 0
    n = table_weights(kind, config.units, hidden, num_outputs, config.num_posterior(num_fields))
    num_fields, units = num_fields + added, config.units
    table = num_features * optimizer.bytes_per_row(n, itemsize)
    dense = (size.parameters - num_features * n + size.biases) * 4 * itemsize
    if kind == "lr":
        widths = [num_outputs]
    else:
        widths = [num_fields * units if kind != "dnn" else hidden[0], *hidden, num_outputs]
    dense += batch_size * (4 * sum(widths) * itemsize + _BATCHES_AHEAD * num_fields * 8)
    if averaged and kind != "lr":
        dense += num_features * n * (itemsize + (2 if optimizer.storage == "bfloat16" else itemsize))
    return TrainingMemory(table, dense, table + dense + PROCESS_BYTES)
