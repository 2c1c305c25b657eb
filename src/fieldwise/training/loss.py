"""The loss: mean logloss of a batch, from logits."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["logloss", "probabilities", "weighted_mean"]


def logloss(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return ``sum of weight loss / sum of weight``, a scalar; zero where all weights are.

    Parameters
    ----------
    logits
        (B, O), or (B, M, O) with members, over whose losses the mean is taken. O = 1 is binary cross-entropy, O > 2
        cross-entropy over the softmax.
    labels
        (B,) int: the class.
    weights
        (B,) >= 0, or None for all 1.
    """
    if logits.dim() == 3:
        num_members = logits.shape[1]
        weights = None if weights is None else weights.repeat_interleave(num_members)
        logits, labels = logits.flatten(0, 1), labels.repeat_interleave(num_members)
    if logits.shape[1] == 1:
        losses = functional.binary_cross_entropy_with_logits(logits[:, 0], labels.to(logits.dtype), reduction="none")
    else:
        losses = functional.cross_entropy(logits, labels.long(), reduction="none")
    return weighted_mean(losses, weights)


def weighted_mean(losses: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return ``sum of weight loss / sum of weight`` of losses (B,), a scalar; zero where all weights are."""
    if weights is None:
        return losses.mean()
    weights = weights.to(losses.dtype)
    return (losses * weights).sum() / weights.sum().clamp_min(torch.finfo(losses.dtype).tiny)


def probabilities(logits: Tensor) -> Tensor:
    """Return (B,) the probability of class 1, or (B, O) of every class where O > 2."""
    return torch.sigmoid(logits[:, 0]) if logits.shape[1] == 1 else torch.softmax(logits, dim=1)
