"""The table of the parameter server: every worker owns a block of its rows, and borrows those that its batch touches.

::

    worker                                              owners
      batch -> its different rows (kernels.renumber)
      numbers of the rows            -- exchange -->    weights gathered
      a small table of their weights <-- exchange --
      forward, backward, scatter, all on the small table
      gradients of its rows          -- exchange -->    summed in the order of the workers; one fused update per row

What an owner holds is an ordinary table of one field, and the rows that it is asked for are the examples of an ordinary
batch: `kernels.table` gathers them, and `optim.table` moves them, once per step and row. Nothing here is proportional
to D.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from fieldwise.distributed.group import Workers
from fieldwise.distributed.shards import Shards
from fieldwise.kernels.gradients import scatter
from fieldwise.kernels.layout import SINGLE, Batch, Layout
from fieldwise.kernels.renumber import compact
from fieldwise.kernels.storage import decode_weights
from fieldwise.kernels.table import gather, initialise_numbered
from fieldwise.kernels.threads import num_threads
from fieldwise.nn.table import Table
from fieldwise.optim.table import TableOptimizer, TableOptimizerConfig, take_gradients

__all__ = ["Loan", "ShardedTable"]

Floats = npt.NDArray[np.floating]
Int64s = npt.NDArray[np.int64]

_SLAB = 1 << 18


class Loan(NamedTuple):
    """The rows that a batch has borrowed.

    Attributes
    ----------
    batch
        The batch over the small table.
    order
        (U,) the rows of the small table in the order in which they are on the wire: owner by owner.
    asked, served
        (W,) rows borrowed from each worker, and lent to each.
    lent
        The rows lent, as a batch over the table of this owner.
    total
        Sum over the workers of the `amount` given to `pull`.
    """

    batch: Batch
    order: Int64s
    asked: list[int]
    served: list[int]
    lent: Batch
    total: float


class ShardedTable:
    """The rows of a model's table, spread over the workers.

    Parameters
    ----------
    table
        The model's own. It gets the rows of one batch at a time (`pull`).
    config, batch_size
        As in `TableOptimizer`; the batch is the global one.
    workers
        Who owns the rows.
    seed
        Of the order in which rows are spread.
    """

    def __init__(
        self, table: Table, config: TableOptimizerConfig, batch_size: int, workers: Workers, seed: int = 0
    ) -> None:
        self.table, self.workers = table, workers
        self.layout = table.layout
        self.shards = Shards(self.layout.num_features, workers.size, seed)
        self.places = self.shards.owned(workers.rank)
        n = table.num_weights
        owned = Table(Layout.of([SINGLE], [len(self.places)]), n, 0, table.dtype.type).train()
        # The rate follows from the fields of the model, not from the one field of an owner's table.
        config = msgspec.structs.replace(config, learning_rate=config.rate(self.layout.num_fields))
        self.optimizer = TableOptimizer(owned, config, batch_size)
        self.owned = owned

    def start(self, unit: int, weights: Floats) -> None:
        """Set the weights (D,) of one unit, of which the rows owned here are taken (`TableOptimizer.start`)."""
        self.optimizer.start(unit, weights[self.shards.rows(np.arange(self.places.start, self.places.stop))])

    def draw(self, seed: int) -> None:
        """Draw the weights at random: those that one process draws."""
        num_units, scale = self.table.drawn
        for first in range(0, len(self.places), _SLAB):
            places = np.array(self.places[first : first + _SLAB], dtype=np.int64)
            part = self.owned.weights[first : first + _SLAB]
            initialise_numbered(part, 0, num_units, scale, seed, self.shards.rows(places))
        self.optimizer.derive_state()

    def pull(self, batch: Batch, amount: float = 0.0) -> Loan:
        """Give the model's table the rows of a batch, and return what `push` needs; every worker must call it.

        `amount` is a number of this worker's, whose sum comes back for free.
        """
        workers, table, n = self.workers, self.table, self.table.num_weights
        small = compact(batch, self.layout)
        places = self.shards.places(small.rows)
        owners = places // self.shards.block
        order = np.argsort(owners, kind="stable")
        asked = np.bincount(owners, minlength=workers.size).astype(np.int64)
        message = np.stack([asked, np.full(workers.size, amount, dtype=np.float64).view(np.int64)], axis=1)
        answers = workers.exchange(message, [1] * workers.size, [1] * workers.size)
        served = answers[:, 0].tolist()
        # Below 2^31 rows an owner: torch has no collectives for uint32.
        wanted = (places[order] % self.shards.block).astype(np.int64 if self.shards.block >> 31 else np.int32)
        lent = _as_batch(workers.exchange(wanted, asked.tolist(), served))
        weights = np.empty((lent.num_examples, n), dtype=table.dtype)
        gather(self.owned.rows, lent, self.owned.layout, weights, _no_full(weights))
        table.layout, table.rows = small.layout, np.empty((len(small.rows), n), dtype=table.dtype)
        table.rows[order] = workers.exchange(weights, served, asked.tolist())
        total = float(answers[:, 1].copy().view(np.float64).sum())
        return Loan(small.batch, order, asked.tolist(), served, lent, total)

    def push(self, loan: Loan, scale: float = 1.0) -> bool:
        """Send the gradients of the last ``backward`` to the owners, and let each act once on their sum.

        Returns whether all that was written here is finite. Every worker must call it.
        """
        summed = np.zeros_like(self.table.rows)
        batch, local, full = take_gradients(self.table)
        scatter(summed, batch, self.table.layout, local, full, num_threads())
        gradients = self.workers.exchange(summed[loan.order], loan.asked, loan.served)
        return self.optimizer.apply(loan.lent, gradients, _no_full(gradients), scale)

    def whole(self) -> Floats:
        """Return the weights (D, n) of all owners in the order of the rows, on worker 0; without rows on the others."""
        n, first = self.table.num_weights, self.workers.rank == 0
        sizes = [len(self.shards.owned(worker)) for worker in range(self.workers.size)]
        sent = [len(self.places)] + [0] * (self.workers.size - 1)
        received = sizes if first else [0] * self.workers.size
        spread = self.workers.exchange(decode_weights(self.owned.weights), sent, received)
        out = np.empty_like(spread)
        out[self.shards.rows(np.arange(len(spread)))] = spread
        return out.reshape(-1, n)


def _no_full(local: Floats) -> Floats:
    """Return the output of no fully connected unit, (B, 0), beside that of the local ones."""
    return np.empty((len(local), 0), dtype=local.dtype)


def _as_batch(rows: npt.NDArray[np.signedinteger]) -> Batch:
    """Return the batch in which example b has the feature ``rows[b]`` of the only field."""
    if len(rows) and rows.max() >> 32:
        raise ValueError("a worker owns 2^32 rows or more: use more workers")
    ids = rows.astype(np.uint32)[np.newaxis]
    return Batch(
        ids,
        np.empty((0, len(rows)), dtype=np.float32),
        np.empty((0, len(rows) + 1), dtype=np.int64),
        np.empty(0, dtype=np.uint32),
        np.empty(0, dtype=np.float32),
    )
