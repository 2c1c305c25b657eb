"""Logits of several labels, of which one may be counted among the positive examples of another.

Letters: O labels. With the logit z of each output of a network, a label that is counted among all examples has that
logit. One that is counted among the positive examples of label a, as conversions are among clicks, has z for its
conditional probability (Ma et al., Entire Space Multi-Task Model, SIGIR 2018, equation 2)::

    p = p_a sigmoid(z)                               p_a the probability of label a
    logit(p) = -log(e^-y + e^-z + e^-(y + z))        y = logit(p_a)

which does not overflow, and neither do its gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["joint_logits"]


def joint_logits(logits: Tensor, among: Sequence[int | None]) -> Tensor:
    """Return the logits (..., O) of the labels, each over all examples, from those of a network (..., O).

    Parameters
    ----------
    among
        For each label the number of the one among whose positive examples it is counted, below its own; None for all
        examples.

    Examples
    --------
    >>> joint_logits(torch.tensor([[0.0, 0.0]]), [None, 0]).sigmoid()  # half of the clicks, which are half of all
    tensor([[0.5000, 0.2500]])
    """
    if all(other is None for other in among):
        return logits
    found: list[Tensor] = []
    for number, other in enumerate(among):
        z = logits[..., number]
        if other is not None:
            y = found[other]
            z = -torch.logsumexp(torch.stack((-y, -z, -y - z)), dim=0)
        found.append(z)
    return torch.stack(found, dim=-1)
