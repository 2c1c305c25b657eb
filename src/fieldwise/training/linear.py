"""The step of logistic regression: three kernels, and no autograd.

A step of a linear model is all memory traffic: its features' weights are read, and its features' rows are moved. What
torch does around that for a network costs more than the work itself (docs/experiments.md).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch

from fieldwise.data.cache import Examples
from fieldwise.kernels.logistic import logistic_errors
from fieldwise.kernels.table import gather
from fieldwise.models.click import ClickModel
from fieldwise.optim.table import TableOptimizer
from fieldwise.training.guard import NotFinite
from fieldwise.training.step import Stepper

__all__ = ["LinearStepper", "make_stepper"]

_ALL_ONE = np.empty(0, dtype=np.float32)


class LinearStepper(Stepper):
    """As `Stepper`, for logistic regression with two classes: the same step, within rounding."""

    def __init__(
        self, model: ClickModel, table_optimizer: TableOptimizer, dense_optimizer: torch.optim.Optimizer | None
    ) -> None:
        super().__init__(model, table_optimizer, dense_optimizer)
        model.bias.grad = torch.zeros_like(model.bias)
        self._sums = self._errors = self._none = np.empty((0, 0), dtype=model.table.dtype)

    def step(self, examples: Examples, factor: float) -> float:
        """Learn from a batch; see `Stepper.step`."""
        assert examples.labels is not None, "training needs labels"
        batch, table, bias = examples.batch, self.model.table, self.model.bias
        self._make_room(batch.num_examples)
        gather(table.rows, batch, table.layout, self._none, self._sums)
        weights = _ALL_ONE if examples.weights is None else examples.weights
        loss, slope = logistic_errors(self._sums, float(bias.item()), examples.labels, weights, self._errors)
        if not math.isfinite(loss):
            raise NotFinite("the loss", loss)
        if not math.isfinite(slope):
            raise NotFinite("a gradient of the table", loss)
        if self.dense_optimizer:
            assert bias.grad is not None
            bias.grad.fill_(slope)
            for group, rate in zip(self.dense_optimizer.param_groups, self._rates, strict=True):
                group["lr"] = rate * factor
            self.dense_optimizer.step()
        if not self.table_optimizer.apply(batch, self._none, self._errors, factor):
            raise NotFinite("a weight of the table, or its optimizer's state,", loss)
        if not math.isfinite(bias.item()):
            raise NotFinite("a dense weight", loss)
        return loss

    def _make_room(self, num_examples: int) -> None:
        if len(self._sums) != num_examples:

            def room(width: int) -> npt.NDArray[np.floating]:
                return np.empty((num_examples, width), dtype=self.model.table.dtype)

            self._sums, self._errors, self._none = room(1), room(1), room(0)


def make_stepper(
    model: ClickModel,
    table_optimizer: TableOptimizer,
    dense_optimizer: torch.optim.Optimizer | None,
    bfloat16: bool = False,
) -> Stepper:
    """Return what moves a model fastest."""
    if model.config.kind == "lr" and model.num_outputs == 1:
        return LinearStepper(model, table_optimizer, dense_optimizer)
    return Stepper(model, table_optimizer, dense_optimizer, bfloat16)
