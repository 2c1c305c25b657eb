"""Fully connected layers one after the other, ``x -> g1(x W1' + b1) -> g2(. W2' + b2) -> ...``, as one function.

A block of examples goes through all layers while it is in the cache, forward and then backward; what needs the whole
batch, the gradients of the matrices, comes last. For these x and dz are kept transposed, block by block as they are
made: the library then takes them as they are. Nothing else is kept as a whole. With dz = dy g'(z), for every layer::

    y = g(x W' + b)     blocks of examples: product, bias and activation in one call of the library         (B, O)
    dx = dz W           blocks of examples, after dz of the block; db = sum over examples of dz             (B, I)
    dW = dz' x          blocks of rows of dW, each over the whole batch; where dW is thin, blocks of
                        examples, added up in their order                                                   (O, I)

Blocks depend on the shapes alone and each is worked on by one thread, so results are the same for any number of
threads (`nn.blocks`).

How a product is taken depends on the processor (`nn.product`). In bfloat16 its sums are in float32; weights, gradients
and the sums of db stay float32.
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
from fieldwise.nn.product import product

__all__ = ["Layer", "chain"]

_EXAMPLES, _EXAMPLES_SMALL, _SMALL = 512, 1024, 1 << 17
"""Examples in a block; and where the matrices have fewer weights than that, so that a block is worth its calls."""
_ROWS = 256
"""Rows of dW in a block, at most; fewer and larger blocks copy x less often, inside oneDNN."""
_THIN = 8
"""Outputs up to which the library would do little but copy x for dW."""


class Layer(NamedTuple):
    """One layer: W (O, I), b (O,) or None, g or None for the identity, and the type that its product is taken in."""

    weight: Tensor
    bias: Tensor | None
    activation: Activation | None
    dtype: torch.dtype


def chain(x: Tensor, layers: list[Layer]) -> Tensor:
    """Return what the layers make of x (B, I), in the type of the last, (B, O)."""
    tensors = [tensor for layer in layers for tensor in (layer.weight, layer.bias)]
    if not torch.is_grad_enabled():  # weights say that they need gradients even so, and x would be kept for them
        tensors = [None if tensor is None else tensor.detach() for tensor in tensors]
    plan = [(layer.activation, layer.dtype) for layer in layers]
    y: Tensor = _Chain.apply(x, plan, *tensors)  # type: ignore[no-untyped-call]
    return y


class _Chain(torch.autograd.Function):
    """x, the activation and type of every layer, then its weight and bias, to y."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, plan: list[tuple[Activation | None, torch.dtype]], *tensors: Tensor) -> Tensor:
        needs = ctx.needs_input_grad
        differentiable = any(needs)
        layers = [
            Layer(weight.detach().to(dtype), None if bias is None else bias.detach().to(dtype), activation, dtype)
            for weight, bias, (activation, dtype) in zip(tensors[::2], tensors[1::2], plan, strict=True)
        ]
        x = x.contiguous()
        size = _block_size(layers)
        blocks = cut(len(x), size)
        # Tensors made in inference mode may be written by the thread that made them only.
        with torch.inference_mode(False):
            output = torch.empty(len(x), len(layers[-1].weight), dtype=layers[-1].dtype)
            kept = [_Kept.of(layer, len(x), len(blocks), needs[2 + 2 * n]) for n, layer in enumerate(layers)]

        def block(of: slice) -> None:
            part, number = x[of], of.start // size
            for layer, saved in zip(layers, kept, strict=True):
                part = part.to(layer.dtype)
                saved.keep_input(part, of, number)
                relu = layer.activation is RELU
                part = z = product(part, layer.weight, layer.bias, relu)
                if layer.activation is not None:
                    part = z if relu else layer.activation.apply(z)
                    if differentiable:
                        saved.activated[number] = part if layer.activation.keeps_output else z
            output[of] = part

        run_blocks(block, blocks)
        if differentiable:
            ctx.save_for_backward(*(layer.weight for layer in layers))
            ctx.plan, ctx.kept, ctx.x_dtype, ctx.num_examples = plan, kept, x.dtype, len(x)
            ctx.of_tensors = [None if tensor is None else tensor.dtype for tensor in tensors]
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        num_layers, num_examples = len(ctx.plan), ctx.num_examples
        layers = [Layer(weight, None, *of) for weight, of in zip(ctx.saved_tensors, ctx.plan, strict=True)]
        needs, size = ctx.needs_input_grad, _block_size(layers)
        blocks = cut(num_examples, size)
        steps = [
            _Backward(layer, kept, len(blocks), num_examples, ctx.of_tensors[2 * n], *needs[2 + 2 * n : 4 + 2 * n])
            for n, (layer, kept) in enumerate(zip(layers, ctx.kept, strict=True))
        ]
        # Layers below the first whose gradients are wanted are left alone.
        lowest = 0 if needs[0] else next(i for i, step in enumerate(steps) if step.needs_weight or step.needs_bias)
        dx = torch.empty(num_examples, layers[0].weight.shape[1], dtype=ctx.x_dtype) if needs[0] else None
        dy = gradients[0].contiguous()

        def block(of: slice) -> None:
            part, owned = dy[of], False  # what autograd handed over is not ours to write on
            for number in range(num_layers - 1, lowest - 1, -1):
                part = steps[number].dz(part, owned, of, of.start // size)
                if number > lowest or dx is not None:
                    part, owned = product(part, layers[number].weight.t()), True
            if dx is not None:
                dx[of] = part

        run_blocks(block, blocks)
        # The largest first: with small ones last no thread waits long for another.
        largest_first = sorted(steps, key=lambda step: step.weight.shape[1], reverse=True)
        run_blocks(
            lambda piece: piece[0].multiply(piece[1]),
            [(step, rows) for step in largest_first for rows in step.pieces()],
        )
        found: list[Tensor | None] = [dx, None]
        for step in steps:
            found += step.gradients()
        return tuple(found)


class _Kept(NamedTuple):
    """What a layer keeps of the forward pass.

    Attributes
    ----------
    turned
        (I, B): x', for dW; without numbers where nobody asks for it.
    inputs
        x of every block, for a thin dW; else empty.
    activated
        y or z of every block, as the activation asks.
    """

    turned: Tensor
    inputs: list[Tensor]
    activated: list[Tensor]

    @classmethod
    def of(cls, layer: Layer, num_examples: int, num_blocks: int, needs_weight: bool) -> _Kept:
        """Make room."""
        num_outputs, num_inputs = layer.weight.shape
        is_thin = num_outputs <= _THIN
        turned = torch.empty(num_inputs, num_examples if needs_weight and not is_thin else 0, dtype=layer.dtype)
        return cls(turned, [turned] * num_blocks if needs_weight and is_thin else [], [turned] * num_blocks)

    def keep_input(self, x: Tensor, of: slice, number: int) -> None:
        """Keep x of a block, in the type of the layer's product."""
        if self.inputs:
            self.inputs[number] = x
        if self.turned.numel():
            transpose(_array(x), _array(self.turned[:, of]))


class _Backward:
    """The backward pass of one layer: dz by blocks of examples, then dW by blocks of its rows."""

    def __init__(
        self,
        layer: Layer,
        kept: _Kept,
        num_blocks: int,
        num_examples: int,
        dtype: torch.dtype,
        needs_weight: bool,
        needs_bias: bool,
    ) -> None:
        self.layer, self.kept, self.needs_weight, self.needs_bias = layer, kept, needs_weight, needs_bias
        num_outputs, num_inputs = layer.weight.shape
        self.is_thin = num_outputs <= _THIN
        self.sums = torch.empty(num_blocks, num_outputs, dtype=dtype)
        num_parts = num_blocks if needs_weight and self.is_thin else 0
        self.parts = torch.empty(num_parts, num_outputs, num_inputs, dtype=dtype)
        num_turned = num_examples if needs_weight and not self.is_thin else 0
        self.turned = torch.empty(num_outputs, num_turned, dtype=layer.dtype)
        # Without examples nothing is written.
        self.weight = (torch.empty if num_turned else torch.zeros)(num_outputs, num_inputs, dtype=dtype)

    def dz(self, dy: Tensor, owned: bool, of: slice, number: int) -> Tensor:
        """Return dz of a block from its dy, which may be written on where it is `owned`."""
        activation, sums, dtype = self.layer.activation, self.sums[number], self.layer.dtype
        activated, of_weight = self.kept.activated[number], self.weight.dtype
        turned = self.turned[:, of] if self.turned.numel() else self.turned[:0, :0]
        if activation is RELU:
            dz = dy.to(dtype) if owned else dy.to(dtype, copy=True)
            relu_backward(_array(dz), _array(activated), sums.numpy(), _array(turned))
        else:
            dz = dy.to(dtype)
            if activation is not None:
                dz = torch.empty_like(dz)
                activation.backward(dy.to(dtype), activated, dz)
            if self.needs_bias:
                torch.sum(dz, 0, dtype=of_weight, out=sums)
            if turned.numel():
                transpose(_array(dz), _array(turned))
        if len(self.parts):
            x = self.kept.inputs[number]
            torch.mm(dz.t().to(of_weight), x.to(of_weight), out=self.parts[number])
        return dz

    def pieces(self) -> list[slice]:
        """Return the blocks of rows that `multiply` is asked for."""
        if not self.turned.numel():
            return []
        return cut(len(self.weight), min(_ROWS, max(-(-len(self.weight) // 2), 64)))

    def multiply(self, of: slice) -> None:
        """Set some rows of dW to those of ``dz' x``."""
        self.weight[of] = product(self.turned[of], self.kept.turned)

    def gradients(self) -> list[Tensor | None]:
        """Return dW and db, where they are wanted."""
        weight = _ordered_sum(self.parts) if self.is_thin else self.weight
        return [weight if self.needs_weight else None, _ordered_sum(self.sums) if self.needs_bias else None]


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
