"""Every two fields against each other: the interactions of a factorisation machine.

Letters: B examples, F fields, K units per field, O outputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from fieldwise.nn.product import autocast_where_it_pays

__all__ = ["FMInteractions"]


class FMInteractions(nn.Module):
    """The dot products of the units of every two fields, summed: a factorisation machine (Rendle 2010, equation 1; with
    a user and an item, matrix factorisation).

    With u_f the (K,) units of field f, as they are, neither standardised nor centred::

        logit = sum over fields f < g of   u_f . u_g

    A perceptron learns a product of two numbers slowly, and this is where an L2 penalty on units means something: what
    is standardised first has no scale to shrink (docs/log/2026-11.md#which-changes-make-a-better-model).

    It takes B K F products; where pairs are left out, B K F^2, and no (B, F, F) in memory: ``sum over f of u_f . (U
    u)_f`` with U the mask above its diagonal.

    A pair of which one field determines the other is better left out (`training.dependence`): its product is a function
    of one field, which has units for that already.

    Parameters
    ----------
    num_fields
        F, 2 or more.
    num_outputs
        O; all of them are the same number.

    Attributes
    ----------
    mask
        (F, F), symmetric: 0 for pairs that are left out, else 1 (`leave_out`).

    Examples
    --------
    >>> pairs = FMInteractions(3)
    >>> pairs(torch.tensor([[[1.0], [2.0], [3.0]]])).tolist()  # 1 2 + 1 3 + 2 3
    [[11.0]]
    """

    def __init__(self, num_fields: int, num_outputs: int = 1) -> None:
        super().__init__()
        self.num_outputs = num_outputs
        self.mask: Tensor
        self.register_buffer("mask", torch.ones(num_fields, num_fields))
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
        if self._takes_all:
            total = 0.5 * (units.sum(dim=1).square().sum(dim=1) - units.square().sum(dim=(1, 2)))
        else:  # with the upper triangle alone every pair comes once
            with autocast_where_it_pays(units.device.type):
                total = (units * torch.matmul(self.mask.triu(1), units)).sum(dim=(1, 2))
        return total.unsqueeze(1).expand(-1, self.num_outputs)
