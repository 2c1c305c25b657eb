"""What a model keeps of a posterior: a factorisation machine that no step of training moves.

Letters: B examples, F fields, P numbers of a feature: its weight, then P - 1 factors.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fieldwise.nn.pairs import FieldPairs

__all__ = ["PosteriorTerm"]


class PosteriorTerm(nn.Module):
    """The logit of the mean that was sampled (`training.posterior`).

    With (w_f, v_f) the (P,) numbers of field f ::

        logit = bias + sum over f of w_f + sum over pairs f < g that are not left out of v_f . v_g

    Parameters
    ----------
    num_fields
        F, those of the log.

    Attributes
    ----------
    bias
        (1,), a buffer.
    pairs
        Which pairs are left out (`nn.pairs`).

    Examples
    --------
    >>> PosteriorTerm(2)(torch.tensor([[[1.0, 3.0], [0.5, 2.0]]])).tolist()  # 1 + .5 + 3 2
    [[7.5]]
    """

    def __init__(self, num_fields: int) -> None:
        super().__init__()
        self.bias: Tensor
        self.register_buffer("bias", torch.zeros(1))
        self.num_fields = num_fields
        self.pairs = FieldPairs(num_fields)

    def forward(self, numbers: Tensor) -> Tensor:
        """Return (B, 1) from the numbers (B, F, P)."""
        of_pairs: Tensor = self.pairs(numbers[:, :, 1:])
        return self.bias + numbers[:, :, 0].sum(dim=1, keepdim=True) + of_pairs
