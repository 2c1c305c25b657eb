"""Dropout whose random numbers cost next to nothing, and are the same for any number of threads."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fieldwise.kernels.random import draw_mask
from fieldwise.nn.blocks import cut, run_blocks

__all__ = ["Dropout"]

_BLOCK = 1 << 16
"""Numbers drawn together."""


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`: each number of x is 0 with the probability p, else ``x / (1 - p)``; x itself in evaluation.

    One number is drawn from torch's global generator for each pass; a hash of it and of where a number stands decides.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return x, some of it 0."""
        if not self.training or self.p == 0 or x.device.type != "cpu" or torch.compiler.is_compiling():
            plain: Tensor = super().forward(x)
            return plain
        masked: Tensor = _Apply.apply(x.contiguous(), self.p)  # type: ignore[no-untyped-call]
        return masked


class _Apply(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        key = int(torch.randint(1 << 62, ()))
        mask, y = torch.empty_like(x), torch.empty_like(x)
        kept = torch.tensor(1.0 / (1.0 - p) if p < 1 else 0.0, dtype=x.dtype)
        bits, value = (part.view(-1) for part in (mask, kept))
        if x.dtype in (torch.bfloat16, torch.float16):
            bits, value = bits.view(torch.uint16), value.view(torch.uint16)
        numbers, number, below = bits.numpy(), value.numpy()[0], min(round(p * 2**32), 2**32 - 1)
        of_x, of_mask, of_y = x.view(-1), mask.view(-1), y.view(-1)

        def block(of: slice) -> None:
            draw_mask(numbers[of], of.start, key, below, number)
            torch.mul(of_x[of], of_mask[of], out=of_y[of])

        run_blocks(block, cut(x.numel(), _BLOCK))
        ctx.save_for_backward(mask)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (mask,) = ctx.saved_tensors
        dy = gradients[0].contiguous()
        dx = torch.empty_like(dy)
        parts = dy.view(-1), mask.view(-1), dx.view(-1)

        def block(of: slice) -> None:
            torch.mul(parts[0][of], parts[1][of], out=parts[2][of])

        run_blocks(block, cut(dy.numel(), _BLOCK))
        return dx, None
