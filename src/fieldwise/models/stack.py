"""Stacking: models that are trained side by side, and how much each counts, as validation rows say.

Members that have seen their training rows in different ways are sure of themselves by different degrees, and only rows
that none of them has seen can tell how much each is to be believed (stacked generalisation, Wolpert 1992). A stack is
``model.kind`` with ``+`` between its members, as in ``lc-dnn+bayesian-fm``; results have the metrics of each member
alone beside those of the stack.

Letters: B examples, H heads of all members together, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fieldwise.calibration import sigmoid

__all__ = ["Stacker"]

_STEPS, _CLOSE = 50, 1e-9
_PRIORS = (10.0, 100.0, 1000.0)
"""The weights are held where they begin as if by so many examples, whose logits are of size 1."""
_FOLDS, _FOLDS_SEED = 5, 0

Floats = npt.NDArray[np.float64]


class Stacker(nn.Module):
    """``logit = offset + sum over h of weight[h] logit_h``: the mean of all heads until it is fitted.

    There are H + 1 numbers to fit, so a few hundred rows do. A fit is judged on rows that it has not seen: each of five
    parts, drawn at random, is answered by a fit to the others. So it is decided how strongly the weights are held at
    the mean; and where a member alone has a lower loss on these rows, by more than one standard error of the
    difference, it is that member.

    Parameters
    ----------
    heads
        How many heads each member has (`models.member`); H is their sum.

    Attributes
    ----------
    weight
        (H + 1,): the offset, then a weight for each head. A buffer: no step of training moves it.

    Examples
    --------
    >>> Stacker([1, 1])(torch.tensor([[[1.0], [3.0]]])).tolist()
    [[2.0]]
    """

    def __init__(self, heads: Sequence[int]) -> None:
        super().__init__()
        self.heads, self.num_heads = tuple(heads), sum(heads)
        self.weight: Tensor
        self.register_buffer("weight", torch.empty(self.num_heads + 1))
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
        offset: float = 0.0,
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
        offset
            What is added to the stack's logits afterwards (``train.negative_rate``).
        """
        self.reset()
        if not len(labels) or labels.min() == labels.max():
            return
        mean = self.weight.cpu().numpy().astype(np.float64)
        mean[0] += offset
        x = np.concatenate((np.ones((len(heads), 1)), heads.astype(np.float64)), axis=1)
        count = np.ones(len(labels)) if weights is None else weights.astype(np.float64)
        tried = []
        for prior in _PRIORS:
            whole = _fitted(x, labels, count, mean, mean, prior)
            tried.append((whole, _held_out(x, labels, count, mean, whole, prior)))
        fitted, losses = min(tried, key=lambda each: (count * each[1]).sum())
        if len(self.heads) > 1:
            members = self._members(offset)
            alone = [_losses(x, labels, member) for member in members]
            number = int(np.argmin([(count * each).sum() for each in alone]))
            if _is_lower(alone[number], losses, count):
                fitted = members[number]
        fitted[0] -= offset
        if np.isfinite(fitted).all():
            self.weight.copy_(torch.from_numpy(fitted))

    def _members(self, offset: float) -> list[Floats]:
        """Return the numbers (H + 1,) that make each member count alone, by the mean of its heads, after an offset."""
        found, begin = [], 1
        for heads in self.heads:
            found.append(np.zeros(self.num_heads + 1))
            found[-1][0] = offset
            found[-1][begin : begin + heads] = 1.0 / heads
            begin += heads
        return found


def _losses(x: Floats, labels: npt.NDArray[np.integer[Any]], numbers: Floats) -> Floats:
    """Return the logloss (B,) of each row."""
    z = (x * numbers).sum(axis=1)
    lost: Floats = np.logaddexp(0.0, z) - labels * z
    return lost


def _is_lower(losses: Floats, others: Floats, count: Floats) -> bool:
    """Whether the mean of losses is lower than that of others on the same rows, by more than one standard error."""
    gains, total = others - losses, count.sum()
    mean = (count * gains).sum() / total
    return bool(mean > np.sqrt(((count * (gains - mean)) ** 2).sum()) / total)


def _held_out(
    x: Floats, labels: npt.NDArray[np.integer[Any]], count: Floats, mean: Floats, whole: Floats, prior: float
) -> Floats:
    """Return the logloss (B,) of each row by a fit to the rows of the other folds, from the fit to all on."""
    # Not in the order of the rows: in a log of one click and four candidates that were passed over, again and again,
    # every fifth row is a click.
    fold = np.random.default_rng(_FOLDS_SEED).permutation(len(labels)) % _FOLDS
    losses = np.empty(len(labels))
    for number in range(_FOLDS):
        here = fold == number
        fitted = _fitted(x[~here], labels[~here], count[~here], mean, whole, prior)
        losses[here] = _losses(x[here], labels[here], fitted)
    return losses


def _fitted(
    x: Floats, labels: npt.NDArray[np.integer[Any]], count: Floats, mean: Floats, start: Floats, prior: float
) -> Floats:
    """Return the numbers (H + 1,) that minimise ``sum of count loss + prior / 2 |numbers - mean|^2``."""

    def cost(numbers: Floats) -> float:
        return float((count * _losses(x, labels, numbers)).sum() + 0.5 * prior * ((numbers - mean) ** 2).sum())

    fitted, best = start.copy(), cost(start)
    # Sums, and no matrix products: their last bits depend on the number of threads.
    for _ in range(_STEPS):
        probability = sigmoid((x * fitted).sum(axis=1))
        slope = (x * (count * (labels - probability))[:, None]).sum(axis=0) - prior * (fitted - mean)
        bend = (x * (count * probability * (1.0 - probability))[:, None]).T
        curve = np.array([[(one * other).sum() for other in x.T] for one in bend]) + prior * np.eye(len(start))
        move = np.linalg.solve(curve, slope)
        while (now := cost(fitted + move)) > best and np.abs(move).max() > _CLOSE:
            move *= 0.5
        if now >= best:
            break
        fitted, best = fitted + move, now
    return fitted
