"""Fully connected layers one after the other, ``x -> g1(x W1' + b1) -> g2(. W2' + b2) -> ...``, as one function.

A block of examples goes through all layers while it is in the cache, forward and then backward; what needs the whole
batch, the gradients of the matrices, comes last. With dz = dy g'(z), for every layer::

    y = g(x W' + b)     blocks of examples: product, bias and activation in one call of the library         (B, O)
    dx = dz W           blocks of examples, after dz of the block; db = sum over examples of dz             (B, I)
    dW = dz' x          blocks of rows of dW, each over the whole batch; where dW is thin, blocks of
                        examples, added up in their order                                                   (O, I)

Blocks depend on the shapes alone and each is worked on by one thread, so results are the same for any number of
threads (`nn.blocks`).

In float32 the products are oneDNN's: torch's own are MKL's, which uses half of the width of an AMD processor's units
(docs/experiments.md). In bfloat16, with sums in float32 inside the library, both are oneDNN's; weights, gradients and
the sums of db stay float32.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy.typing as npt
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fieldwise.kernels.relu import relu_backward
from fieldwise.kernels.transpose import transpose
from fieldwise.nn.activations import RELU, Activation
from fieldwise.nn.blocks import cut, run_blocks

__all__ = ["Layer", "chain", "product"]

_EXAMPLES, _EXAMPLES_SMALL, _SMALL = 512, 1024, 1 << 17
"""Examples in a block; and where the matrices have fewer weights than that, so that a block is worth its calls."""
_ROWS = 256
"""Rows of dW in a block, at most; fewer and larger blocks copy x less often, inside oneDNN."""
_THIN = 8
"""Outputs up to which the library would do little but copy x for dW."""

_onednn: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)  # None in a build of torch without oneDNN


class Layer(NamedTuple):
    """One layer: W (O, I), b (O,) or None, g or None for the identity, and the type that its product is taken in."""

    weight: Tensor
    bias: Tensor | None
    activation: Activation | None
    dtype: torch.dtype


def chain(x: Tensor, layers: list[Layer]) -> Tensor:
    """Return what the layers make of x (B, I), in the type of the last, (B, O)."""
    tensors = [tensor for layer in layers for tensor in (layer.weight, layer.bias)]
    plan = [(layer.activation, layer.dtype) for layer in layers]
    y: Tensor = _Chain.apply(x, plan, *tensors)  # type: ignore[no-untyped-call]
    return y


class _Chain(torch.autograd.Function):
    """x, the activation and type of every layer, then its weight and bias, to y."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, plan: list[tuple[Activation | None, torch.dtype]], *tensors: Tensor) -> Tensor:
        differentiable = any(ctx.needs_input_grad)
        layers = [
            Layer(weight.detach().to(dtype), None if bias is None else bias.detach().to(dtype), activation, dtype)
            for weight, bias, (activation, dtype) in zip(tensors[::2], tensors[1::2], plan, strict=True)
        ]
        x = x.contiguous()
        # Tensors made in inference mode may be written by the thread that made them only.
        with torch.inference_mode(False):
            first = layers[0].dtype
            inputs = torch.empty_like(x, dtype=first) if x.dtype != first == torch.bfloat16 and differentiable else x
            outputs = [
                torch.empty(
                    len(x) if differentiable or layer is layers[-1] else 0, len(layer.weight), dtype=layer.dtype
                )
                for layer in layers
            ]
            # z, for activations whose gradient does not follow from y.
            sums = [
                torch.empty_like(y)
                if differentiable and layer.activation is not None and not layer.activation.keeps_output
                else None
                for layer, y in zip(layers, outputs, strict=True)
            ]

        def block(of: slice) -> None:
            part = x[of]
            if inputs is not x:
                part = inputs[of].copy_(part)
            for layer, y, z in zip(layers, outputs, sums, strict=True):
                relu = layer.activation is RELU
                part = product(part.to(layer.dtype), layer.weight, layer.bias, relu)
                if z is not None:
                    z[of] = part
                if layer.activation is not None and not relu:
                    part = layer.activation.apply(part)
                if len(y):
                    y[of] = part

        run_blocks(block, cut(len(x), _block_size(layers)))
        if differentiable:
            weights = [layer.weight for layer in layers]
            ctx.save_for_backward(inputs, *weights, *outputs, *(z for z in sums if z is not None))
            ctx.plan, ctx.x_dtype = plan, x.dtype
            ctx.of_tensors = [None if tensor is None else tensor.dtype for tensor in tensors]
        return outputs[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, *saved = ctx.saved_tensors
        num_layers = len(ctx.plan)
        weights, outputs, rest = saved[:num_layers], saved[num_layers : 2 * num_layers], saved[2 * num_layers :]
        layers = [Layer(weight, None, *of) for weight, of in zip(weights, ctx.plan, strict=True)]
        kept = [
            rest.pop(0) if layer.activation is not None and not layer.activation.keeps_output else y
            for layer, y in zip(layers, outputs, strict=True)
        ]
        needs, size = ctx.needs_input_grad, _block_size(layers)
        blocks = cut(len(x), size)
        steps = [
            _Backward(layer, blocks, len(x), ctx.of_tensors[2 * number], *needs[2 + 2 * number : 4 + 2 * number])
            for number, layer in enumerate(layers)
        ]
        # Layers below the first whose gradients are wanted are left alone.
        lowest = 0 if needs[0] else next(i for i, step in enumerate(steps) if step.needs_weight or step.needs_bias)
        dx = torch.empty_like(x, dtype=ctx.x_dtype) if needs[0] else None
        dy = gradients[0].contiguous()

        def block(of: slice) -> None:
            part, owned = dy[of], False  # what autograd handed over is not ours to write on
            for number in range(num_layers - 1, lowest - 1, -1):
                step = steps[number]
                below = x if number == 0 else outputs[number - 1]
                part = step.dz(part, owned, kept[number], below, of, of.start // size)
                if number > lowest or dx is not None:
                    part, owned = product(part, layers[number].weight.t()), True
            if dx is not None:
                dx[of] = part

        run_blocks(block, blocks)
        pieces = [
            (step, rows, x if number == 0 else outputs[number - 1])
            for number, step in enumerate(steps)
            for rows in step.pieces()
        ]
        run_blocks(lambda piece: piece[0].multiply(*piece[1:]), pieces)
        found: list[Tensor | None] = [dx, None]
        for step in steps:
            found += step.gradients()
        return tuple(found)


class _Backward:
    """The backward pass of one layer: dz by blocks of examples, then dW by blocks of its rows."""

    def __init__(
        self,
        layer: Layer,
        blocks: list[slice],
        num_examples: int,
        dtype: torch.dtype,
        needs_weight: bool,
        needs_bias: bool,
    ) -> None:
        self.layer, self.needs_weight, self.needs_bias = layer, needs_weight, needs_bias
        num_outputs, num_inputs = layer.weight.shape
        # oneDNN wants the rows of its first operand in one piece; in float32 it takes seconds otherwise.
        self.turns = _onednn is not None and layer.dtype == torch.float32
        self.is_thin = num_outputs <= _THIN
        self.sums = torch.empty(len(blocks), num_outputs, dtype=dtype)
        num_parts = len(blocks) if needs_weight and self.is_thin else 0
        self.parts = torch.empty(num_parts, num_outputs, num_inputs, dtype=dtype)
        num_kept = num_examples if needs_weight and not self.is_thin else 0
        self.kept = torch.empty((num_outputs, num_kept) if self.turns else (num_kept, num_outputs), dtype=layer.dtype)
        # Without examples nothing is written.
        self.weight = (torch.empty if num_kept else torch.zeros)(num_outputs, num_inputs, dtype=dtype)

    def dz(self, dy: Tensor, owned: bool, kept: Tensor, below: Tensor, of: slice, number: int) -> Tensor:
        """Return dz of a block from its dy, which may be written on where it is `owned`."""
        activation, sums, dtype, of_weight = (
            self.layer.activation,
            self.sums[number],
            self.layer.dtype,
            self.weight.dtype,
        )
        turned = self.kept[:, of] if self.turns and self.kept.numel() else self.kept[:0, :0]
        if activation is RELU:
            dz = dy.to(dtype) if owned else dy.to(dtype, copy=True)
            relu_backward(_array(dz), _array(kept[of]), sums.numpy(), _array(turned))
        else:
            dz = dy.to(dtype)
            if activation is not None:
                dz = torch.empty_like(dz)
                activation.backward(dy.to(dtype), kept[of], dz)
            if self.needs_bias:
                torch.sum(dz, 0, dtype=of_weight, out=sums)
            if turned.numel():
                transpose(dz.numpy(), turned.numpy())
        if not self.turns and self.kept.numel():
            self.kept[of] = dz
        if len(self.parts):
            torch.mm(dz.t().to(of_weight), below[of].to(of_weight), out=self.parts[number])
        return dz

    def pieces(self) -> list[slice]:
        """Return the blocks of rows that `multiply` is asked for."""
        if not self.kept.numel():
            return []
        return cut(len(self.weight), min(_ROWS, max(-(-len(self.weight) // 2), 64)))

    def multiply(self, of: slice, x: Tensor) -> None:
        """Set some rows of dW to those of ``dz' x``."""
        turned = self.kept[of] if self.turns else self.kept.t()[of]
        self.weight[of] = product(turned, x.to(self.layer.dtype).t())

    def gradients(self) -> list[Tensor | None]:
        """Return dW and db, where they are wanted."""
        weight = _ordered_sum(self.parts) if self.is_thin else self.weight
        return [weight if self.needs_weight else None, _ordered_sum(self.sums) if self.needs_bias else None]


def product(a: Tensor, w: Tensor, bias: Tensor | None = None, relu: bool = False) -> Tensor:
    """Return ``a w'`` of a (M, N) and w (O, N), with the bias added and negative numbers cleared where asked for: one
    call of a library, on the threads that torch has here.
    """
    if (_onednn is not None and a.dtype == torch.float32) or (bias is not None and a.dtype == torch.bfloat16):
        out: Tensor = _onednn(a, w, bias, "relu" if relu else "none", [], "")
        return out
    out = a @ w.t() if bias is None else torch.addmm(bias, a, w.t())
    return out.relu_() if relu else out


def _array(tensor: Tensor) -> npt.NDArray[Any]:
    """Return a tensor's numbers, those of bfloat16 as uint16."""
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _block_size(layers: list[Layer]) -> int:
    return _EXAMPLES if sum(layer.weight.numel() for layer in layers) >= _SMALL else _EXAMPLES_SMALL


def _ordered_sum(parts: Tensor) -> Tensor:
    """Return the sum over the first axis, taken in order."""
    if not len(parts):
        return parts.new_zeros(parts.shape[1:])
    total = parts[0].clone()
    for part in parts[1:]:
        total += part
    return total
