"""The loss: mean logloss of a batch, from logits.

Of several labels an example's loss is the sum over the labels that it says something of, each times its weight::

    loss = sum over l of  c_l -log p(y_l)        p from logits over all examples (`nn.joint_logits`)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from fieldwise.kernels.joint_labels import BITS, MISSING_LABEL
from fieldwise.models.config import LabelHead

__all__ = ["logloss", "losses_of", "probabilities", "weighted_mean"]


def logloss(logits: Tensor, labels: Tensor, weights: Tensor | None = None, heads: Sequence[LabelHead] = ()) -> Tensor:
    """Return ``sum of weight loss / sum of weight``, a scalar; zero where all weights are.

    Parameters
    ----------
    logits
        (B, O), or (B, M, O) with members, over whose losses the mean is taken. O = 1 is binary cross-entropy, O > 2
        cross-entropy over the softmax.
    labels
        (B,) int: the class; of several labels their code (`kernels.joint_labels`).
    weights
        (B,) >= 0, or None for all 1.
    heads
        The labels, where there are several, an output for each.
    """
    if logits.dim() == 3:
        num_members = logits.shape[1]
        weights = None if weights is None else weights.repeat_interleave(num_members)
        logits, labels = logits.flatten(0, 1), labels.repeat_interleave(num_members)
    return weighted_mean(losses_of(logits, labels, heads), weights)


def losses_of(logits: Tensor, labels: Tensor, heads: Sequence[LabelHead] = ()) -> Tensor:
    """Return the loss of each example, (B,), from logits (B, O)."""
    if heads:
        return _of_labels(logits, labels, heads)
    if logits.shape[1] == 1:
        return functional.binary_cross_entropy_with_logits(logits[:, 0], labels.to(logits.dtype), reduction="none")
    return functional.cross_entropy(logits, labels.long(), reduction="none")


def _of_labels(logits: Tensor, codes: Tensor, heads: Sequence[LabelHead]) -> Tensor:
    shifts = BITS * torch.arange(len(heads), device=codes.device)
    states = (codes.long().unsqueeze(1) >> shifts) & ((1 << BITS) - 1)
    factors = torch.tensor([head.weight for head in heads], dtype=logits.dtype, device=logits.device)
    # A missing label's loss is taken as of label 1, and left out by its factor of 0.
    positive, factors = (states > 0).to(logits.dtype), factors * (states != MISSING_LABEL)
    losses = functional.binary_cross_entropy_with_logits(logits, positive, reduction="none")
    return (losses * factors).sum(dim=1)


def weighted_mean(losses: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return ``sum of weight loss / sum of weight`` of losses (B,), a scalar; zero where all weights are."""
    if weights is None:
        return losses.mean()
    weights = weights.to(losses.dtype)
    return (losses * weights).sum() / weights.sum().clamp_min(torch.finfo(losses.dtype).tiny)


def probabilities(logits: Tensor, heads: Sequence[LabelHead] = ()) -> Tensor:
    """Return (B,) the probability of class 1, or (B, O) of every class where O > 2, or of each of several labels."""
    if heads:
        return torch.sigmoid(logits)
    return torch.sigmoid(logits[:, 0]) if logits.shape[1] == 1 else torch.softmax(logits, dim=1)
