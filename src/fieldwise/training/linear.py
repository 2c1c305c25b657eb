"""The step of logistic regression: two kernels, and no autograd.

A step of a linear model is all memory traffic: its features' weights are read, and its features' rows are moved. What
torch does around that for a network costs more than the work itself
(docs/log/2026-11.md#what-does-autograd-cost-logistic-regression).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fieldwise.data.batches import ROOMS, Batches, prefetch
from fieldwise.data.cache import Examples, Unread
from fieldwise.kernels.decode import read_examples
from fieldwise.kernels.logistic import linear_errors
from fieldwise.kernels.threads import IDS_PER_THREAD, num_threads
from fieldwise.models.click import ClickModel
from fieldwise.optim.table import TableOptimizer
from fieldwise.training.guard import NotFinite
from fieldwise.training.step import Stepper

__all__ = ["LinearStepper", "make_stepper"]


class LinearStepper(Stepper):
    """As `Stepper`, for logistic regression with two classes: the same step, within rounding."""

    def __init__(
        self, model: ClickModel, table_optimizer: TableOptimizer, dense_optimizer: torch.optim.Optimizer | None
    ) -> None:
        super().__init__(model, table_optimizer, dense_optimizer)
        [self._number] = model.parameters()
        self._number.grad = torch.zeros_like(self._number)
        self._bias = self._number.detach().numpy()
        self._state_of: torch.Tensor | None = None
        self._state: dict[str, npt.NDArray[np.floating]] = {}
        self._errors = np.empty((0, 1), dtype=model.table.dtype)
        self._unread: Unread | None = None

    @contextmanager
    def reading(self, batches: Batches, epoch: int, start: int) -> Iterator[Iterator[Examples]]:
        """As `Stepper.reading`; a batch is filled by its step, or by another thread where steps leave it free."""
        ids = batches.batch_size * self.model.table.layout.num_fields
        if num_threads() > 1 and ids < 2 * IDS_PER_THREAD:
            with prefetch(batches.epoch(epoch, start, keep=ROOMS)) as read:
                yield read
            return
        with closing(batches.unread(epoch, start, keep=0)) as coming:
            try:
                yield self._each(coming)
            finally:
                self._unread = None

    def _each(self, batches: Iterator[Unread]) -> Iterator[Examples]:
        for self._unread in batches:
            yield self._unread.examples

    def step(self, examples: Examples, factor: float) -> float:
        """Learn from a batch; see `Stepper.step`."""
        assert examples.labels is not None, "training needs labels"
        unread, self._unread = self._unread, None
        reading = None if unread is None or unread.examples is not examples else unread.reading
        if reading is not None and examples.weights is not None:
            read_examples(reading)  # the sum of the weights comes first
            reading = None
        batch, table = examples.batch, self.model.table
        if len(self._errors) != batch.num_examples:
            self._errors = np.empty((batch.num_examples, 1), dtype=table.dtype)
        bias = float(self._bias[0])
        loss, slope = linear_errors(
            table.rows,
            batch,
            table.layout,
            bias,
            examples.labels,
            examples.weights,
            self._errors,
            reading,
        )
        if not math.isfinite(loss):
            raise NotFinite("the loss", loss)
        if not math.isfinite(slope):
            raise NotFinite("a gradient of the table", loss)
        if self.dense_optimizer:
            self._move_bias(self.dense_optimizer, slope, factor)
        if not self.table_optimizer.apply(batch, self._errors[:, :0], self._errors, factor):
            raise NotFinite("a weight of the table, or its optimizer's state,", loss)
        if not math.isfinite(self._bias[0]):
            raise NotFinite("a dense weight", loss)
        return loss

    def _move_bias(self, optimizer: torch.optim.Optimizer, slope: float, factor: float) -> None:
        """Take the step of torch's optimizer for the one number that it moves."""
        bias, group = self._number, optimizer.param_groups[0]
        group["lr"] = self._rates[0] * factor
        state: dict[str, torch.Tensor] = optimizer.state.get(bias, {})
        if not state:  # torch makes it
            assert bias.grad is not None
            bias.grad.fill_(slope)
            optimizer.step()
            return
        # Between the kernels torch's code has left the caches: its step takes 300 microseconds here, and 20 in a loop
        # of its own. So numbers are read and written through numpy.
        if self._state_of is not state["step"]:  # restored from a checkpoint, or made just now
            self._state_of = state["step"]
            self._state = {name: part.numpy().reshape(-1) for name, part in state.items()}
        before = {name: float(part[0]) for name, part in self._state.items()}
        moved = move_number(float(self._bias[0]), slope, before, group)
        for name, array in self._state.items():
            array[0] = moved[name]
        self._bias[0] = moved["number"]


def move_number(number: float, gradient: float, state: dict[str, float], group: dict[str, Any]) -> dict[str, float]:
    """Return the state and the ``number`` after a step of torch's Adam, AdamW or Adagrad without weight decay, which a
    bias never has (`optim.dense`); torch's plain SGD has no state and does not come here.

    Parameters
    ----------
    number, gradient
        What is moved, and by what.
    state
        As torch names it: ``step`` and ``exp_avg``, ``exp_avg_sq``; or ``step`` and ``sum``.
    group
        torch's settings: ``lr``, ``eps``, ``betas``.

    Examples
    --------
    >>> moved = move_number(1.0, 2.0, {"step": 1.0, "sum": 12.0}, {"lr": 0.1, "eps": 0.0})
    >>> moved["sum"], moved["number"]
    (16.0, 0.95)
    """
    step = state["step"] + 1.0
    if "sum" in state:
        total = state["sum"] + gradient * gradient
        return {
            "step": step,
            "sum": total,
            "number": number - group["lr"] * gradient / (math.sqrt(total) + group["eps"]),
        }
    beta1, beta2 = group["betas"]
    mean = state["exp_avg"] + (1.0 - beta1) * (gradient - state["exp_avg"])
    square = beta2 * state["exp_avg_sq"] + (1.0 - beta2) * gradient * gradient
    root = math.sqrt(square / (1.0 - beta2**step)) + group["eps"]
    return {
        "step": step,
        "exp_avg": mean,
        "exp_avg_sq": square,
        "number": number - group["lr"] / (1.0 - beta1**step) * mean / root,
    }


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
