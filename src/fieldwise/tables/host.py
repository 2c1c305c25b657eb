"""A table in memory: numba kernels over numpy arrays."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fieldwise.io.memory import require_memory
from fieldwise.kernels import optimizers
from fieldwise.kernels.gradients import scatter
from fieldwise.kernels.layout import Batch, Layout, join
from fieldwise.kernels.logistic import linear_errors
from fieldwise.kernels.storage import num_weights
from fieldwise.kernels.table import gather, initialise
from fieldwise.kernels.threads import IDS_PER_THREAD, num_threads, run_each
from fieldwise.kernels.work import Work, WorkItems, most_ids, new_work, split_fields
from fieldwise.tables.interface import ForwardRecord, Int64s
from fieldwise.tables.local import LocalTable
from fieldwise.tables.optimizer import Floats

__all__ = ["HostTable"]

_SLAB = 1 << 20
_RULES: dict[str, Callable[..., float]] = {
    "adagrad": optimizers.adagrad,
    "rowwise-adagrad": optimizers.rowwise_adagrad,
    "adam": optimizers.adam,
    "ftrl": optimizers.ftrl,
}


class HostTable(LocalTable):
    """A table whose rows are an array in memory.

    It has no rows until `train_by` allocates them, weights and state together, or `serve` gives it those of a saved
    model, which may be a read-only memory map. Rows of uint16 hold bfloat16 weights (`kernels.storage`).

    Parameters
    ----------
    layout, num_local, num_full, dtype
        As in `Table`.
    """

    has_logistic = True

    def __init__(self, layout: Layout, num_local: int, num_full: int, dtype: type[np.floating] = np.float32) -> None:
        super().__init__(layout, num_local, num_full, dtype)
        self._rows: npt.NDArray[Any] = np.zeros((0, self.num_weights), dtype=dtype)
        self._admit: Callable[[Batch], None] | None = None
        self._outputs = (torch.empty(0), torch.empty(0))
        self._errors = np.empty((0, 1), dtype=dtype)
        self._given: list[tuple[Batch, Floats, Floats]] = []
        self._works: list[Work] = []
        self._room = -1
        self._work_items: tuple[int, WorkItems] = (0, split_fields(layout, 1))
        self._tickets = np.zeros(1, dtype=np.int64)

    def _allocate(self, columns: int, stored: np.dtype[Any], what: str) -> None:
        # The system hands out zeros when a page is first touched, so this costs nothing in proportion to D.
        require_memory(
            self.layout.num_features * columns * stored.itemsize,
            what,
            "use a locally connected model, fewer units or features (min_count, buckets), more memory, or (in "
            "train.table) name = rowwise-adagrad and storage = bfloat16",
        )
        self._rows = np.zeros((self.layout.num_features, columns), dtype=stored)

    def serve(self, weights: npt.NDArray[Any], admit: Callable[[Batch], None] | None = None) -> None:
        """Use `weights` (D, n) for inference, without a copy where the type is right or has fewer bits.

        `admit` is called with every batch before its rows are read.
        """
        if (len(weights), num_weights(weights)) != (self.layout.num_features, self.num_weights):
            raise ValueError(
                f"weights of shape {weights.shape} for a table of {(self.layout.num_features, self.num_weights)}"
            )
        self._rows = np.asarray(weights, dtype=self.dtype) if weights.dtype.kind == "f" else weights
        self._admit = admit

    # --- a step ---

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """See `Table.forward`. The memory of the outputs is used again by the first pass after the next `push`."""
        if self._admit is not None:
            self._admit(batch)
        num_examples = batch.num_examples
        shapes = (num_examples, self.layout.num_fields * self.num_local), (num_examples, self.num_full)
        remembers = self.training and torch.is_grad_enabled()
        dtype = torch.float64 if self.dtype == np.float64 else torch.float32
        if remembers and not self.records:
            if (self._outputs[0].shape, self._outputs[1].shape, self._outputs[0].dtype) != (*shapes, dtype):
                self._outputs = torch.empty(shapes[0], dtype=dtype), torch.empty(shapes[1], dtype=dtype)
            # Tensors of their own over the same memory: those of the last step may be in a graph.
            local, full = (torch.from_numpy(part.numpy()) for part in self._outputs)
        else:
            local, full = torch.empty(shapes[0], dtype=dtype), torch.empty(shapes[1], dtype=dtype)
        gather(self._rows, batch, self.layout, local.numpy(), full.numpy())
        if remembers:
            local.requires_grad_(self.num_local > 0)
            full.requires_grad_(self.num_full > 0)
            self.records.append(ForwardRecord(batch, local, full))
        return local, full

    def logistic(
        self,
        batch: Batch,
        bias: float,
        labels: npt.NDArray[np.int32],
        weights: npt.NDArray[np.float32] | None,
        total: float,
    ) -> tuple[float, float, Floats]:
        """See `Table.logistic`."""
        if len(self._errors) != batch.num_examples:
            self._errors = np.empty((batch.num_examples, 1), dtype=self.dtype)
        self._given[:] = [(batch, self._errors[:, :0], self._errors)]
        return linear_errors(self._rows, batch, self.layout, bias, labels, weights, total, self._errors)

    def push(self) -> Callable[[float], float]:
        """See `Table.push`."""
        batch, local, full = self._take_gradients()
        return lambda factor: self.move(batch, local, full, factor)

    def move(self, batch: Batch, local: Floats, full: Floats, factor: float = 1.0) -> float:
        """Move the rows of a batch, given the gradients ``local`` (B, F K) and ``full`` (B, W) of its outputs.

        Costs two passes over the ids of the batch and one over its different rows.
        """
        rule = self.optimizer.next_rule(factor)
        num_ids = batch.ids.size + len(batch.bag_ids)
        # The number of threads changes no bit, so a small batch may do with one.
        threads = max(min(num_threads(), num_ids * (1 + self.num_weights // 16) // IDS_PER_THREAD), 1)
        room = most_ids(batch)
        if room > self._room:
            self._room, self._works = room, []
        while len(self._works) < threads:
            self._works.append(new_work(self._room, self.layout, self.num_weights, self.dtype))
        if self._work_items[0] != threads:
            self._work_items = threads, split_fields(self.layout, threads)
        self._tickets[0] = 0
        key = np.uint64(rule.key)
        common = (self._rows, batch, self.layout, local, full, self._work_items[1], self._tickets)
        checks = run_each(
            _RULES[rule.name],
            [(*common, work, key, rule.numbering, *rule.settings) for work in self._works[:threads]],
        )
        return sum(checks)

    def _take_gradients(self) -> tuple[Batch, Floats, Floats]:
        """Return the batch of the passes since the last push, and the gradients of its outputs."""
        if self._given:
            return self._given.pop()
        records = self.records.copy()
        self.records.clear()
        if not records:
            raise RuntimeError("there was no forward pass in training mode since the last step")
        local, full = zip(*(map(Tensor.numpy, record.gradients()) for record in records), strict=True)
        if len(records) == 1:
            return records[0].batch, local[0], full[0]
        # The rows move once, by the sum of all passes.
        return join([record.batch for record in records]), np.concatenate(local), np.concatenate(full)

    # --- rows ---

    @property
    def rows(self) -> npt.NDArray[Any]:
        """The rows themselves; see `Table.rows`."""
        return self._rows

    def read(self, first: int, last: int) -> npt.NDArray[Any]:
        """See `Table.read`; a view."""
        return self._rows[first:last, : self.num_weights]

    def write(self, first: int, stored: npt.NDArray[Any]) -> None:
        """See `Table.write`."""
        self._rows[first : first + len(stored), : stored.shape[1]] = stored

    def pick(self, rows: Int64s) -> tuple[Int64s, npt.NDArray[Any]]:
        """See `Table.pick`."""
        return np.arange(len(rows)), self.weights[rows]

    def put(self, row: int, stored: npt.NDArray[Any]) -> None:
        """See `Table.put`."""
        self.weights[row] = stored

    def draw(self, seed: int) -> None:
        """See `Table.draw`."""
        num_units, scale = self.drawn
        cuts = [len(self._rows) * part // num_threads() for part in range(num_threads() + 1)]
        run_each(
            initialise, [(self.weights[begin:end], 0, num_units, scale, seed, begin) for begin, end in pairwise(cuts)]
        )
        self.derive_state()

    def start(self, unit: int, weights: Floats) -> None:
        """See `Table.start`."""
        for first in range(0, len(self._rows), _SLAB):
            part = self._rows[first : first + _SLAB]
            self.optimizer.start(part, self.num_weights, unit, weights[first : first + _SLAB])

    # --- a part of a table ---

    def hold(self, layout: Layout, order: Int64s, weights: Tensor, num_frozen: int) -> None:
        """See `Table.hold`."""
        self.layout = layout
        self._rows = np.zeros((len(order), self.num_weights), dtype=self.dtype)
        self._rows[order, num_frozen:] = weights.numpy()

    def release(self) -> None:
        """See `Table.release`."""
        self._rows = np.empty((0, self.num_weights), dtype=self.dtype)

    def sum_gradients(self) -> Tensor:
        """See `Table.sum_gradients`."""
        summed = np.zeros_like(self._rows)
        batch, local, full = self._take_gradients()
        scatter(summed, batch, self.layout, local, full, num_threads())
        return torch.from_numpy(summed)

    def lend(self, places: Int64s) -> Tensor:
        """See `Table.lend`."""
        weights = np.empty((len(places), self.num_weights), dtype=self.dtype)
        gather(self._rows, _as_batch(places), self.layout, weights, weights[:, :0])
        return torch.from_numpy(weights)

    def move_rows(self, places: Int64s, gradients: Tensor, factor: float) -> float:
        """See `Table.move_rows`."""
        numbers: Floats = gradients.numpy()
        return self.move(_as_batch(places), numbers, np.empty((len(numbers), 0), dtype=numbers.dtype), factor)


def _as_batch(rows: Int64s) -> Batch:
    """Return the batch in which example b has the feature ``rows[b]`` of the only field."""
    if len(rows) and rows.max() >> 32:
        raise ValueError("a worker owns 2^32 rows or more: use more workers")
    return Batch(
        rows.astype(np.uint32)[np.newaxis],
        np.empty((0, len(rows)), dtype=np.float32),
        np.empty((0, len(rows) + 1), dtype=np.int64),
        np.empty(0, dtype=np.uint32),
        np.empty(0, dtype=np.float32),
    )
