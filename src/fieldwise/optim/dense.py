"""The optimizers of the dense part: torch's own, by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec
import torch
from msgspec import Meta
from torch import nn

_WIDE = 256
"""Inputs beyond which a matrix of Adam moves by less."""

__all__ = ["DenseOptimizerConfig", "build_dense_optimizer"]


class DenseOptimizerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which of torch's optimizers moves the dense weights, and how fast.

    Attributes
    ----------
    name
        ``adam``, ``adamw``, ``adagrad`` or ``sgd``.
    learning_rate
        > 0. With Adam and AdamW, a matrix with n > 256 inputs moves by 256 / n of it: every weight moves by about the
        rate, so what its output moves by grows with the number of inputs (Yang et al. 2021, "Tensor Programs V").
    weight_decay
        >= 0; for ``adamw`` decoupled from the gradient. Matrices only, not biases.
    """

    name: Literal["adam", "adamw", "adagrad", "sgd"] = "adamw"
    learning_rate: Annotated[float, Meta(gt=0)] = 1e-3
    weight_decay: Annotated[float, Meta(ge=0)] = 0.0


def build_dense_optimizer(
    parameters: Iterable[nn.Parameter], config: DenseOptimizerConfig
) -> torch.optim.Optimizer | None:
    """Return torch's optimizer over `parameters`; None where there are none."""
    parameters = list(parameters)
    if not parameters:
        return None
    rate = config.learning_rate
    by_inputs: dict[int, list[nn.Parameter]] = {}
    for parameter in parameters:
        by_inputs.setdefault(parameter.shape[1] if parameter.dim() > 1 else 0, []).append(parameter)
    shrinks = config.name in ("adam", "adamw")
    groups: list[dict[str, object]] = [
        {
            "params": members,
            "weight_decay": config.weight_decay if num_inputs else 0.0,
            "lr": rate * min(1.0, _WIDE / num_inputs) if shrinks and num_inputs else rate,
        }
        for num_inputs, members in by_inputs.items()
    ]
    match config.name:
        case "adam":
            return torch.optim.Adam(groups, lr=rate, fused=True)
        case "adamw":
            return torch.optim.AdamW(groups, lr=rate, fused=True)
        case "adagrad":
            return torch.optim.Adagrad(groups, lr=rate)
        case "sgd":
            return torch.optim.SGD(groups, lr=rate)
