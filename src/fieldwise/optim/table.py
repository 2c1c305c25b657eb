"""The optimizers of a table: one fused update of the rows that a batch touched, whatever D is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fieldwise.kernels import optimizers as kernels
from fieldwise.kernels.gradients import Shares, Work, most_ids, new_work, split_fields
from fieldwise.kernels.layout import Batch, join
from fieldwise.kernels.numbering import WHOLE, Numbering
from fieldwise.kernels.storage import decode_weights, encode_weights, step_key
from fieldwise.kernels.threads import IDS_PER_THREAD, num_threads, run_each
from fieldwise.nn.table import Table
from fieldwise.optim.config import TableOptimizerConfig

__all__ = ["TableOptimizer", "take_gradients"]

Floats = npt.NDArray[np.floating]

_SLAB = 1 << 20
_RULES: dict[str, Callable[..., float]] = {
    "adagrad": kernels.adagrad,
    "rowwise-adagrad": kernels.rowwise_adagrad,
    "adam": kernels.adam,
    "ftrl": kernels.ftrl,
}


class TableOptimizer:
    """Moves the rows of one table.

    Taking a table allocates its memory, so make the optimizer first and set the weights (`start`) then.

    Parameters
    ----------
    table
        The table; its weights are zero afterwards.
    config
        The rule and its rates.
    batch_size
        B: gradients are means over so many examples, while FTRL's beta, l1 and l2 are in examples.
    seed
        Of the rounding of bfloat16 weights.
    numbering
        Which rows of a whole table those of this one are, where it is a part; rounding goes by them.
    """

    def __init__(
        self,
        table: Table,
        config: TableOptimizerConfig,
        batch_size: int = 1,
        seed: int = 0,
        numbering: Numbering = WHOLE,
    ) -> None:
        self.table = table
        self.config = config
        self.batch_size = batch_size
        self.seed = seed
        self.numbering = numbering
        self.num_steps = 0
        self.rate = config.rate(table.layout.num_fields)
        stored = np.dtype(np.uint16) if config.storage == "bfloat16" else table.dtype
        table.allocate(config.bytes_per_row(table.num_weights, table.dtype.itemsize) // stored.itemsize, stored)
        self._works: list[Work] = []
        self._room = -1
        self._shares: tuple[int, Shares] = (0, split_fields(table.layout, 1))
        self._tickets = np.zeros(1, dtype=np.int64)

    def start(self, unit: int, weights: Floats) -> None:
        """Set the weights (D,) of one unit, and the state that belongs to them.

        FTRL derives a weight from its state, so z is set to what gives this weight: the closed form turned round,
        with s = 0.
        """
        rows = self.table.rows
        for first in range(0, len(rows), _SLAB):
            self._start(rows[first : first + _SLAB], unit, weights[first : first + _SLAB])

    def _start(self, part: npt.NDArray[Any], unit: int, given: Floats) -> None:
        """Set the weights of one unit, and their state, in some rows as they are stored."""
        n, config = self.table.num_weights, self.config
        encode_weights(part, unit, given)
        if config.name == "ftrl":
            shrink = config.beta / self.rate + config.penalty
            z = -(given * shrink + np.sign(given) * config.l1) / self.batch_size
            if part.dtype == np.uint16:
                at = n + 2 * unit
                part[:, at : at + 2] = np.ascontiguousarray(z, dtype="<f4").view("<u2").reshape(-1, 2)
            else:
                part[:, n + unit] = z

    def draw(self, seed: int) -> None:
        """Draw the weights at random (`Table.draw`), with the state that belongs to them."""
        self.table.draw(seed)
        self.derive_state()

    def derive_state(self) -> None:
        """Give the optimizer the state that belongs to the weights that the table has."""
        if self.config.name == "ftrl":
            for unit in range(self.table.num_weights):
                self.start(unit, decode_weights(self.table.weights[:, unit : unit + 1])[:, 0])

    def step(self, scale: float = 1.0) -> bool:
        """Act once on the gradients of the last ``backward``, at `scale` times the learning rate.

        Costs two passes over the ids of the batch and one over its different rows; nothing in it is proportional to D.

        Returns
        -------
        bool
            Whether all weights and states that were written are finite.
        """
        return self.apply(*take_gradients(self.table), scale)

    def apply(self, batch: Batch, local: Floats, full: Floats, scale: float = 1.0) -> bool:
        """As `step`, given the gradients ``local`` (B, F K) and ``full`` (B, W) of a batch's outputs."""
        self.num_steps += 1
        return self._visit(batch, local, full, *self.settings(scale))

    def settings(self, scale: float) -> tuple[float, ...]:
        """Return what the rule's kernel takes in this step (`kernels.optimizers`)."""
        config, size = self.config, self.batch_size
        rate, l2, epsilon = self.rate * scale, config.penalty, config.epsilon
        if config.name == "ftrl":
            return (rate, config.beta / size, config.l1 / size, l2 / size)
        if epsilon is None:
            epsilon = 1e-8 if config.name == "adam" else 1.0 / size
        moments = (*config.betas, self.num_steps) if config.name == "adam" else ()
        return (rate, epsilon, l2, *moments)

    @property
    def key(self) -> int:
        """That of the step, for storage that rounds."""
        return step_key(self.seed, self.num_steps)

    def _visit(self, batch: Batch, local: Floats, full: Floats, *settings: float) -> bool:
        """Let every thread take shares of the batch, and move their rows by the rule."""
        table = self.table
        num_ids = batch.ids.size + len(batch.bag_ids)
        # The number of threads changes no bit, so a small batch may do with one.
        threads = max(min(num_threads(), num_ids * (1 + table.num_weights // 16) // IDS_PER_THREAD), 1)
        room = most_ids(batch)
        if room > self._room:
            self._room, self._works = room, []
        while len(self._works) < threads:
            self._works.append(new_work(self._room, table.layout, table.num_weights, table.dtype))
        if self._shares[0] != threads:
            self._shares = threads, split_fields(table.layout, threads)
        self._tickets[0] = 0
        key = np.uint64(self.key)
        common = (table.rows, batch, table.layout, local, full, self._shares[1], self._tickets)
        checks = run_each(
            _RULES[self.config.name],
            [(*common, work, key, self.numbering, *settings) for work in self._works[:threads]],
        )
        return not any(math.isnan(check) for check in checks)


def take_gradients(table: Table) -> tuple[Batch, Floats, Floats]:
    """Return the batch of the last passes through a table, and what ``backward`` left for its outputs."""
    visits, table.visits = table.visits, []
    if not visits:
        raise RuntimeError("there was no forward pass in training mode since the last step")
    local = [_gradient(visit.local) for visit in visits]
    full = [_gradient(visit.full) for visit in visits]
    if len(visits) == 1:
        return visits[0].batch, local[0], full[0]
    # The optimizer acts once on the sum of all passes.
    return join([visit.batch for visit in visits]), np.concatenate(local), np.concatenate(full)


def _gradient(output: Tensor) -> Floats:
    """Return what ``backward`` left for an output; zero where it did not reach it."""
    gradient: Floats = (torch.zeros_like(output) if output.grad is None else output.grad).cpu().numpy()
    return np.ascontiguousarray(gradient)
