"""The fully connected layer: ``y = g(x W' + b)``, its products cut into fixed blocks (`nn.blocks`).

With dz = dy g'(z), a step takes three products::

    y = g(x W' + b)     blocks of examples: product, bias and activation while the block is in the cache      (B, O)
    dx = dz W           blocks of examples, after dz of the block; db = sum over examples of dz               (B, I)
    dW = dz' x          blocks of rows of dW, each over the whole batch                                       (O, I)

Under ``torch.autocast`` the products are taken in bfloat16 (sums in float32 inside the library), the weights being cast
once a step; weights, gradients and the sums of db stay float32.

In float32 the products are oneDNN's: torch's own are MKL's, which uses half of the width of an AMD processor's units
(docs/experiments.md). In bfloat16 both are oneDNN's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from fieldwise.kernels.transpose import transpose
from fieldwise.nn.blocks import cut, run_blocks

__all__ = ["FUSED", "Linear", "owns_products", "product"]

_EXAMPLES, _EXAMPLES_SMALL, _SMALL = 512, 1024, 1 << 17
"""Examples in a block; and where a matrix has fewer weights than that, so that a block is worth its calls."""
_ROWS = 256
"""Rows of dW in a block, at most; fewer and larger blocks copy x less often, inside oneDNN."""

_aten = torch.ops.aten
_onednn: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)  # None in a build of torch without oneDNN


class _Activation(NamedTuple):
    """g; what sets dz (last) by dy and what is kept of the forward pass, y where g' follows from it, else z."""

    apply: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor, Tensor], object]
    keeps_output: bool


_relu, _tanh, _sigmoid = (_aten.threshold_backward, _aten.tanh_backward, _aten.sigmoid_backward)
_silu, _gelu = _aten.silu_backward, _aten.gelu_backward
FUSED: dict[type[nn.Module], _Activation] = {
    nn.ReLU: _Activation(torch.relu, lambda dy, y, dz: _relu.grad_input(dy, y, 0, grad_input=dz), True),
    nn.Tanh: _Activation(torch.tanh, lambda dy, y, dz: _tanh.grad_input(dy, y, grad_input=dz), True),
    nn.Sigmoid: _Activation(torch.sigmoid, lambda dy, y, dz: _sigmoid.grad_input(dy, y, grad_input=dz), True),
    nn.SiLU: _Activation(functional.silu, lambda dy, z, dz: _silu.grad_input(dy, z, grad_input=dz), False),
    nn.GELU: _Activation(functional.gelu, lambda dy, z, dz: _gelu.grad_input(dy, z, grad_input=dz), False),
}
"""The activations that `Linear` can take in."""


class Linear(nn.Linear):
    """`torch.nn.Linear` with the same bits for any number of threads, and an activation inside.

    Parameters
    ----------
    num_inputs, num_outputs
        I and O.
    bias
        Whether there is b.
    reduced
        Whether autocast may lower the precision of the products. A layer that ends in the logit says no: bfloat16
        would round the logit itself to 3 digits.
    """

    def __init__(self, num_inputs: int, num_outputs: int, bias: bool = True, *, reduced: bool = True) -> None:
        super().__init__(num_inputs, num_outputs, bias)
        self.reduced = reduced

    def forward(self, x: Tensor, activation: nn.Module | None = None) -> Tensor:
        """Return ``g(x W' + b)`` (..., O) of x (..., I); g is the identity unless given, else of a type in `FUSED`.

        Raises
        ------
        ValueError
            x has another width.
        """
        if x.shape[-1] != self.in_features:
            raise ValueError(f"x has {x.shape[-1]} columns, the layer takes {self.in_features}")
        fused = None if activation is None else FUSED[type(activation)]
        if x.device.type != "cpu" or torch.compiler.is_compiling():  # an exported model is plain torch
            plain = self.plain(x)
            return plain if fused is None else fused.apply(plain)
        dtype = self.weight.dtype
        if self.reduced and dtype == torch.float32 and torch.is_autocast_enabled("cpu"):
            dtype = torch.get_autocast_dtype("cpu")
        flat = x.reshape(-1, self.in_features)
        y: Tensor = _Apply.apply(flat, self.weight, self.bias, fused, dtype)  # type: ignore[no-untyped-call]
        return y.view(*x.shape[:-1], self.out_features)

    def plain(self, x: Tensor) -> Tensor:
        """Return ``x W' + b`` by torch, on any device; autocast has its say where the layer allows it."""
        device = x.device.type
        if self.reduced or not (torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)):
            return super().forward(x)
        with torch.autocast(device, enabled=False):
            return super().forward(x.to(self.weight.dtype))


def owns_products(module: nn.Module) -> bool:
    """Return whether every matrix of a module is that of a `Linear`, so that torch needs no threads of its own."""
    matrices = sum(parameter.dim() > 1 for parameter in module.parameters())
    return matrices == sum(isinstance(part, Linear) for part in module.modules())


