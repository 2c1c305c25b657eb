"""The optimizers of a table: one fused update of the rows that a batch touched, whatever D is."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from msgspec import Meta
from torch import Tensor

from fieldwise.kernels import optimizers as kernels
from fieldwise.kernels.table import scatter, split_fields
from fieldwise.kernels.threads import num_threads, run_each
from fieldwise.nn.table import Table, Visit

__all__ = ["TableOptimizer", "TableOptimizerConfig", "collect_gradients"]

Floats = npt.NDArray[np.floating]


class TableOptimizerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which rule moves the rows of a table, and how fast.

    Attributes
    ----------
    name
        ``adagrad``, ``rowwise-adagrad`` (one state per row), ``adam`` (lazy: rows of the batch only) or ``ftrl``.
    learning_rate
        > 0; FTRL's alpha. Unless given, .01 for Adam, and .6 / sqrt(F) for the others: F weights that move by the
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
    """

    name: Literal["adagrad", "rowwise-adagrad", "adam", "ftrl"] = "adam"
    learning_rate: Annotated[float, Meta(gt=0)] | None = None
    l1: Annotated[float, Meta(ge=0)] = 0.0
    l2: Annotated[float, Meta(ge=0)] | None = None
    epsilon: Annotated[float, Meta(gt=0)] | None = None
    beta: Annotated[float, Meta(gt=0)] = 1.0
    betas: tuple[float, float] = (0.9, 0.999)

    def rate(self, num_fields: int) -> float:
        """Return the learning rate for F fields."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 1e-2 if self.name == "adam" else 0.6 / math.sqrt(max(num_fields, 1))

    @property
    def penalty(self) -> float:
        """The L2 penalty, given or not."""
        return self.l2 if self.l2 is not None else 20.0 if self.name == "ftrl" else 0.0

    def columns(self, num_weights: int) -> int:
        """Return how many numbers a row of n weights takes: weights, gradient slots and state."""
        state = {"adagrad": num_weights, "rowwise-adagrad": 1, "adam": 2 * num_weights, "ftrl": 2 * num_weights}
        return 2 * num_weights + state[self.name]


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
    """

    def __init__(self, table: Table, config: TableOptimizerConfig, batch_size: int = 1) -> None:
        self.table = table
        self.config = config
        self.batch_size = batch_size
        self.num_steps = 0
        self.rate = config.rate(table.layout.num_fields)
        table.allocate(config.columns(table.num_weights))

    def start(self, unit: int, weights: Floats) -> None:
        """Set the weights (D,) of one unit, and the state that belongs to them.

        FTRL derives a weight from its state, so z is set to what gives this weight: the closed form turned round,
        with s = 0.
        """
        n, config = self.table.num_weights, self.config
        self.table.rows[:, unit] = weights
        if config.name == "ftrl":
            shrink = config.beta / self.rate + config.penalty
            self.table.rows[:, 2 * n + unit] = -(weights * shrink + np.sign(weights) * config.l1) / self.batch_size

    def draw(self, seed: int) -> None:
        """Draw the weights at random (`Table.draw`), with the state that belongs to them."""
        self.table.draw(seed)
        if self.config.name == "ftrl":
            for unit in range(self.table.num_weights):
                self.start(unit, self.table.weights[:, unit])

    def step(self, scale: float = 1.0) -> bool:
        """Act once on the gradients of the last ``backward``, at `scale` times the learning rate.

        Costs two passes over the ids of the batch; nothing in it is proportional to D.

        Returns
        -------
        bool
            Whether all weights and states that were written are finite.
        """
        table, config = self.table, self.config
        n = table.num_weights
        shares = split_fields(table.layout, num_threads())
        # Every visit of a step is scattered before the first row moves: the optimizer acts on the sum.
        visits = collect_gradients(table, shares)
        self.num_steps += 1
        rate, size, l2 = self.rate * scale, self.batch_size, config.penalty
        epsilon = config.epsilon
        if epsilon is None:
            epsilon = 1e-8 if config.name == "adam" else 1.0 / size
        checks: list[float] = []
        for batch, _, _ in visits:
            common = [(table.rows, n, batch, table.layout, fields) for fields in shares]
            match config.name:
                case "adagrad":
                    checks += run_each(kernels.adagrad, [(*c, rate, epsilon, l2) for c in common])
                case "rowwise-adagrad":
                    checks += run_each(kernels.rowwise_adagrad, [(*c, rate, epsilon, l2) for c in common])
                case "adam":
                    tail = (rate, epsilon, l2, *config.betas, self.num_steps)
                    checks += run_each(kernels.adam, [(*c, *tail) for c in common])
                case "ftrl":
                    ftrl_tail = (rate, config.beta / size, config.l1 / size, l2 / size)
                    checks += run_each(kernels.ftrl, [(*c, *ftrl_tail) for c in common])
        return not any(math.isnan(check) for check in checks)


def collect_gradients(table: Table, shares: list[npt.NDArray[np.int64]]) -> list[Visit]:
    """Add the gradients of the last ``backward`` to the gradient slots of their rows, and return the visits."""
    visits, table.visits = table.visits, []
    for batch, local, full in visits:
        scatter(table.rows, batch, table.layout, table.num_local, _gradient(local), _gradient(full), shares)
    return visits


def _gradient(output: Tensor) -> Floats:
    """Return what ``backward`` left for an output; zero where it did not reach it."""
    gradient: Floats = (torch.zeros_like(output) if output.grad is None else output.grad).numpy()
    return gradient
