"""Every two fields against each other: the interactions of a factorisation machine.

Letters: B examples, F fields, K units per field, O outputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fieldwise.kernels.interactions import pair_gradients, sum_pairs
from fieldwise.nn.blocks import cut, is_exporting, run_blocks

__all__ = ["FMInteractions"]

_EXAMPLES = 256
"""Examples in a block."""


class FMInteractions(nn.Module):
    """The dot products of the units of every two fields, summed: a factorisation machine (Rendle 2010, equation 1; with
    a user and an item, matrix factorisation).

    With u_f the (K,) units of field f, as they are, neither standardised nor centred::

        logit = sum over fields f < g of   u_f . u_g

    A perceptron learns a product of two numbers slowly, and this is where an L2 penalty on units means something: what
    is standardised first has no scale to shrink (docs/log/2026-11/accuracy.md#which-changes-make-a-better-model).

    It takes B K F products; where pairs are left out, B K F^2, and no (B, F, F) in memory.

    A pair of which one field determines the other is better left out (`training.dependence`): its product is a function
    of one field, which has units for that already.

    Parameters
    ----------
    num_fields
        F, 2 or more.
    num_outputs
        O; all of them are the same number, times a weight of their own where they are `scaled`.

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

    def __init__(self, num_fields: int, num_outputs: int = 1, *, scaled: bool = False) -> None:
        super().__init__()
        self.num_outputs = num_outputs
        self.scale = nn.Parameter(torch.ones(num_outputs)) if scaled else None
        self.mask: Tensor
        self.register_buffer("mask", torch.ones(num_fields, num_fields))
        # Not read from the mask: where sizes alone are asked for, tensors have no numbers (`models.sizes`).
        self._takes_all, self._pairs = True, np.empty((0, 2), np.int64)

    def leave_out(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Leave out the pairs of fields (f, g), f < g, and no others."""
        self.mask.fill_(1.0)
        for f, g in pairs:
            self.mask[f, g] = self.mask[g, f] = 0.0
        self._read_mask()

    def _load_from_state_dict(self, *arguments: Any, **options: Any) -> None:
        super()._load_from_state_dict(*arguments, **options)
        self._read_mask()

    def _read_mask(self) -> None:
        """Note which pairs are taken: to ask the mask in every step would make a GPU's host wait for it."""
        self._takes_all = bool(self.mask.all())
        self._pairs = np.argwhere(np.triu(self.mask.cpu().numpy(), 1))

    def forward(self, units: Tensor) -> Tensor:
        """Return (B, O) from units (B, F, K)."""
        if self._takes_all:
            total: Tensor = 0.5 * (units.sum(dim=1).square().sum(dim=1) - units.square().sum(dim=(1, 2)))
        elif units.device.type != "cpu" or is_exporting():  # an exported model is plain torch
            total = (units * torch.matmul(self.mask.triu(1), units)).sum(dim=(1, 2))
        else:
            total = _Pairs.apply(units, self._pairs)  # type: ignore[no-untyped-call]
        if self.scale is not None:
            return total.unsqueeze(1) * self.scale
        return total.unsqueeze(1).expand(-1, self.num_outputs)


class _Pairs(torch.autograd.Function):
    """The sums (B,) of units (B, F, K) over some pairs of fields, example by example."""

    @staticmethod
    def forward(ctx: Any, units: Tensor, pairs: npt.NDArray[np.int64]) -> Tensor:
        out = units.new_empty(len(units))
        numbers, of_out = units.detach().numpy(), out.numpy()
        run_blocks(lambda of: sum_pairs(numbers[of], pairs, of_out[of]), cut(len(units), _EXAMPLES))
        ctx.save_for_backward(units)
        ctx.pairs = pairs
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (units,) = ctx.saved_tensors
        gradient = units.new_empty(units.shape)
        numbers, of_sums, out = units.detach().numpy(), gradients[0].contiguous().numpy(), gradient.numpy()
        run_blocks(lambda of: pair_gradients(numbers[of], ctx.pairs, of_sums[of], out[of]), cut(len(units), _EXAMPLES))
        return gradient, None
