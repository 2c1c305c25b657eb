"""Stacking: models that are trained side by side, and how much each counts, as validation rows say.

Members that have seen their training rows in different ways are sure of themselves by different degrees, and only rows
that none of them has seen can tell how much each is to be believed (stacked generalisation, Wolpert 1992). A stack is
``model.kind`` with ``+`` between its members, as in ``lc-dnn+bayesian-fm``; results have the metrics of each member
alone beside those of the stack.

Letters: B examples, H heads of all members together, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

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
_NOISE = 3.0
"""Standard errors within which base rates are one."""

Floats = npt.NDArray[np.float64]


class Stacker(nn.Module):
    """``logit = level + shift + sum over h of weight[h] (logit_h - level)``: the mean of all heads until it is fitted.

    The `level` is the log-odds of the training rows' base rate, about which members are right on average, so weights
    that sum to less than 1 draw logits towards it. The shift mends what members say too much or too little together. It
    is fitted where the validation rows have the training rows' base rate but for noise, and else 0: in a log in the
    order of time their rate is not that of the rows to come (docs/log/2026-11/stacks.md#should-a-stack-have-an-offset),
    and ``train.calibration`` follows it where that is wanted.

    There are H numbers to fit, or one more, so a few hundred rows do. A fit is judged on rows that it has not seen:
    each of five parts, drawn at random, is answered by a fit to the others. So it is decided how strongly the weights
    are held at the mean; and where a member alone has a lower loss on these rows, by more than one standard error of
    the difference, it is that member.

    Parameters
    ----------
    heads
        How many heads each member has (`models.member`); H is their sum.
    level
        Of the heads' logits; training sets it.

    Attributes
    ----------
    weight
        (H + 1,): ``shift + (1 - sum of weight[h]) level``, then a weight for each head. A buffer: no step of training
        moves it.

    Examples
    --------
    >>> Stacker([1, 1])(torch.tensor([[[1.0], [3.0]]])).tolist()
    [[2.0]]
    """

    def __init__(self, heads: Sequence[int], level: float = 0.0) -> None:
        super().__init__()
        self.heads, self.num_heads, self.level = tuple(heads), sum(heads), level
        self.weight: Tensor
        self.register_buffer("weight", torch.empty(self.num_heads + 1))
        self.reset()

    def reset(self) -> None:
        """Let it be the mean."""
        self.weight.fill_(1.0 / self.num_heads)
        self.weight[0] = 0.0

    def weigh(self, weights: Sequence[float], shift: float = 0.0) -> None:
        """Set the weights of the heads, and the shift."""
        self.weight.copy_(torch.tensor([shift + (1.0 - sum(weights)) * self.level, *weights]))

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
        """Fit the weights to labels by logistic regression (Newton's method), starting from the mean.

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
        count = np.ones(len(labels)) if weights is None else weights.astype(np.float64)
        x, mean = heads.astype(np.float64) - self.level, np.full(self.num_heads, 1.0 / self.num_heads)
        shifts = _has_rate(labels, count, self.level + offset)
        if shifts:
            x, mean = np.concatenate((np.ones((len(x), 1)), x), axis=1), np.concatenate(([0.0], mean))
        rows = _Rows(x, labels, count, self.level + offset)
        tried = []
        for prior in _PRIORS:
            whole = _fitted(rows, mean, mean, prior)
            tried.append((whole, _held_out(rows, mean, whole, prior)))
        fitted, losses = min(tried, key=lambda each: (count * each[1]).sum())
        if len(self.heads) > 1:
            members = [np.concatenate((np.zeros(int(shifts)), member)) for member in self._members()]
            alone = [rows.losses(member) for member in members]
            number = int(np.argmin([(count * each).sum() for each in alone]))
            if _is_lower(alone[number], losses, count):
                fitted = members[number]
        if np.isfinite(fitted).all():
            self.weigh(fitted[int(shifts) :].tolist(), float(fitted[0]) if shifts else 0.0)

    def _members(self) -> list[Floats]:
        """Return the weights (H,) that make each member count alone, by the mean of its heads."""
        found, begin = [], 0
        for heads in self.heads:
            found.append(np.zeros(self.num_heads))
            found[-1][begin : begin + heads] = 1.0 / heads
            begin += heads
        return found


class _Rows(NamedTuple):
    """Rows to fit to: heads' logits above the level (B, H), after a column of ones where there is a shift, labels (B,),
    weights (B,), and what is added to all.
    """

    x: Floats
    labels: npt.NDArray[np.integer[Any]]
    counts: Floats
    level: float

    def logits(self, weights: Floats) -> Floats:
        """Return the logits (B,) by weights (H,)."""
        # Sums, and no matrix products: their last bits depend on the number of threads.
        found: Floats = self.level + (self.x * weights).sum(axis=1)
        return found

    def losses(self, weights: Floats) -> Floats:
        """Return the logloss (B,) of each row by weights (H,)."""
        z = self.logits(weights)
        lost: Floats = np.logaddexp(0.0, z) - self.labels * z
        return lost

    def some(self, which: npt.NDArray[np.bool_]) -> _Rows:
        """Return some of the rows."""
        return _Rows(self.x[which], self.labels[which], self.counts[which], self.level)


def _has_rate(labels: npt.NDArray[np.integer[Any]], count: Floats, log_odds: float) -> bool:
    """Whether the base rate of labels is one that is given, but for noise."""
    positive, negative = float(count[labels == 1].sum()), float(count[labels != 1].sum())
    if not positive or not negative:
        return False
    error = np.sqrt((count**2).sum() / (positive * negative))
    return bool(abs(np.log(positive / negative) - log_odds) < _NOISE * error)


def _is_lower(losses: Floats, others: Floats, count: Floats) -> bool:
    """Whether the mean of losses is lower than that of others on the same rows, by more than one standard error."""
    gains, total = others - losses, count.sum()
    mean = (count * gains).sum() / total
    return bool(mean > np.sqrt(((count * (gains - mean)) ** 2).sum()) / total)


def _held_out(rows: _Rows, mean: Floats, whole: Floats, prior: float) -> Floats:
    """Return the logloss (B,) of each row by a fit to the rows of the other folds, from the fit to all on."""
    # Not in the order of the rows: in a log of one click and four candidates that were passed over, again and again,
    # every fifth row is a click.
    fold = np.random.default_rng(_FOLDS_SEED).permutation(len(rows.labels)) % _FOLDS
    losses = np.empty(len(rows.labels))
    for number in range(_FOLDS):
        here = fold == number
        losses[here] = rows.some(here).losses(_fitted(rows.some(~here), mean, whole, prior))
    return losses


def _fitted(rows: _Rows, mean: Floats, start: Floats, prior: float) -> Floats:
    """Return the weights (H,) that minimise ``sum of count loss + prior / 2 |weights - mean|^2``."""

    def cost(weights: Floats) -> float:
        return float((rows.counts * rows.losses(weights)).sum() + 0.5 * prior * ((weights - mean) ** 2).sum())

    fitted, best = start.copy(), cost(start)
    for _ in range(_STEPS):
        probability = sigmoid(rows.logits(fitted))
        slope = (rows.x * (rows.counts * (rows.labels - probability))[:, None]).sum(axis=0) - prior * (fitted - mean)
        bend = (rows.x * (rows.counts * probability * (1.0 - probability))[:, None]).T
        curve = np.array([[(one * other).sum() for other in rows.x.T] for one in bend]) + prior * np.eye(len(start))
        move = np.linalg.solve(curve, slope)
        while (now := cost(fitted + move)) > best and np.abs(move).max() > _CLOSE:
            move *= 0.5
        if now >= best:
            break
        fitted, best = fitted + move, now
    return fitted
