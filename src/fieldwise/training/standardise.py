"""Mean and variance of the units over the global batch, whichever worker its examples are on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fieldwise.distributed.world import World
from fieldwise.nn.standardise import Standardise

__all__ = ["SharedStandardise", "share_statistics"]


def share_statistics(model: nn.Module, world: World) -> None:
    """Let a model standardise its units over the global batch, whichever workers there are."""
    if world.size == 1:
        return
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is Standardise:
                shared = SharedStandardise(child.num_features, world)
                setattr(module, name, shared.to(child.running_mean).train(child.training))


class SharedStandardise(Standardise):
    """`nn.standardise.Standardise` over the examples of all workers; the names of its statistics are the same.

    (torch.nn.SyncBatchNorm runs on GPUs only, and refuses a worker without examples.)
    """

    def __init__(self, num_inputs: int, world: World) -> None:
        super().__init__(num_inputs)
        self.world = world

    def over_all(self, sums: Tensor) -> Tensor:
        """Return sums over the examples of all workers, of those over the examples of each."""
        self.world.add(sums, "statistics")()
        return sums

    def forward(self, x: Tensor) -> Tensor:
        """Standardise x (B of this worker, num_inputs)."""
        if not self.training:
            return super().forward(x)
        y, count, mean, variance = _Normalise.apply(x, self.eps, self.world)  # type: ignore[no-untyped-call]
        num_examples = int(count)
        if num_examples < 2:
            # On all workers alike: one that went backward through y would wait for the others' sums for ever.
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean += self.momentum * (mean - self.running_mean)
            unbiased = variance * (num_examples / (num_examples - 1))
            self.running_var += self.momentum * (unbiased - self.running_var)
        standardised: Tensor = y
        return standardised


class _Normalise(torch.autograd.Function):
    """``y = (x - mean) / sqrt(variance + eps)`` and its gradient, with sums over all workers."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float, world: World) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        num = len(x)
        own_mean = x.mean(dim=0) if num else x.new_zeros(x.shape[1])
        own_spread = ((x - own_mean) ** 2).sum(dim=0)
        parts = world.collect(
            torch.stack([torch.full_like(own_mean, num), own_mean, own_spread]).double(), "statistics"
        )
        # The parallel form of Chan, Golub and LeVeque 1979: no difference of large sums.
        counts, means, spreads = parts[:, 0], parts[:, 1], parts[:, 2]
        count = counts.sum(dim=0).clamp_min(1)
        mean = (counts * means).sum(dim=0) / count
        variance = (spreads + counts * (means - mean) ** 2).sum(dim=0) / count
        scale = (1 / torch.sqrt(variance + eps)).to(x.dtype)
        y = (x - mean.to(x.dtype)) * scale
        ctx.save_for_backward(y, scale)
        ctx.world, ctx.count = world, float(count[0])
        others = (counts.sum(dim=0)[0], mean.to(x.dtype), variance.to(x.dtype))
        ctx.mark_non_differentiable(*others)
        return y, *others

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        y, scale = ctx.saved_tensors
        g = gradients[0]
        sums = torch.stack([g.sum(dim=0), (g * y).sum(dim=0)])
        ctx.world.add(sums, "statistics")()
        return scale * (g - sums[0] / ctx.count - y * (sums[1] / ctx.count)), None, None
