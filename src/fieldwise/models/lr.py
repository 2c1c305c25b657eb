"""Logistic regression: ``logit = b + x' w``.

Letters: B examples, D features, O outputs, W fully connected units.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fieldwise.kernels.layout import Layout
from fieldwise.models.config import ModelConfig
from fieldwise.models.member import Member

__all__ = ["LogisticRegression"]


class LogisticRegression(Member):
    """``lr``: a weight for each feature and output.

    ::

        logit = b + x' w        x (B, D), w (D, O), b (O,)

    The table's W = O fully connected units are x' w. With two classes a step takes no autograd (`Table.logistic`).
    """

    def __init__(self, config: ModelConfig, layout: Layout, num_outputs: int, num_bags: int = 0) -> None:
        super().__init__()
        self.num_full = self.linear_full = num_outputs
        self.is_linear, self.is_logistic = True, num_outputs == 1
        self.bias = nn.Parameter(torch.zeros(num_outputs))

    def forward(self, units: Tensor, full: Tensor) -> Tensor:
        """See `Member.forward`."""
        return (self.bias + full).unsqueeze(1)
