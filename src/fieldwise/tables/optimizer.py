"""The rules that move the rows of a table, with their rates and the number of steps taken: one place for all tables.

What a rule does to a row is in `kernels.optimizers`, for the processor, and in `torch_ops.operations`, for devices.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.kernels import optimizers as kernels
from fieldwise.kernels.numbering import WHOLE, Numbering
from fieldwise.kernels.storage import columns, encode_weights, step_key
from fieldwise.tables.config import TableOptimizerConfig

__all__ = ["Floats", "Rule", "SparseOptimizer"]

Floats = npt.NDArray[np.floating]


class Rule(NamedTuple):
    """One of the rules of `kernels.optimizers`, with the settings of a step.

    Attributes
    ----------
    name
        ``adagrad``, ``rowwise-adagrad``, ``adam`` or ``ftrl``.
    settings
        What the kernel of this name takes, in its order: learning rate, epsilon, l2; for Adam also the two decay
        rates and the number of the step; for FTRL alpha, beta, l1, l2.
    key
        Of the step, for storage that rounds.
    numbering
        Which rows of the whole table the rows here are; their weights are rounded by bits that depend on it.
    """

    name: str
    settings: tuple[float, ...]
    key: int
    numbering: Numbering = WHOLE


class SparseOptimizer:
    """The optimizer of the rows of a table: its rule, its rates, and the number of steps taken.

    Parameters
    ----------
    config
        The rule and its rates.
    num_fields
        F, on which the rate depends where it is not given.
    batch_size
        B: gradients are means over so many examples, while FTRL's beta, l1 and l2 are in examples.
    seed
        Of the rounding of bfloat16 weights.
    numbering
        Which rows of a whole table those of this one are, where it is a part; rounding goes by them.
    """

    def __init__(
        self,
        config: TableOptimizerConfig,
        num_fields: int,
        batch_size: int = 1,
        seed: int = 0,
        numbering: Numbering = WHOLE,
    ) -> None:
        self.config, self.batch_size, self.seed, self.numbering = config, batch_size, seed, numbering
        self.num_steps = 0
        self.rate = config.rate(num_fields)

    def columns(self, num_weights: int, dtype: np.dtype[Any]) -> tuple[int, np.dtype[Any]]:
        """Return the number of columns of a row, weights and state, and the type in which they are stored."""
        bfloat16 = self.config.storage == "bfloat16"
        count = columns(num_weights, kernels.NUM_STATES[self.config.name](num_weights), bfloat16)
        return count, np.dtype(np.uint16) if bfloat16 else dtype

    def next_rule(self, factor: float) -> Rule:
        """Return the rule of the next step, at a multiple of the learning rate."""
        self.num_steps += 1
        config, size = self.config, self.batch_size
        rate, l2, epsilon = self.rate * factor, config.penalty, config.epsilon
        if config.name == "ftrl":
            settings: tuple[float, ...] = (rate, config.beta / size, config.l1 / size, l2 / size)
        else:
            if epsilon is None:
                epsilon = 1e-8 if config.name == "adam" else 1.0 / size
            moments = (*config.betas, self.num_steps) if config.name == "adam" else ()
            settings = (rate, epsilon, l2, *moments)
        return Rule(config.name, settings, step_key(self.seed, self.num_steps), self.numbering)

    def start(self, part: npt.NDArray[Any], num_weights: int, unit: int, weights: Floats) -> None:
        """Set the weights of one unit, and the state that belongs to them, in some rows as they are stored.

        FTRL derives a weight from its state, so z is set to what gives this weight: the closed form turned round,
        with s as it is.
        """
        config = self.config
        encode_weights(part, unit, weights)
        if config.name == "ftrl":
            sums = _state(part, num_weights, num_weights + unit)
            shrink: float | Floats = config.beta / self.rate + config.penalty
            if sums.any():
                shrink = shrink + self.batch_size / self.rate * np.sqrt(sums)
            z = -(weights * shrink + np.sign(weights) * config.l1) / self.batch_size
            _set_state(part, num_weights, unit, z)

    def seed_sums(self, part: npt.NDArray[Any], num_weights: int, sums: Floats) -> None:
        """Set the sums of squared gradients of all units to those (R,) that steps would have left, in R rows as they
        are stored: of Adagrad and FTRL, which go by them from the first step on.
        """
        first = {"adagrad": 0, "rowwise-adagrad": 0, "ftrl": num_weights}.get(self.config.name)
        if first is not None:
            for number in range(1 if self.config.name == "rowwise-adagrad" else num_weights):
                _set_state(part, num_weights, first + number, sums)


def _state(part: npt.NDArray[Any], num_weights: int, number: int) -> Floats:
    """Return one number of the state of R rows as they are stored, (R,)."""
    if part.dtype != np.uint16:
        column: Floats = part[:, num_weights + number]
        return column
    at = num_weights + 2 * number
    return np.ascontiguousarray(part[:, at : at + 2]).view("<f4")[:, 0]


def _set_state(part: npt.NDArray[Any], num_weights: int, number: int, values: Floats) -> None:
    if part.dtype != np.uint16:
        part[:, num_weights + number] = values
        return
    at = num_weights + 2 * number
    part[:, at : at + 2] = np.ascontiguousarray(values, dtype="<f4").view("<u2").reshape(-1, 2)
