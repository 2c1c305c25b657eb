"""How much each field counts, example by example.

Letters: B examples, F fields, n units of all fields.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fieldwise.nn.linear import Linear

__all__ = ["FieldGate"]


class FieldGate(nn.Module):
    """Multiply the units of every field by its gate: ``gate = 2 sigmoid(W' x + b)`` (B, F), one for all its units.

    All gates are 1 at the start, where W and b are zero. Squeeze-and-excitation over fields, as in FiBiNET (Huang et
    al. 2019, section 3.2), with one matrix and a gate that can also amplify.

    Parameters
    ----------
    fields
        (n,), the field of each unit, 0 .. F - 1.
    """

    def __init__(self, fields: Sequence[int]) -> None:
        super().__init__()
        self.fields: Tensor
        self.register_buffer("fields", torch.tensor(fields), persistent=False)
        self.linear = Linear(len(fields), max(fields) + 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, n) from x (B, n)."""
        gates = 2.0 * torch.sigmoid(self.linear(x))
        return x * gates.index_select(1, self.fields)
