"""The optimizers of the dense part: torch's own, by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec
import torch
from msgspec import Meta
from torch import nn

__all__ = ["DenseOptimizerConfig", "build_dense_optimizer"]


class DenseOptimizerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which of torch's optimizers moves the dense weights, and how fast.

    Attributes
    ----------
    name
        ``adam``, ``adamw``, ``adagrad`` or ``sgd``.
    learning_rate
        > 0.
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
    groups: list[dict[str, object]] = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    rate = config.learning_rate
    match config.name:
        case "adam":
            return torch.optim.Adam(groups, lr=rate, fused=True)
        case "adamw":
            return torch.optim.AdamW(groups, lr=rate, fused=True)
        case "adagrad":
            return torch.optim.Adagrad(groups, lr=rate)
        case "sgd":
            return torch.optim.SGD(groups, lr=rate)
