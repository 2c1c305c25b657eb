"""Two perceptrons side by side, and every unit of the one against every unit of the other.

Letters: B examples, O outputs, H heads; h the last hidden width, split into H parts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fieldwise.nn.deep import ACTIVATIONS
from fieldwise.nn.dropout import Dropout
from fieldwise.nn.linear import Linear
from fieldwise.nn.product import autocast_where_it_pays

__all__ = ["TwoStream"]


class TwoStream(nn.Module):
    """FinalMLP (Mao et al. 2023, equations 8 to 11), without its gates.

    ::

        s, t    = perceptron 1 (x), perceptron 2 (x)                                    (B, h) each
        logit_o = b_o + v_o . s + w_o . t + sum over heads i of   s_i' M_oi t_i

    The output weights v, w and M are zero at the start.

    Parameters
    ----------
    num_inputs, hidden, num_outputs, activation, dropout
        As of `deep.Perceptron`, for both streams; `hidden` names one layer or more.
    num_heads
        A divisor of the last width.
    """

    def __init__(
        self,
        num_inputs: int,
        hidden: Sequence[int],
        num_outputs: int,
        activation: str = "relu",
        dropout: float = 0.0,
        num_heads: int = 1,
    ) -> None:
        super().__init__()
        if not hidden or hidden[-1] % num_heads:
            raise ValueError(f"two streams need hidden layers, the last a multiple of {num_heads} wide, got {hidden}")

        def stream() -> nn.Sequential:
            layers: list[nn.Module] = []
            width = num_inputs
            for wide in hidden:
                layers += [Linear(width, wide), ACTIVATIONS[activation](), Dropout(dropout)]
                width = wide
            return nn.Sequential(*layers)

        self.first, self.second = stream(), stream()
        part = hidden[-1] // num_heads
        self.output = Linear(2 * hidden[-1], num_outputs, reduced=False)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        self.between = nn.Parameter(torch.zeros(num_heads, part, num_outputs * part))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, O) from x (B, num_inputs)."""
        first, second = self.first(x), self.second(x)
        num_outputs, (num_heads, part, _) = self.output.out_features, self.between.shape
        # (H, B, h/H) @ (H, h/H, O h/H) -> (H, B, O, h/H)
        with autocast_where_it_pays(x.device.type):
            left = torch.bmm(first.view(-1, num_heads, part).transpose(0, 1).type_as(self.between), self.between)
        left = left.view(num_heads, -1, num_outputs, part)
        right = second.view(-1, num_heads, 1, part).transpose(0, 1)
        between = (left * right).sum(dim=(0, 3))
        logits: Tensor = self.output(torch.cat((first, second), dim=1)) + between
        return logits
