"""The fully connected layer as a module, ``y = g(x W' + b)``: a chain of one (`nn.chain`)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fieldwise.nn.activations import FUSED, Activation
from fieldwise.nn.blocks import is_exporting
from fieldwise.nn.chain import Layer, chain

__all__ = ["Linear", "owns_products"]


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
        if x.device.type != "cpu" or is_exporting():  # an exported model is plain torch
            plain = self.plain(x)
            return plain if fused is None else fused.apply(plain)
        flat = x.reshape(-1, self.in_features)
        return chain(flat, [self.layer(fused)]).view(*x.shape[:-1], self.out_features)

    def layer(self, activation: Activation | None = None) -> Layer:
        """Return what the layer is in a chain, here and now: autocast decides on the type of its product."""
        dtype = self.weight.dtype
        if self.reduced and dtype == torch.float32 and torch.is_autocast_enabled("cpu"):
            dtype = torch.get_autocast_dtype("cpu")
        return Layer(self.weight, self.bias, activation, dtype)

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
