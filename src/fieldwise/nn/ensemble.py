"""Several perceptrons that share their matrices: an ensemble for the weights of little more than one.

Letters: B examples, M members, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fieldwise.nn.deep import ACTIVATIONS
from fieldwise.nn.dropout import Dropout
from fieldwise.nn.product import autocast_where_it_pays

__all__ = ["Ensemble"]


class SharedLinear(nn.Module):
    """One matrix for all members, inputs and outputs scaled by each: ``y_m = s_m * (W (r_m * x_m)) + b_m``.

    BatchEnsemble (Wen et al. 2020, equation 1): member m has the matrix ``W * (s_m r_m')``.
    """

    def __init__(self, num_inputs: int, num_outputs: int, num_members: int, differ: bool) -> None:
        super().__init__()
        self.weight = nn.Linear(num_inputs, num_outputs, bias=False).weight
        # Members that start alike would stay alike. Random signs in the first layer alone: Gorishniy et al. 2024.
        signs = torch.randint(0, 2, (num_members, num_inputs)) * 2.0 - 1.0
        self.inputs = nn.Parameter(signs if differ else torch.ones(num_members, num_inputs))
        self.outputs = nn.Parameter(torch.ones(num_members, num_outputs))
        self.bias = nn.Parameter(torch.zeros(num_members, num_outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, M, num_outputs) from x (B, M, num_inputs)."""
        with autocast_where_it_pays(x.device.type):
            return nn.functional.linear(x * self.inputs, self.weight) * self.outputs + self.bias


class Ensemble(nn.Module):
    """TabM (Gorishniy et al. 2024): M perceptrons with shared matrices, each with an output of its own.

    Every member is trained on its own loss, and the logit of the model is their mean (`models.click`).

    Parameters
    ----------
    num_inputs, hidden, num_outputs, activation, dropout
        As of `deep.Perceptron`.
    num_members
        M.
    """

    def __init__(
        self,
        num_inputs: int,
        hidden: Sequence[int],
        num_outputs: int,
        activation: str = "relu",
        dropout: float = 0.0,
        num_members: int = 2,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number, width in enumerate(hidden):
            layers += [SharedLinear(num_inputs, width, num_members, number == 0), ACTIVATIONS[activation]()]
            layers.append(Dropout(dropout))
            num_inputs = width
        self.hidden = nn.Sequential(*layers)
        self.num_members = num_members
        self.weight = nn.Parameter(torch.zeros(num_members, num_inputs, num_outputs))
        self.bias = nn.Parameter(torch.zeros(num_members, num_outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return the members' (B, M, O) from x (B, num_inputs)."""
        each = self.hidden(x.unsqueeze(1).expand(-1, self.num_members, -1))
        with autocast_where_it_pays(x.device.type):
            return torch.einsum("bmi,mio->bmo", each, self.weight) + self.bias
