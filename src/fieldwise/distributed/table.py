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

from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import torch

from fieldwise.distributed.group import Workers
from fieldwise.distributed.shards import Shards
from fieldwise.kernels.gradients import scatter
from fieldwise.kernels.layout import SINGLE, Batch, Layout
from fieldwise.kernels.renumber import Compact, compact
from fieldwise.kernels.table import gather, initialise_numbered
from fieldwise.kernels.threads import num_threads
from fieldwise.nn.table import Table
from fieldwise.optim.config import TableOptimizerConfig
from fieldwise.optim.table import TableOptimizer, take_gradients

__all__ = ["Plan", "Planning", "ShardedTable"]

Floats = npt.NDArray[np.floating]
Int64s = npt.NDArray[np.int64]

_SLAB = 1 << 18


class Plan(NamedTuple):
    """Which rows a batch needs, who owns them, and which rows others need from here; nothing of it changes in a step.

    Attributes
    ----------
    small
        The batch over the table of its own rows.
    order
        (U,) the rows of the small table in the order in which they are on the wire: owner by owner.
    asked, served
        (W,) rows borrowed from each worker, and lent to each.
    lent
        The rows lent, as a batch over the table of this owner.
    total
        Sum over the workers of the `amount` given to `plan`.
    """

    small: Compact
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
        Of the order in which rows are spread. Blocks of a checkpoint are cut from it, so it is not the training's seed.
    rounding_seed
        Of the rounding of bfloat16 weights, as in `TableOptimizer`.
    bfloat16
        Whether weights and gradients travel in 16 bits; rows are kept, and gradients added up, in the table's type.
    num_kept
        How many of the first weights of a row training neither reads nor moves: in a step they do not travel.
    """

    def __init__(
        self,
        table: Table,
        config: TableOptimizerConfig,
        batch_size: int,
        workers: Workers,
        seed: int = 0,
        bfloat16: bool = False,
        num_kept: int = 0,
        rounding_seed: int = 0,
    ) -> None:
        self.table, self.workers, self.num_kept = table, workers, num_kept
        self.layout = table.layout
        self.shards = Shards(self.layout.num_features, workers.size, seed)
        self.places = self.shards.owned(workers.rank)
        self.numbering = self.shards.numbering(workers.rank)
        n = table.num_weights
        owned = Table(Layout.of([SINGLE], [len(self.places)]), n, 0, table.dtype.type).train()
        # The rate follows from the fields of the model, not from the one field of an owner's table.
        config = msgspec.structs.replace(config, learning_rate=config.rate(self.layout.num_fields))
        self.optimizer = self._make_optimizer(owned, config, batch_size, rounding_seed)
        self.owned, self.bfloat16 = self.optimizer.table, bfloat16

    def start(self, unit: int, weights: Floats) -> None:
        """Set the weights (D,) of one unit, of which the rows owned here are taken (`TableOptimizer.start`)."""
        self.optimizer.start(unit, weights[self.shards.rows(np.arange(self.places.start, self.places.stop))])

    def draw(self, seed: int) -> None:
        """Draw the weights at random: those that one process draws."""
        num_units, scale = self.table.drawn
        for first in range(0, len(self.places), _SLAB):
            places = np.array(self.places[first : first + _SLAB], dtype=np.int64)
            part = self.owned.read(first, first + len(places))
            initialise_numbered(part, 0, num_units, scale, seed, self.shards.rows(places))
            self.owned.write(first, part)
        self.optimizer.derive_state()

    def load(self, weights: npt.NDArray[Any]) -> None:
        """Take the rows owned here out of the weights (D, n) of all rows, as stored; the optimizer's state stays."""
        for first in range(0, len(self.places), _SLAB):
            places = np.array(self.places[first : first + _SLAB], dtype=np.int64)
            self.owned.write(first, weights[self.shards.rows(places)])

    def plan(self, batch: Batch, amount: float = 0.0) -> Generator[None, None, Plan]:
        """Find out who owns the rows of a batch: yields twice while messages are on their way, then returns the plan.

        So something else can be done meanwhile; `Planning` keeps the iterator. Every worker must do the same.
        `amount` is a number of this worker's, whose sum comes back for free.
        """
        workers = self.workers
        small = compact(batch, self.layout)
        places = self.shards.places(small.rows)
        owners = places // self.shards.block
        order = np.argsort(owners, kind="stable")
        asked = np.bincount(owners, minlength=workers.size).astype(np.int64)
        message = np.stack([asked, np.full(workers.size, amount, dtype=np.float64).view(np.int64)], axis=1)
        ones = [1] * workers.size
        counts = workers.send(torch.from_numpy(message), ones, ones, "counts")
        yield
        answers = counts().numpy()
        served = answers[:, 0].tolist()
        # Below 2^31 rows an owner: torch has no collectives for uint32.
        wanted = (places[order] % self.shards.block).astype(np.int64 if self.shards.block >> 31 else np.int32)
        rows = workers.send(torch.from_numpy(wanted), asked.tolist(), served, "rows")
        yield
        lent = _as_batch(rows().numpy())
        traffic = workers.traffic
        traffic.ids += batch.ids.size + len(batch.bag_ids)
        traffic.rows_asked += len(wanted)
        traffic.rows_served += lent.num_examples
        total = float(answers[:, 1].copy().view(np.float64).sum())
        return Plan(small, order, asked.tolist(), served, lent, total)

    def pull(self, plan: Plan, learning: bool = True) -> None:
        """Give the model's table the rows of a batch: what a step reads of them, or all, as exact as they are."""
        kept, bfloat16 = (self.num_kept, self.bfloat16) if learning else (0, False)
        weights = _to_wire(self._lend(plan.lent)[:, kept:], bfloat16)
        received = self.workers.send(weights, plan.served, plan.asked, "weights")
        self.table.layout = plan.small.layout
        self._borrow(plan, received(), kept)

    def give_back(self) -> None:
        """Take the rows of a batch from the model's table, which then is a table without rows of the whole layout."""
        self.table.layout, self.table.rows = self.layout, np.empty((0, self.table.num_weights), self.table.dtype)

    def push(self, plan: Plan) -> Callable[[float], bool]:
        """Begin to send the gradients of the last ``backward`` to the owners.

        What is returned lets each owner act once on their sum, at a multiple of the learning rate, and returns whether
        all that was written here is finite.
        """
        summed = self._sum_gradients(plan)
        moved = _to_wire(summed[:, self.num_kept :], self.bfloat16)
        received = self.workers.send(moved, plan.asked, plan.served, "gradients")
        self.give_back()

        def act(scale: float) -> bool:
            gradients = received().to(summed.dtype)
            if self.num_kept:
                gradients = torch.cat((gradients.new_zeros(len(gradients), self.num_kept), gradients), dim=1)
            return self._apply(plan.lent, gradients, scale)

        return act

    def stream(self, piece_rows: int) -> Iterator[npt.NDArray[Any]]:
        """Yield the weights (D, n) of all rows as they are stored, in order, on worker 0; nothing on the others.

        A piece holds `piece_rows`; a worker holds no more than one, and the rows of it that it owns.

        Every worker must go through to the end.
        """
        workers, first_worker, stored = self.workers, self.workers.rank == 0, self.owned.read(0, 0).dtype
        for first in range(0, self.layout.num_features, piece_rows):
            rows = np.arange(first, min(first + piece_rows, self.layout.num_features), dtype=np.int64)
            places = self.shards.places(rows)
            owners = places // self.shards.block
            own = self.owned.pick(places[owners == workers.rank] - self.places.start)
            counts = np.bincount(owners, minlength=workers.size).tolist()
            received = counts if first_worker else [0] * workers.size
            # As bytes: torch has no collectives for the 16 bits of a stored bfloat16.
            plain = np.ascontiguousarray(own).view(np.uint8)
            parts = workers.exchange(plain, [len(own)] + [0] * (workers.size - 1), received, "bundle")
            if first_worker:
                piece = np.empty_like(parts)
                piece[np.argsort(owners, kind="stable")] = parts
                yield piece.view(stored)

    # --- where the rows are (`distributed.device_table` has them elsewhere) ---

    def _make_optimizer(
        self, owned: Table, config: TableOptimizerConfig, batch_size: int, rounding_seed: int
    ) -> TableOptimizer:
        """Return what moves the rows of a table without memory, after giving it some."""
        return TableOptimizer(owned, config, batch_size, rounding_seed, self.numbering)

    def _lend(self, lent: Batch) -> torch.Tensor:
        """Return the weights (L, n) of rows owned here."""
        weights = np.empty((lent.num_examples, self.table.num_weights), dtype=self.table.dtype)
        gather(self.owned.rows, lent, self.owned.layout, weights, _no_full(weights))
        return torch.from_numpy(weights)

    def _borrow(self, plan: Plan, received: torch.Tensor, kept: int) -> None:
        """Give the model's table the rows of a batch, as they have come, without the first `kept` weights."""
        table = self.table
        table.rows = np.zeros((len(plan.small.rows), table.num_weights), dtype=table.dtype)
        table.rows[plan.order, kept:] = _widened(received).numpy()

    def _sum_gradients(self, plan: Plan) -> torch.Tensor:
        """Return what the last ``backward`` left for the rows of the batch, (U, n) in the order of the wire."""
        summed = np.zeros_like(self.table.rows)
        batch, local, full = take_gradients(self.table)
        scatter(summed, batch, self.table.layout, local, full, num_threads())
        return torch.from_numpy(summed[plan.order])

    def _apply(self, lent: Batch, gradients: torch.Tensor, scale: float) -> bool:
        """Move the rows owned here by the gradients (L, n) for them; see `push`."""
        numbers = gradients.numpy()
        return self.optimizer.apply(lent, numbers, _no_full(numbers), scale)


def _to_wire(numbers: torch.Tensor, bfloat16: bool) -> torch.Tensor:
    return numbers.to(torch.bfloat16) if bfloat16 else numbers.contiguous()


def _widened(numbers: torch.Tensor) -> torch.Tensor:
    return numbers.to(torch.float32) if numbers.dtype == torch.bfloat16 else numbers


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


class Planning:
    """A plan in the making (`ShardedTable.plan`), driven on by `advance`."""

    def __init__(self, parts: Generator[None, None, Plan]) -> None:
        self._parts, self._plan = parts, None
        self.advance()

    def advance(self) -> None:
        """Do what can be done after the messages sent so far have come."""
        try:
            next(self._parts)
        except StopIteration as end:
            self._plan = end.value

    def finish(self) -> Plan:
        """Return the plan."""
        while self._plan is None:
            self.advance()
        return self._plan
