"""The activations that a chain of layers takes in (`nn.chain`): their values, and torch's own code for gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["FUSED", "RELU", "Activation"]

_aten = torch.ops.aten
_relu, _tanh, _sigmoid = (_aten.threshold_backward, _aten.tanh_backward, _aten.sigmoid_backward)
_silu, _gelu = _aten.silu_backward, _aten.gelu_backward


class Activation(NamedTuple):
    """g; what sets dz (last) by dy and what is kept of the forward pass, y where g' follows from it, else z."""

    apply: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor, Tensor], object]
    keeps_output: bool


RELU = Activation(torch.relu, lambda dy, y, dz: _relu.grad_input(dy, y, 0, grad_input=dz), True)

FUSED: dict[type[nn.Module], Activation] = {
    nn.ReLU: RELU,
    nn.Tanh: Activation(torch.tanh, lambda dy, y, dz: _tanh.grad_input(dy, y, grad_input=dz), True),
    nn.Sigmoid: Activation(torch.sigmoid, lambda dy, y, dz: _sigmoid.grad_input(dy, y, grad_input=dz), True),
    nn.SiLU: Activation(functional.silu, lambda dy, z, dz: _silu.grad_input(dy, z, grad_input=dz), False),
    nn.GELU: Activation(functional.gelu, lambda dy, z, dz: _gelu.grad_input(dy, z, grad_input=dz), False),
}
