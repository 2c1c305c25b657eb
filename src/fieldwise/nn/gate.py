"""How much each field counts, example by example.

Letters: B examples, F fields, K units per field.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fieldwise.nn.linear import Linear

__all__ = ["FieldGate"]


class FieldGate(nn.Module):
    """Multiply the units of every field by its gate: ``gate = 2 sigmoid(W' x + b)`` (B, F), one for all K units.

    All gates are 1 at the start, where W and b are zero. Squeeze-and-excitation over fields, as in FiBiNET (Huang et
    al. 2019, section 3.2), with one matrix and a gate that can also amplify.

    Parameters
    ----------
    num_fields, num_units
        F and K.
    """

    def __init__(self, num_fields: int, num_units: int) -> None:
        super().__init__()
        self.num_units = num_units
        self.linear = Linear(num_fields * num_units, num_fields)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, F K) from x (B, F K)."""
        gates = 2.0 * torch.sigmoid(self.linear(x))
        return (x.view(len(x), self.linear.out_features, self.num_units) * gates.unsqueeze(2)).view_as(x)
