"""Units of mean 0 and variance 1, whatever the scale that they come in."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Standardise"]


class Standardise(nn.BatchNorm1d):
    """Give every unit mean 0 and variance 1 over the batch in training, over the data seen so far afterwards.

    ``y = (x - mean) / sqrt(variance + 1e-5)``, without a learnt scale and shift: the matrix that follows has both. It
    lets units of any scale (LR's weights beside random ones, frequent fields beside rare ones) start as equals;
    without it wide locally connected layers stall at LR's level
    (docs/log/2026-11/accuracy.md#what-is-each-part-worth-on-movielens-1m). Ioffe and Szegedy 2015.

    With g the gradient of y, the gradient of x is ``(g - mean(g) - y mean(g y)) / sqrt(variance + 1e-5)``, means over
    the batch. `nn.units` computes both from sums; `forward` is torch's own, for evaluation and for other devices.
    """

    def __init__(self, num_inputs: int) -> None:
        super().__init__(num_inputs, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        """Standardise x (B, num_inputs)."""
        # One example has no variance: it is standardised by what was seen before, as in evaluation.
        if self.training and len(x) < 2:
            return functional.batch_norm(x, self.running_mean, self.running_var, eps=self.eps)
        standardised: Tensor = super().forward(x)
        return standardised

    def measured(self, sums: Tensor, num_examples: int) -> tuple[Tensor, Tensor, float]:
        """Take a batch of training into the statistics.

        Parameters
        ----------
        sums
            (2, num_inputs) float64: those of x, and of x squared.
        num_examples
            B.

        Returns
        -------
        Its mean and ``1 / sqrt(variance + 1e-5)`` (num_inputs,), and over how many examples the gradient takes means:
        B; infinitely many, so that they are 0, where B is less than 2 and what was seen before took its place.
        """
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        whole = self.over_all(torch.cat([sums, torch.full((1, self.num_features), float(num_examples)).double()]))
        count = float(whole[2, 0])
        if count < 2:
            return self.running_mean.clone(), (self.running_var + self.eps).rsqrt(), math.inf
        mean = whole[0] / count
        variance = (whole[1] / count - mean * mean).clamp_min(0.0)
        self.num_batches_tracked += 1
        self.running_mean += self.momentum * (mean - self.running_mean)
        self.running_var += self.momentum * (variance * (count / (count - 1)) - self.running_var)
        dtype = self.running_mean.dtype
        return mean.to(dtype), (variance + self.eps).rsqrt().to(dtype), count

    def over_all(self, sums: Tensor) -> Tensor:
        """Return sums over the examples of a batch, of those given; here they are over all of them."""
        return sums
