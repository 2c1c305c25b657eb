"""The optimizer of a table, as data: ``[train.table]`` of a configuration file."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from fieldwise.kernels import optimizers as kernels
from fieldwise.kernels.storage import columns

__all__ = ["TableOptimizerConfig"]


class TableOptimizerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The optimizer of the rows of a table: its rule, rates and penalties.

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
        small, where logistic regression would overfit their examples and mislead the network that starts from
        it (docs/log/2026-11/initial-model.md#how-should-the-initial-logistic-regression-be-trained).
    l1
        >= 0, FTRL only, in examples as its l2.
    epsilon
        > 0, in the denominator of Adagrad and Adam. Unless given, 1 / batch size for Adagrad: the gradient of one
        example, so that a feature seen once does not move by the whole rate. For Adam 1e-8, and .1 / batch size in
        the training of a model with fitted interactions on 100,000 examples or more (`training.make.with_epsilon`).
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
