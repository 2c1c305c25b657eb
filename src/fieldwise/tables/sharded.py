"""The parameter server: every worker owns a block of the table's rows, and borrows those that its batch touches.

::

    worker                                              owners
      batch -> its different rows (kernels.renumber)
      numbers of the rows            -- exchange -->    weights looked up
      a small table of their weights <-- exchange --
      forward, backward, sums, all on the small table
      gradients of its rows          -- exchange -->    summed in the order of the workers; each row moves once

Both the small table and what an owner holds are ordinary tables, `host` or `device`: the rows that an owner is asked
for are the examples of a batch of one field. Numbers of rows are messages of the hosts; weights and gradients go from
where they are, so from GPU to GPU where tables are on GPUs. Nothing here is proportional to D.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fieldwise.distributed.world import World
from fieldwise.kernels.layout import SINGLE, Batch, Layout
from fieldwise.kernels.renumber import Compact, compact
from fieldwise.kernels.table import initialise_numbered
from fieldwise.tables.config import TableOptimizerConfig
from fieldwise.tables.device import DeviceTable
from fieldwise.tables.host import HostTable
from fieldwise.tables.interface import Check, Int64s, Table, Ticket
from fieldwise.tables.local import LocalTable
from fieldwise.tables.optimizer import Floats, SparseOptimizer
from fieldwise.tables.shards import Part, Shards

__all__ = ["ShardedTable"]

_SLAB = 1 << 18


class _Routes(NamedTuple):
    """Which rows a batch needs, who owns them, and which rows others need from here.

    Attributes
    ----------
    small
        The batch over the table of its own rows.
    order
        (U,) the rows of the small table in the order of the messages: owner by owner.
    asked, served
        (W,) rows borrowed from each worker, and lent to each.
    lent
        (L,) the places, in the block owned here, of the rows lent.
    total
        Sum of the workers' amounts.
    """

    small: Compact
    order: Int64s
    asked: list[int]
    served: list[int]
    lent: Int64s
    total: float


class _ShardedTicket(Ticket):
    """A batch whose routes are found out; messages are on their way between one `advance` and the next."""

    def __init__(self, batch: Batch, amount: float, parts: Generator[None, None, _Routes]) -> None:
        super().__init__(batch, amount)
        self._parts = parts
        self._routes: _Routes | None = None
        self.advance()

    def advance(self) -> None:
        """Do what can be done after the messages sent so far have come."""
        if self._routes is None:
            try:
                next(self._parts)
            except StopIteration as end:
                self._routes = end.value

    @property
    def routes(self) -> _Routes:
        """The routes, all messages having come."""
        while self._routes is None:
            self.advance()
        return self._routes


class ShardedTable(Table):
    """A table whose rows are spread over workers.

    Parameters
    ----------
    layout, num_local, num_full, dtype
        As in `Table`.
    world
        Who owns the rows.
    device
        Where each worker keeps its rows; in memory unless given.
    spread_seed
        Of the order in which rows are spread. Blocks of a checkpoint are cut from it, so it is not the training's seed.
    num_frozen
        How many of the first weights of a row training neither reads nor moves: in a step they do not travel.
    comm_bfloat16
        Whether weights and gradients travel in 16 bits; rows are kept, and gradients added up, in the table's type.
    """

    lookahead = 1

    def __init__(
        self,
        layout: Layout,
        num_local: int,
        num_full: int,
        dtype: type[np.floating] = np.float32,
        *,
        world: World,
        device: torch.device | None = None,
        spread_seed: int = 0,
        num_frozen: int = 0,
        comm_bfloat16: bool = False,
    ) -> None:
        super().__init__(layout, num_local, num_full, dtype)
        self.world, self.num_frozen, self.comm_bfloat16 = world, num_frozen, comm_bfloat16
        self.shards = Shards(layout.num_features, world.size, spread_seed)
        self.places = self.shards.owned(world.rank)
        block = Layout.of([SINGLE], [len(self.places)])
        self.owned: LocalTable
        self.borrowed: LocalTable
        if device is None:
            self.owned = HostTable(block, self.num_weights, 0, dtype)
            self.borrowed = HostTable(layout, num_local, num_full, dtype)
        else:
            self.owned = DeviceTable(block, self.num_weights, 0, dtype, device)
            self.borrowed = DeviceTable(layout, num_local, num_full, dtype, device)
        self.has_logistic = self.borrowed.has_logistic
        self._pulled: _ShardedTicket | None = None

    def train_by(self, config: TableOptimizerConfig, batch_size: int = 1, seed: int = 0) -> ShardedTable:
        """Take memory for the rows owned here; `batch_size` is that of all workers. See `LocalTable.train_by`."""
        self.owned.train_by(config, batch_size, seed, self.shards.numbering(self.world.rank), self.layout.num_fields)
        return self

    @property
    def optimizer(self) -> SparseOptimizer:
        """What moves the rows owned here."""
        return self.owned.optimizer

    # --- a step ---

    def plan(self, batch: Batch, amount: float = 0.0) -> Ticket:
        """See `Table.plan`."""
        return _ShardedTicket(batch, amount, self._find_routes(batch, amount))

    def _find_routes(self, batch: Batch, amount: float) -> Generator[None, None, _Routes]:
        """Find out who owns the rows of a batch: yields twice, while messages are on their way."""
        world = self.world
        small = compact(batch, self.layout)
        places = self.shards.places(small.rows)
        owners = places // self.shards.block
        order = np.argsort(owners, kind="stable")
        asked = np.bincount(owners, minlength=world.size).astype(np.int64)
        message = np.stack([asked, np.full(world.size, amount, dtype=np.float64).view(np.int64)], axis=1)
        ones = [1] * world.size
        counts = world.send(torch.from_numpy(message), ones, ones, "counts")
        yield
        answers = counts().numpy()
        served = answers[:, 0].tolist()
        # Below 2^31 rows an owner: torch has no collectives for uint32.
        wanted = (places[order] % self.shards.block).astype(np.int64 if self.shards.block >> 31 else np.int32)
        rows = world.send(torch.from_numpy(wanted), asked.tolist(), served, "rows")
        yield
        lent = rows().numpy().astype(np.int64)
        traffic = world.traffic
        traffic.ids += batch.ids.size + len(batch.bag_ids)
        traffic.rows_asked += len(wanted)
        traffic.rows_served += len(lent)
        total = float(answers[:, 1].copy().view(np.float64).sum())
        return _Routes(small, order, asked.tolist(), served, lent, total)

    def pull(self, ticket: Ticket) -> float:
        """See `Table.pull`: what a step reads of the rows comes here."""
        assert isinstance(ticket, _ShardedTicket), "a ticket of another table"
        self._borrow(ticket.routes, self.num_frozen, self.comm_bfloat16)
        self.borrowed.records.clear()
        self._pulled = ticket
        return ticket.routes.total

    def _borrow(self, routes: _Routes, num_frozen: int, bfloat16: bool) -> None:
        weights = _rounded(self.owned.lend(routes.lent)[:, num_frozen:], bfloat16)
        received = self.world.send(weights, routes.served, routes.asked, "weights")()
        widened = received.to(torch.float32) if received.dtype == torch.bfloat16 else received
        self.borrowed.hold(routes.small.layout, routes.order, widened, num_frozen)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """See `Table.forward`: of a batch that was not pulled all weights come here, as exact as they are."""
        outputs: tuple[Tensor, Tensor]
        if self._pulled is not None and self._pulled.batch is batch:
            outputs = self.borrowed(self._pulled.routes.small.batch)
            return outputs
        if self.training and torch.is_grad_enabled():
            raise RuntimeError("a batch that is learnt from must be pulled before")
        ticket = _ShardedTicket(batch, 0.0, self._find_routes(batch, 0.0))
        self._borrow(ticket.routes, 0, False)
        outputs = self.borrowed(ticket.routes.small.batch)
        self.borrowed.release()
        return outputs

    def gradients(self) -> list[Tensor]:
        """See `Table.gradients`."""
        return self.borrowed.gradients()

    def logistic(
        self,
        batch: Batch,
        bias: float,
        labels: npt.NDArray[np.int32],
        weights: npt.NDArray[np.float32] | None,
        total: float,
    ) -> tuple[float, float, npt.NDArray[np.floating[Any]]]:
        """See `Table.logistic`."""
        assert self._pulled is not None
        assert self._pulled.batch is batch, "the batch was not pulled"
        return self.borrowed.logistic(self._pulled.routes.small.batch, bias, labels, weights, total)

    def push(self) -> Callable[[float], Check]:
        """See `Table.push`."""
        if self._pulled is None:
            raise RuntimeError("there was no forward pass in training mode since the last step")
        routes, self._pulled = self._pulled.routes, None
        summed = self.borrowed.sum_gradients()
        self.borrowed.release()
        sent = _rounded(summed[torch.from_numpy(routes.order).to(summed.device), self.num_frozen :], self.comm_bfloat16)
        received = self.world.send(sent, routes.asked, routes.served, "gradients")

        def move(factor: float) -> Check:
            gradients = received().to(summed.dtype)
            if self.num_frozen:
                gradients = torch.cat((gradients.new_zeros(len(gradients), self.num_frozen), gradients), dim=1)
            return self.owned.move_rows(routes.lent, gradients, factor)

        return move

    # --- rows ---

    @property
    def rows(self) -> npt.NDArray[Any]:
        """The rows owned here; see `Table.rows`."""
        return self.owned.rows

    @property
    def num_rows(self) -> int:
        """How many rows are owned here."""
        return len(self.places)

    @property
    def part(self) -> Part | None:
        """The block owned here."""
        return Part(self.shards, self.places)

    def read(self, first: int, last: int) -> npt.NDArray[Any]:
        """See `Table.read`."""
        return self.owned.read(first, last)

    def write(self, first: int, stored: npt.NDArray[Any]) -> None:
        """See `Table.write`."""
        self.owned.write(first, stored)

    def pick(self, rows: Int64s) -> tuple[Int64s, npt.NDArray[Any]]:
        """See `Table.pick`."""
        places = self.shards.places(rows)
        here = np.flatnonzero((places >= self.places.start) & (places < self.places.stop))
        return here, self.owned.pick(places[here] - self.places.start)[1]

    def put(self, row: int, stored: npt.NDArray[Any]) -> None:
        """See `Table.put`."""
        place = int(self.shards.places(np.array([row], dtype=np.int64))[0])
        if place in self.places:
            self.owned.put(place - self.places.start, stored)

    def draw(self, seed: int) -> None:
        """See `Table.draw`."""
        num_units, scale = self.drawn
        for first, rows in self._numbered():
            part = self.owned.read(first, first + len(rows))
            initialise_numbered(part, 0, num_units, scale, seed, rows)
            self.owned.write(first, part)
        self.owned.derive_state()

    def start(self, unit: int, weights: Floats) -> None:
        """See `Table.start`: every worker has the weights of all rows, and takes those that it owns."""
        self.owned.start(unit, weights[self.shards.rows(np.arange(self.places.start, self.places.stop))])

    def load(self, weights: npt.NDArray[Any]) -> None:
        """See `Table.load`."""
        for first, rows in self._numbered():
            self.owned.write(first, weights[rows])

    def _numbered(self) -> Iterator[tuple[int, Int64s]]:
        """Yield pieces of the rows owned here: the first of them, and which rows of the whole table they are."""
        for first in range(0, len(self.places), _SLAB):
            yield first, self.shards.rows(np.array(self.places[first : first + _SLAB], dtype=np.int64))

    def stream(self, piece_rows: int) -> Iterator[npt.NDArray[Any]]:
        """See `Table.stream`; a worker holds no more than one piece, and the rows of it that it owns."""
        world, first_worker, stored = self.world, self.world.rank == 0, self.owned.read(0, 0).dtype
        for first in range(0, self.layout.num_features, piece_rows):
            rows = np.arange(first, min(first + piece_rows, self.layout.num_features), dtype=np.int64)
            owners = self.shards.places(rows) // self.shards.block
            _, own = self.pick(rows)
            received = np.bincount(owners, minlength=world.size).tolist() if first_worker else [0] * world.size
            # As bytes: torch has no collectives for the 16 bits of a stored bfloat16.
            plain = torch.from_numpy(np.ascontiguousarray(own).view(np.uint8))
            parts = world.send(plain, [len(own)] + [0] * (world.size - 1), received, "bundle")().numpy()
            if first_worker:
                piece = np.empty_like(parts)
                piece[np.argsort(owners, kind="stable")] = parts
                yield piece.view(stored)


def _rounded(numbers: Tensor, bfloat16: bool) -> Tensor:
    return numbers.to(torch.bfloat16) if bfloat16 else numbers.contiguous()