class _Apply(torch.autograd.Function):
    """x (B, I), weight (O, I), bias (O,) or None to y (B, O) of `dtype`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, fused: _Activation | None, dtype: torch.dtype
    ) -> Tensor:
        differentiable = any(ctx.needs_input_grad[:3])
        w, b = weight.detach().to(dtype), None if bias is None else bias.detach().to(dtype)
        x = x.contiguous()
        # Tensors made in inference mode may be written by the thread that made them only.
        with torch.inference_mode(False):
            y = torch.empty(len(x), len(w), dtype=dtype)
            inputs = torch.empty_like(x, dtype=dtype) if x.dtype != dtype == torch.bfloat16 else x
            z = torch.empty_like(y) if fused and differentiable and not fused.keeps_output else None
        relu = fused is FUSED[nn.ReLU]

        def block(of: slice) -> None:
            part = x[of]
            if inputs is not x:
                part = inputs[of].copy_(part)
            part = product(part.to(dtype), w, b, relu)
            if z is not None:
                z[of] = part
            y[of] = part if fused is None or relu else fused.apply(part)

        run_blocks(block, cut(len(x), _block_size(w)))
        if differentiable:
            ctx.save_for_backward(inputs, w, *([] if fused is None else [y if z is None else z]))
            ctx.fused, ctx.x_dtype, ctx.w_dtype, ctx.has_bias = fused, x.dtype, weight.dtype, bias is not None
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        x, w, *kept = ctx.saved_tensors
        needs_dx, needs_dw, needs_db = ctx.needs_input_grad[:3]
        dy = gradients[0].contiguous()
        size = _block_size(w)
        blocks = cut(len(x), size)
        dx = torch.empty_like(x, dtype=ctx.x_dtype) if needs_dx else None
        sums = torch.empty(len(blocks), len(w), dtype=ctx.w_dtype)
        keeps = ctx.fused is None and dy.dtype == w.dtype
        dz = dy if keeps else torch.empty_like(dy, dtype=w.dtype)

        def block(of: slice) -> None:
            part = dz[of]
            if ctx.fused is not None:
                ctx.fused.backward(dy[of].to(w.dtype), kept[0][of], part)
            elif not keeps:
                part.copy_(dy[of])
            if dx is not None:
                _product_into(dx[of], part, w.t())
            if needs_db:
                torch.sum(part, 0, dtype=ctx.w_dtype, out=sums[of.start // size])

        run_blocks(block, blocks)
        db = _ordered_sum(sums) if needs_db else None
        return dx, _weight_gradient(dz, x, ctx.w_dtype) if needs_dw else None, db, None, None


def product(a: Tensor, w: Tensor, bias: Tensor | None = None, relu: bool = False) -> Tensor:
    """Return ``a w'`` of a (M, N) and w (O, N), with the bias added and negative numbers cleared where asked for: one
    call of a library, on the threads that torch has here.
    """
    if (_onednn is not None and a.dtype == torch.float32) or (bias is not None and a.dtype == torch.bfloat16):
        out: Tensor = _onednn(a, w, bias, "relu" if relu else "none", [], "")
        return out
    out = a @ w.t() if bias is None else torch.addmm(bias, a, w.t())
    return out.relu_() if relu else out


def _product_into(out: Tensor, a: Tensor, w: Tensor) -> None:
    """Set `out` to ``a w'``, without a copy where the library can write there."""
    if out.dtype != a.dtype or (_onednn is not None and a.dtype == torch.float32):
        out.copy_(product(a, w))
    else:
        torch.mm(a, w.t(), out=out)


def _block_size(w: Tensor) -> int:
    return _EXAMPLES if w.numel() >= _SMALL else _EXAMPLES_SMALL


def _weight_gradient(dz: Tensor, x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return dW = dz' x, by blocks of rows."""
    gradient = torch.zeros(dz.shape[1], x.shape[1], dtype=dtype)
    if len(x):
        turned = _turned(dz) if _onednn is not None and dz.dtype == torch.float32 else dz.t()
        columns = x.to(dz.dtype).t()

        def block(of: slice) -> None:
            gradient[of] = product(turned[of], columns)

        run_blocks(block, cut(len(gradient), min(_ROWS, max(-(-len(gradient) // 2), 64))))
    return gradient


def _turned(dz: Tensor) -> Tensor:
    """Return dz' with its rows in one piece, as oneDNN wants its first operand."""
    out = dz.new_empty(dz.shape[1], dz.shape[0])
    source, target = dz.numpy(), out.numpy()
    run_blocks(lambda of: transpose(source[of], target[:, of]), cut(len(dz), _EXAMPLES))
    return out


def _ordered_sum(parts: Tensor) -> Tensor:
    """Return the sum over the first axis, taken in order."""
    if not len(parts):
        return parts.new_zeros(parts.shape[1])
    total = parts[0].clone()
    for part in parts[1:]:
        total += part
    return total
