"""The deep parts: what stands on the locally connected layer and ends in a logit.

Each takes ``x`` (B, num_inputs) and returns (B, num_outputs). Another one is in `nn.cross`; `models.registry` has their
names.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from torch import Tensor, nn

from fieldwise.nn.activations import FUSED
from fieldwise.nn.blocks import is_exporting
from fieldwise.nn.chain import Layer, chain
from fieldwise.nn.dropout import Dropout
from fieldwise.nn.linear import Linear

__all__ = ["ACTIVATIONS", "Perceptron", "Residual", "ResidualBlock", "count_weights"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


def _output(num_inputs: int, num_outputs: int) -> Linear:
    """Return the last matrix, all zero: the network then starts as its wide part alone."""
    layer = Linear(num_inputs, num_outputs, reduced=False)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class Perceptron(nn.Sequential):
    """The paper's deep part: ``l = g(W' l + b)`` for every hidden layer, then ``W' l + b``.

    Parameters
    ----------
    num_inputs, hidden, num_outputs
        Widths; ``hidden`` may be empty, which leaves one matrix.
    activation
        A name in `ACTIVATIONS`.
    dropout
        Share of hidden units silenced in training, 0 <= dropout < 1.
    """

    def __init__(
        self, num_inputs: int, hidden: Sequence[int], num_outputs: int, activation: str = "relu", dropout: float = 0.0
    ) -> None:
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [Linear(num_inputs, width), ACTIVATIONS[activation]()]
            if dropout:
                layers.append(Dropout(dropout))
            num_inputs = width
        super().__init__(*layers, _output(num_inputs, num_outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, num_outputs)."""
        if x.device.type != "cpu" or is_exporting():  # an exported model is plain torch
            plain: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
            return plain
        layers, links = deque(self), list[Layer]()
        while layers:
            layer = layers.popleft()
            if isinstance(layer, Linear):
                follows = FUSED.get(type(layers[0])) if layers else None
                links.append(layer.layer(follows))
                if follows is not None:
                    layers.popleft()
            else:  # dropout
                x, links = layer(chain(x, links)), []
        return chain(x, links)


class ResidualBlock(nn.Module):
    """``x + W2' g(W1' g(x) + b1) + b2``, a block of `Residual`."""

    def __init__(self, width: int, inner: int, activation: str, dropout: float) -> None:
        super().__init__()
        self.expand = Linear(width, inner)
        self.contract = Linear(inner, width)
        self.activation = ACTIVATIONS[activation]()
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, width) from x (B, width)."""
        update: Tensor = self.contract(self.dropout(self.expand(self.activation(x), self.activation)))
        return x + update


class Residual(nn.Module):
    """Residual blocks (He et al. 2016, full pre-activation): ``x = x + W2' g(W1' g(x) + b1) + b2`` for every hidden
    layer.

    A matrix brings the input to the width of the trunk, ``hidden[0]``; every entry of ``hidden`` is the inner width
    of one block; an activation and a last matrix follow. ``hidden`` must name one block or more.
    """

    def __init__(
        self, num_inputs: int, hidden: Sequence[int], num_outputs: int, activation: str = "relu", dropout: float = 0.0
    ) -> None:
        super().__init__()
        if not hidden:
            raise ValueError("a residual network has one block or more, hidden is empty")
        self.trunk = Linear(num_inputs, hidden[0])
        self.blocks = nn.Sequential(*(ResidualBlock(hidden[0], inner, activation, dropout) for inner in hidden))
        self.activation = ACTIVATIONS[activation]()
        self.output = _output(hidden[0], num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, num_outputs)."""
        logits: Tensor = self.output(self.activation(self.blocks(self.trunk(x))))
        return logits


def count_weights(module: nn.Module) -> tuple[int, int]:
    """Return the weights of a module, and its biases and normalisation apart."""
    sizes = [
        (parameter.dim() > 1 and not name.endswith("bias"), parameter.numel())
        for name, parameter in module.named_parameters()
    ]
    return sum(size for matrix, size in sizes if matrix), sum(size for matrix, size in sizes if not matrix)
