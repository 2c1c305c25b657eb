"""The optimizers of the dense part: torch's own, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from inspect import unwrap
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from fieldwise.optim.config import DenseOptimizerConfig

_WIDE = 256
"""Inputs beyond which a matrix of Adam moves by less."""
_WRAPPED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")

__all__ = ["build_dense_optimizer"]


def build_dense_optimizer(parameters: Iterable[nn.Parameter], config: DenseOptimizerConfig) -> Optimizer | None:
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
            return _plain(torch.optim.Adam)(groups, lr=rate, fused=True)
        case "adamw":
            return _plain(torch.optim.AdamW)(groups, lr=rate, fused=True)
        case "adagrad":
            return _plain(torch.optim.Adagrad)(groups, lr=rate)
        case "sgd":
            return _plain(torch.optim.SGD)(groups, lr=rate)


@cache
def _plain(kind: Any) -> Callable[..., Optimizer]:
    """Return one of torch's optimizers without what its methods are wrapped in for torch's compiler.

    The first call of what is wrapped imports that, which takes a process a second.
    """
    methods = {name: unwrap(getattr(kind, name)) for name in _WRAPPED}
    return type(kind.__name__, (kind,), {**methods, "step": torch.no_grad()(unwrap(kind.step))})
