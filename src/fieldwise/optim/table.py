"""The optimizers of a table: one fused update of the rows that a batch touched, whatever D is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from msgspec import Meta
from torch import Tensor

from fieldwise.kernels import optimizers as kernels
from fieldwise.kernels.gradients import Shares, Work, most_ids, new_work, split_fields
from fieldwise.kernels.layout import Batch, join
from fieldwise.kernels.storage import columns, decode_weights, encode_weights, step_key
from fieldwise.kernels.threads import num_threads, run_each
from fieldwise.nn.table import Table

__all__ = ["TableOptimizer", "TableOptimizerConfig", "take_gradients"]

Floats = npt.NDArray[np.floating]

_SLAB = 1 << 20
_RULES: dict[str, Callable[..., float]] = {
    "adagrad": kernels.adagrad,
    "rowwise-adagrad": kernels.rowwise_adagrad,
    "adam": kernels.adam,
    "ftrl": kernels.ftrl,
}
_IDS_PER_THREAD = 16_384
"""Fewer are not worth waking a thread for, which takes some 30 microseconds."""


class TableOptimizerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which rule moves the rows of a table, and how fast.

    Attributes
    ----------
    name
        ``adagrad``, ``rowwise-adagrad`` (one state per row), ``adam`` (lazy: rows of the batch only) or ``ftrl``.
    learning_rate
        > 0; FTRL's alpha. Unless given, .03 / sqrt(F) for Adam, .6 / sqrt(F) for the others: F weights that move by the
        rate with random signs move a logit by the rate times sqrt(F).
    l2
        >= 0. Adagrad and Adam: the rows of a batch follow gradient + l2 weight. FTRL: a prior on every weight, as
        strong as l2 examples, however often the feature occurs; 20 unless given. Weights of rare features then stay
        small, where logistic regression would learn their examples by heart and mislead the network that starts from
        it (docs/experiments.md).
    l1
        >= 0, FTRL only, in examples as its l2.
    epsilon
        > 0, in the denominator of Adagrad and Adam. Unless given, 1e-8 for Adam, and 1 / batch size for Adagrad: the
        gradient of one example, so that a feature seen once does not move by the whole rate.
    beta
        FTRL's beta, > 0, in examples as its l2.
    betas
        Adam's two decay rates.
    storage
        ``float32``, or ``bfloat16`` for weights with stochastic rounding, in training and in the saved model: half the
        memory of the weights. The optimizer's state stays float32.
    """

    name: Literal["adagrad", "rowwise-adagrad", "adam", "ftrl"] = "adam"
    learning_rate: Annotated[float, Meta(gt=0)] | None = None
    l1: Annotated[float, Meta(ge=0)] = 0.0
    l2: Annotated[float, Meta(ge=0)] | None = None
    epsilon: Annotated[float, Meta(gt=0)] | None = None
    beta: Annotated[float, Meta(gt=0)] = 1.0
    betas: tuple[float, float] = (0.9, 0.999)
    storage: Literal["float32", "bfloat16"] = "float32"

    def rate(self, num_fields: int) -> float:
        """Return the learning rate for F fields."""
        if self.learning_rate is not None:
            return self.learning_rate
        return (0.03 if self.name == "adam" else 0.6) / math.sqrt(max(num_fields, 1))

    @property
    def penalty(self) -> float:
        """The L2 penalty, given or not."""
        return self.l2 if self.l2 is not None else 20.0 if self.name == "ftrl" else 0.0

    def bytes_per_row(self, num_weights: int, itemsize: int = 4) -> int:
        """Return the bytes of a row of n weights in training, weights and state; nothing else grows with D.

        Examples
        --------
        >>> TableOptimizerConfig(name="adagrad").bytes_per_row(1)
        8
        >>> TableOptimizerConfig(name="rowwise-adagrad", storage="bfloat16").bytes_per_row(2)
        8
        """
        bfloat16 = self.storage == "bfloat16"
        count = columns(num_weights, kernels.NUM_STATES[self.name](num_weights), bfloat16)
        return count * (2 if bfloat16 else itemsize)


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
    """

    def __init__(self, table: Table, config: TableOptimizerConfig, batch_size: int = 1, seed: int = 0) -> None:
        self.table = table
        self.config = config
        self.batch_size = batch_size
        self.seed = seed
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
        threads = max(min(num_threads(), num_ids * (1 + table.num_weights // 16) // _IDS_PER_THREAD), 1)
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
        checks = run_each(_RULES[self.config.name], [(*common, work, key, *settings) for work in self._works[:threads]])
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
