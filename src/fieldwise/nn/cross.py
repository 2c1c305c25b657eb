"""Cross layers: products of inputs, one degree more with every layer.

Letters: B examples, n inputs.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from fieldwise.nn.deep import Perceptron
from fieldwise.nn.linear import Linear

__all__ = ["Cross", "CrossLayers"]

_NUM_LAYERS = 2


class CrossLayers(nn.Module):
    """DCN-V2 (Wang et al. 2021, equations 1 and 2): ``x_(l+1) = x_0 * (W_l x_l + b_l) + x_l``, * by element.

    Parameters
    ----------
    num_inputs
        n.
    num_layers
        1 or more; the last output holds products of up to ``num_layers + 1`` inputs.
    """

    def __init__(self, num_inputs: int, num_layers: int = _NUM_LAYERS) -> None:
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"num_layers (={num_layers}) must be 1 or more")
        self.layers = nn.ModuleList(Linear(num_inputs, num_inputs) for _ in range(num_layers))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, n) from x (B, n)."""
        crossed = x
        for layer in self.layers:
            crossed = x * layer(crossed) + crossed
        return crossed


class Cross(nn.Sequential):
    """Cross layers under a perceptron (the stacked structure of DCN-V2).

    Parameters
    ----------
    num_inputs, hidden, num_outputs, activation, dropout
        As of `deep.Perceptron`.
    """

    def __init__(
        self, num_inputs: int, hidden: Sequence[int], num_outputs: int, activation: str = "relu", dropout: float = 0.0
    ) -> None:
        super().__init__(CrossLayers(num_inputs), Perceptron(num_inputs, hidden, num_outputs, activation, dropout))
