"""A network whose first layer is fully connected to the features: ``logit = b + perceptron(g(x' W1 + b1))``.

Letters: B examples, D features, H1, H2, ... hidden units, O outputs, W fully connected units.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fieldwise.errors import ConfigError
from fieldwise.kernels.layout import Layout
from fieldwise.models.config import ModelConfig
from fieldwise.models.member import Member
from fieldwise.nn.deep import ACTIVATIONS, Perceptron

__all__ = ["DNN"]


class DNN(Member):
    """``dnn``: the paper's network of four layers, or any other number of them.

    ::

        l1 = g(x' W1 + b1)                    x (B, D), W1 (D, H1), b1 (H1,)
        logit = b + perceptron(l1)            of the widths H2, H3, ..., O (`nn.deep.Perceptron`)

    The table's W = H1 fully connected units are x' W1. It takes `hidden` = (H1, H2, ...), `activation` and `dropout`.

    Raises
    ------
    ConfigError
        `hidden` is empty.
    """

    def __init__(self, config: ModelConfig, layout: Layout, num_outputs: int, num_bags: int = 0) -> None:
        super().__init__()
        if not config.hidden:
            raise ConfigError("a dnn has one hidden layer or more", where="model.hidden", expected="[widths]", got="[]")
        self.num_full, *rest = config.hidden
        self.bias = nn.Parameter(torch.zeros(num_outputs))
        self.hidden_bias = nn.Parameter(torch.zeros(self.num_full))
        self.activation = ACTIVATIONS[config.activation]()
        self.network: nn.Module = Perceptron(self.num_full, rest, num_outputs, config.activation, config.dropout)

    def forward(self, units: Tensor, full: Tensor) -> Tensor:
        """See `Member.forward`."""
        output: Tensor = self.network(self.activation(full + self.hidden_bias))
        return (self.bias + output.to(self.bias.dtype)).unsqueeze(1)  # autocast may have lowered the precision
