"""Stacking: models that are trained side by side, and how much each counts, as validation rows say.

Members that have seen their training rows in different ways are sure of themselves by different degrees, and only rows
that none of them has seen can tell how much each is to be believed (stacked generalisation, Wolpert 1992). A stack is
``model.kind`` with ``+`` between its members, as in ``lc-dnn+bayesian-fm``; results have the metrics of each member
alone beside those of the stack.

Letters: B examples, H heads of all members together, O outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fieldwise.calibration import sigmoid

__all__ = ["Stacker"]

_STEPS, _CLOSE = 50, 1e-9
_PRIOR = 10.0
"""The weights are held where they begin as if by so many examples, whose logits are of size 1."""


class Stacker(nn.Module):
    """``logit = offset + sum over h of weight[h] logit_h``: the mean of all heads until it is fitted.

    There are H + 1 numbers to fit, so a few hundred rows do.

    Parameters
    ----------
    num_heads
        H: one for each member, but for those that have several (`models.member`).

    Attributes
    ----------
    weight
        (H + 1,): the offset, then a weight for each head. A buffer: no step of training moves it.

    Examples
    --------
    >>> Stacker(2)(torch.tensor([[[1.0], [3.0]]])).tolist()
    [[2.0]]
    """

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.weight: Tensor
        self.register_buffer("weight", torch.empty(num_heads + 1))
        self.reset()

    def reset(self) -> None:
        """Let it be the mean."""
        self.weight.fill_(1.0 / self.num_heads)
        self.weight[0] = 0.0

    def forward(self, heads: Tensor) -> Tensor:
        """Return (B, O) from the heads' logits (B, H, O)."""
        return self.weight[0] + (heads * self.weight[1:, None]).sum(dim=1)

    def fit(
        self,
        heads: npt.NDArray[np.floating[Any]],
        labels: npt.NDArray[np.integer[Any]],
        weights: npt.NDArray[np.floating[Any]] | None = None,
    ) -> None:
        """Fit the numbers to labels by logistic regression (Newton's method), starting from the mean.

        Parameters
        ----------
        heads
            (B, H) logits.
        labels
            (B,) 0 and 1; with one of them alone, nothing is fitted.
        weights
            (B,), of the examples; 1 each unless given.
        """
        self.reset()
        if not len(labels) or labels.min() == labels.max():
            return
        start = self.weight.cpu().numpy().astype(np.float64)
        x = np.concatenate((np.ones((len(heads), 1)), heads.astype(np.float64)), axis=1)

        def cost(weight: npt.NDArray[np.float64]) -> float:
            z = (x * weight).sum(axis=1)
            return float(
                (count * (np.logaddexp(0.0, z) - labels * z)).sum() + 0.5 * _PRIOR * ((weight - start) ** 2).sum()
            )

        count = np.ones(len(labels)) if weights is None else weights.astype(np.float64)
        fitted, best = start.copy(), cost(start)
        # Sums, and no matrix products: their last bits depend on the number of threads.
        for _ in range(_STEPS):
            probability = sigmoid((x * fitted).sum(axis=1))
            slope = (x * (count * (labels - probability))[:, None]).sum(axis=0) - _PRIOR * (fitted - start)
            bend = (x * (count * probability * (1.0 - probability))[:, None]).T
            curve = np.array([[(one * other).sum() for other in x.T] for one in bend]) + _PRIOR * np.eye(len(start))
            move = np.linalg.solve(curve, slope)
            while (now := cost(fitted + move)) > best and np.abs(move).max() > _CLOSE:
                move *= 0.5
            if now >= best:
                break
            fitted, best = fitted + move, now
        if np.isfinite(fitted).all():
            self.weight.copy_(torch.from_numpy(fitted))
