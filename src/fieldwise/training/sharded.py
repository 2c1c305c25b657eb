"""One step of several workers: each its share of the batch, together the step of one process."""

from __future__ import annotations

import math

import torch

from fieldwise.data.cache import Examples
from fieldwise.distributed.standardise import SharedStandardise
from fieldwise.distributed.table import ShardedTable
from fieldwise.models.click import ClickModel
from fieldwise.training.guard import NotFinite, all_finite
from fieldwise.training.loss import logloss, weighted_mean
from fieldwise.training.step import Stepper

__all__ = ["ShardedStepper", "share_statistics"]


class ShardedStepper(Stepper):
    """A model whose table is sharded, and what moves it.

    With S the sum of the weights (the number of examples where there are none) of the global batch, a worker's loss is
    ``sum over its examples of weight loss / S``: losses and gradients of the workers add up to those of one process.

    Parameters
    ----------
    model
        After `share_statistics`; its dense weights are the same on all workers.
    sharded
        Of the model's table.
    dense_optimizer, bfloat16
        As in `Stepper`.
    seed
        Of dropout, which is drawn anew for each step and worker.
    """

    def __init__(
        self,
        model: ClickModel,
        sharded: ShardedTable,
        dense_optimizer: torch.optim.Optimizer | None,
        bfloat16: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(model, sharded.optimizer, dense_optimizer, bfloat16)
        self.sharded, self.seed = sharded, seed
        self._table_finite = True

    def step(self, examples: Examples, factor: float) -> float:
        """Learn from this worker's share of a batch, which may be empty; return the loss of the whole batch.

        Raises
        ------
        NotFinite
            As `Stepper.step`, on all workers at once; a weight of the table that is not finite is found one step later.
        """
        assert examples.labels is not None, "training needs labels"
        workers, weights = self.sharded.workers, examples.weights
        torch.manual_seed((self.seed << 40) + (self.table_optimizer.num_steps * workers.size + workers.rank))
        amount = float(examples.batch.num_examples if weights is None else weights.sum(dtype=float))
        loan = self.sharded.pull(examples.batch, amount)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            logits = self.model.members(loan.batch)
        share = amount / loan.total if loan.total else 0.0
        loss = self._share_of_loss(logits, examples, share)
        penalised = loss
        if self.model.penalty is not None and share:
            penalised = (
                loss + weighted_mean(self.model.penalty, None if weights is None else torch.from_numpy(weights)) * share
            )
        penalised.backward()  # type: ignore[no-untyped-call]
        value = self._sum_dense(loss)
        if self.dense_optimizer:
            for group, rate in zip(self.dense_optimizer.param_groups, self._rates, strict=True):
                group["lr"] = rate * factor
            self.dense_optimizer.step()
            self.dense_optimizer.zero_grad()
        self._table_finite = self.sharded.push(loan, factor)
        if not all_finite(self._dense):
            raise NotFinite("a dense weight", value)
        return value

    def _share_of_loss(self, logits: torch.Tensor, examples: Examples, share: float) -> torch.Tensor:
        if not share:  # the mean over no examples is not a number; every worker must go backward all the same
            return logits.sum() * 0.0
        weights = None if examples.weights is None else torch.from_numpy(examples.weights)
        return logloss(logits, torch.from_numpy(examples.labels), weights) * share

    def _sum_dense(self, loss: torch.Tensor) -> float:
        """Add up gradients and losses in one message, which also says whether a worker has found what is not finite."""
        of_table = [part.grad for visit in self.model.table.visits for part in visit[1:] if part.grad is not None]
        parameters = self._parameters
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flags = torch.tensor([float(not all_finite(of_table)), float(not self._table_finite)], dtype=loss.dtype)
        message = torch.cat([loss.detach().view(1), flags, *(gradient.reshape(-1) for gradient in gradients)])
        self.sharded.workers.add(message)
        value = float(message[0])
        for wrong, what in (
            (not math.isfinite(value), "the loss"),
            (float(message[1]) > 0, "a gradient of the table"),
            (float(message[2]) > 0, "a weight of the table, or its optimizer's state,"),
            (not all_finite([message[3:]]), "a gradient of the dense weights"),
        ):
            if wrong:
                raise NotFinite(what, value)
        parts = torch.split(message[3:], [parameter.numel() for parameter in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter).clone()
        return value


def share_statistics(model: ClickModel, sharded: ShardedTable) -> None:
    """Let a model standardise its units over the global batch."""
    if model.standardise is not None:
        shared = SharedStandardise(model.table.layout.num_fields * model.table.num_local, sharded.workers)
        model.standardise = shared.to(model.bias.dtype)
