"""What a table is to a model and to a step, wherever its rows lie.

A table has a row of weights, and of the optimizer's state, for each of D features; the equations are in
`kernels.table`. A model calls it as its first layer and does not know where the rows are; a step does, with
`Examples` x_t and x_t+1 that follow each other::

    ticket = table.plan(x_t+1)       while x_t is worked on: what can be known of a batch beforehand
    ticket.advance()                 messages and copies go on beside the arithmetic of x_t
    table.pull(ticket)               the rows of the batch are at hand
    local, full = table(batch)       forward
    ...backward()                    leaves the gradients of `local` and `full`
    move = table.push()              gradients are on their way to where the rows are
    check = move(factor)             each row has moved once, by the sum of its gradients

`host` keeps rows in memory and `device` on a GPU; `sharded` spreads them over workers, each part being one of those
two. Letters: B examples, F fields, D features, K locally connected units per field, W fully connected units, n = K + W.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fieldwise.kernels.layout import Batch, Layout
from fieldwise.kernels.storage import decode_weights
from fieldwise.tables.optimizer import Floats, SparseOptimizer
from fieldwise.tables.shards import Part

__all__ = ["Check", "ForwardRecord", "Int64s", "Table", "Ticket"]

Int64s = npt.NDArray[np.int64]
Check = float | Tensor
"""0, or NaN where a number that was written is not finite; on a device it need not be known yet."""

_SMALL = 0.01


class Ticket:
    """A batch that will be learned from, and what could be done for it before its turn.

    Parameters
    ----------
    batch
        The batch that the model will call the table with.
    amount
        A number of this worker; `Table.pull` returns the sum over all workers.
    """

    def __init__(self, batch: Batch, amount: float) -> None:
        self.batch, self.amount = batch, amount

    def advance(self) -> None:
        """Do what can be done by now, without waiting long."""


class ForwardRecord(NamedTuple):
    """One forward pass in training: what moves the rows that it touched; `placed` is the batch as it is on a device."""

    batch: Batch
    local: Tensor
    full: Tensor
    placed: Any = None

    def gradients(self) -> tuple[Tensor, Tensor]:
        """Return the gradients (B, F K) and (B, W) of the two outputs; zero for one that ``backward`` did not reach."""
        local, full = (
            torch.zeros_like(part) if part.grad is None else part.grad.contiguous() for part in (self.local, self.full)
        )
        return local, full


class Table(nn.Module, ABC):
    """A row of n = K + W weights for each of D features: the layer that sees the encoded example.

    The weights are no torch parameters: a step touches the rows of its batch only, so they have an optimizer of their
    own (`optimizer.SparseOptimizer`), whose state lies beside them.

    Parameters
    ----------
    layout
        Fields, and the rows of each.
    num_local
        K >= 0, units per field. K = 1 is the paper's locally connected layer.
    num_full
        W >= 0, units that see all fields.
    dtype
        Of what comes out, and of the arithmetic: float32, or float64 for checking.

    Attributes
    ----------
    lookahead
        How many batches ahead `plan` is to be called: 1 where there is something to do meanwhile.
    leaves_cores
        Whether a step leaves the processor's cores free, so that batches are read beside it.
    has_logistic
        Whether `logistic` can be called.
    records
        The forward passes in training since the last `push`.
    """

    lookahead = 0
    leaves_cores = False
    has_logistic = False

    def __init__(self, layout: Layout, num_local: int, num_full: int, dtype: type[np.floating] = np.float32) -> None:
        super().__init__()
        if num_local < 0 or num_full < 0 or num_local + num_full == 0:
            raise ValueError(f"num_local (={num_local}) and num_full (={num_full}) must be >= 0, one of them > 0")
        self.layout, self.num_local, self.num_full, self.dtype = layout, num_local, num_full, np.dtype(dtype)
        self.records: list[ForwardRecord] = []

    @property
    def num_weights(self) -> int:
        """The weights of one row, n = K + W."""
        return self.num_local + self.num_full

    @property
    def num_parameters(self) -> int:
        """The weights of all rows, D n."""
        return self.layout.num_features * self.num_weights

    @property
    def drawn(self) -> tuple[int, float]:
        """How many units `draw` draws, the first ones, and from which [-scale, scale].

        Locally connected weights are small, because what Adagrad adds to them is of the size of its learning rate: what
        was learnt soon outweighs what was drawn (docs/log/2026-11/initial-model.md); wide weights beside them stay
        zero. A first layer that is fully connected alone is drawn as torch draws a linear layer whose inputs are the F
        that are not zero.
        """
        if self.num_local:
            return self.num_local, _SMALL
        return self.num_full, 1.0 / math.sqrt(self.layout.num_fields)

    @property
    @abstractmethod
    def optimizer(self) -> SparseOptimizer:
        """What moves the rows that are kept here."""

    # --- a step ---

    def plan(self, batch: Batch, amount: float = 0.0) -> Ticket:
        """Start to fetch what a batch needs; every worker must call it for the same batches in the same order."""
        return Ticket(batch, amount)

    def pull(self, ticket: Ticket) -> float:
        """Wait for the rows of a batch, and return the sum of the workers' amounts."""
        self.records.clear()
        return ticket.amount

    @abstractmethod
    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return ``local`` (B, F K), sums of rows for each field, and ``full`` (B, W), sums of rows over all fields.

        In training mode the batch must have been pulled, and the pass is remembered as a `ForwardRecord`. In evaluation
        any batch will do; with several workers, all must call it.
        """

    def gradients(self) -> list[Tensor]:
        """Return the gradients of the outputs that ``backward`` has left, for every pass since the last `push`."""
        return [part.grad for record in self.records for part in (record.local, record.full) if part.grad is not None]

    @abstractmethod
    def push(self) -> Callable[[float], Check]:
        """Start to send the gradients of the last ``backward`` to where their rows are.

        Returns
        -------
        Callable[[float], Check]
            ``move(factor)`` moves every row that the batch touches once, by the sum of its gradients, at `factor` times
            the learning rate. It returns 0, or NaN where a number that was written is not finite. Its cost follows the
            batch: nothing is proportional to D.

        Raises
        ------
        RuntimeError
            There was no forward pass in training mode since the last push.
        """

    def logistic(
        self,
        batch: Batch,
        bias: float,
        labels: npt.NDArray[np.int32],
        weights: npt.NDArray[np.float32] | None,
        total: float,
    ) -> tuple[float, float, npt.NDArray[np.floating[Any]]]:
        """Return the loss of logistic regression over a pulled batch, its derivative by the bias, and the logits (B, 1)
        without the bias, and keep the gradients for `push`: forward and backward in one pass over the ids, for K = 0,
        W = 1 (`kernels.logistic`).
        """
        raise NotImplementedError(f"{type(self).__name__} has no fused logistic regression")

    # --- rows ---

    @property
    @abstractmethod
    def rows(self) -> npt.NDArray[Any]:
        """The rows that are kept here (D, columns), weights and state as they are stored: what a checkpoint holds."""

    @property
    def weights(self) -> npt.NDArray[Any]:
        """The weights of all rows that are kept here, as stored (`kernels.storage.decode_weights` makes numbers of
        them); in memory, a view.
        """
        return self.read(0, self.num_rows)

    @property
    def num_rows(self) -> int:
        """The number of rows that are kept here."""
        return self.layout.num_features

    @property
    @abstractmethod
    def part(self) -> Part | None:
        """Which rows of the whole table are kept here; None where all are."""

    @abstractmethod
    def read(self, first: int, last: int) -> npt.NDArray[Any]:
        """Return the weights of rows `first` to `last` of those kept here, as stored; `write` changes them."""

    @abstractmethod
    def write(self, first: int, stored: npt.NDArray[Any]) -> None:
        """Set the first columns of the rows kept here from `first` on: their weights, or all that they hold."""

    @abstractmethod
    def pick(self, rows: Int64s) -> tuple[Int64s, npt.NDArray[Any]]:
        """Return, of some rows of the whole table, which are kept here, and a copy of their weights as stored."""

    @abstractmethod
    def put(self, row: int, stored: npt.NDArray[Any]) -> None:
        """Set the weights (n,) of a row of the whole table, where it is kept here."""

    @abstractmethod
    def draw(self, seed: int) -> None:
        """Initialise the weights at random (`drawn`), and the optimizer's state for them.

        A weight depends only on the seed, its row and its unit, wherever the row is kept.
        """

    def derive_state(self) -> None:
        """Set the optimizer's state to that which belongs to the weights of the rows kept here."""
        if self.optimizer.config.name == "ftrl":
            for unit in range(self.num_weights):
                self.start(unit, decode_weights(self.read(0, self.layout.num_features)[:, unit : unit + 1])[:, 0])

    @abstractmethod
    def start(self, unit: int, weights: Floats) -> None:
        """Set the weights (D,) of one unit, and the optimizer's state that belongs to them."""

    @abstractmethod
    def load(self, weights: npt.NDArray[Any]) -> None:
        """Set the weights (D, n) of all rows, as stored; the optimizer's state stays."""

    @abstractmethod
    def stream(self, piece_rows: int) -> Iterator[npt.NDArray[Any]]:
        """Yield the weights of all rows as they are stored, `piece_rows` at a time, in order, on worker 0.

        The other workers get nothing, but must iterate to the end too.
        """
