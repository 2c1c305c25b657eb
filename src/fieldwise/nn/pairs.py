"""Every two fields against each other: the interaction of a factorisation machine, weighted by pair of fields.

Letters: B examples, F fields, K units per field, O outputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from fieldwise.nn.product import autocast_where_it_pays

__all__ = ["FieldPairs"]


class FieldPairs(nn.Module):
    """The dot products of the units of every two fields, summed.

    With u_f the (K,) units of field f, as they are, neither standardised nor centred::

        logit_o = sum over fields f < g of   weight[o, f, g]  u_f . u_g

    Weights that are all 1 give the factorisation machine (Rendle 2010, equation 1; with a user and an item, matrix
    factorisation), learnt ones the field-weighted one (Pan et al. 2018, equation 6). A perceptron learns a product
    of two numbers slowly, and this is where an L2 penalty on units means something: what is standardised first has no
    scale to shrink (docs/log/2026-11.md#which-changes-make-a-better-model).

    Computed as ``sum over f of u_f . (U u)_f`` with U the matrix of the weights, zero but above its diagonal: B K F^2
    products and no (B, F, F) in memory. Weights that are all 1 take B K F.

    A pair of which one field determines the other is better left out (`training.dependence`): its product is a function
    of one field, which has units for that already.

    Parameters
    ----------
    num_fields
        F, 2 or more.
    num_outputs
        O.
    weighted
        Whether the weights are learnt; they are 1 for each output at the start.

    Attributes
    ----------
    mask
        (F, F), symmetric: 0 for pairs that are left out, else 1 (`leave_out`).
    weight
        (O, F (F - 1) / 2), pairs in the order (0, 1), (0, 2), ..., (1, 2), ...; None where they are not learnt.

    Examples
    --------
    >>> pairs = FieldPairs(3, 1, weighted=False)
    >>> pairs(torch.tensor([[[1.0], [2.0], [3.0]]])).tolist()  # 1 2 + 1 3 + 2 3
    [[11.0]]
    """

    def __init__(self, num_fields: int, num_outputs: int = 1, weighted: bool = True) -> None:
        super().__init__()
        self.num_outputs = num_outputs
        self.weight = nn.Parameter(torch.ones(num_outputs, num_fields * (num_fields - 1) // 2)) if weighted else None
        self.register_buffer("mask", torch.ones(num_fields, num_fields))
        self.mask: Tensor
        above = torch.triu_indices(num_fields, num_fields, offset=1)
        self.register_buffer("_above", above, persistent=False)
        self._above: Tensor
        # Asking the mask in every step would make a GPU's host wait for it.
        self._takes_all = True

    def leave_out(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Leave out the pairs of fields (f, g), f < g, and no others."""
        self.mask.fill_(1.0)
        for f, g in pairs:
            self.mask[f, g] = self.mask[g, f] = 0.0
        self._takes_all = bool(self.mask.all())

    def _load_from_state_dict(self, *arguments: Any, **options: Any) -> None:
        super()._load_from_state_dict(*arguments, **options)
        self._takes_all = bool(self.mask.all())

    def forward(self, units: Tensor) -> Tensor:
        """Return (B, O) from units (B, F, K)."""
        if self.weight is None and self._takes_all:
            total = units.sum(dim=1).square().sum(dim=1) - units.square().sum(dim=(1, 2))
            return (0.5 * total).unsqueeze(1).expand(-1, self.num_outputs)
        # With the upper triangle alone every pair comes once.
        if self.weight is None:
            triangles = [self.mask.triu(1)]
        else:
            at = self._above[0], self._above[1]
            triangles = [torch.zeros_like(self.mask).index_put(at, weights) * self.mask for weights in self.weight]
        with autocast_where_it_pays(units.device.type):
            outputs = [(units * torch.matmul(upper, units)).sum(dim=(1, 2)) for upper in triangles]
        return torch.stack(outputs, dim=1).expand(-1, self.num_outputs)
