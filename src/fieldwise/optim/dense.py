"""The optimizers of the dense part: torch's own, by name."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from fieldwise.optim.config import DenseOptimizerConfig

_WIDE = 256
"""Inputs beyond which a matrix of Adam moves by less."""

__all__ = ["build_dense_optimizer"]


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
