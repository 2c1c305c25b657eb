"""The optimizers of the dense part: torch's own, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from inspect import unwrap
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fieldwise.kernels import optimizers as kernels
from fieldwise.training.config import DenseOptimizerConfig
from fieldwise.training.guard import sum_all

__all__ = ["DenseOptimizer", "NumberOptimizer", "build_dense_optimizer"]

_WIDE = 256
"""Inputs beyond which a matrix of Adam moves by less."""
_WRAPPED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
_PREFIX = "optimizer."

Arrays = dict[str, npt.NDArray[Any]]


class DenseOptimizer:
    """One of torch's optimizers, at multiples of its rates.

    Parameters
    ----------
    parameters
        What it moves; there may be none.
    config
        Which, and how fast.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], config: DenseOptimizerConfig) -> None:
        self.parameters, self.config = list(parameters), config
        self.torch = _build(self.parameters, config) if parameters else None
        self._rates = [group["lr"] for group in self.torch.param_groups] if self.torch else []

    def step(self, gradients: Sequence[Tensor], factor: float) -> Tensor | float:
        """Move the parameters by their gradients, at `factor` times the rates; return their sum (`guard.sum_all`)."""
        if self.torch is None:
            return 0.0
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient.to(parameter.dtype)
        for group, rate in zip(self.torch.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        self.torch.step()
        self.torch.zero_grad()
        return sum_all(self.parameters)

    def arrays(self) -> Arrays:
        """Return the optimizer's state, as arrays that a checkpoint can hold."""
        state: dict[int, dict[str, Tensor]] = self.torch.state_dict()["state"] if self.torch else {}
        return {
            f"{_PREFIX}{index}.{name}": tensor.cpu().numpy()
            for index, slots in state.items()
            for name, tensor in slots.items()
        }

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take the state of `arrays`; ValueError where it is that of other parameters."""
        if self.torch is None:
            return
        state: dict[int, dict[str, Tensor]] = {}
        moved = [parameter for group in self.torch.param_groups for parameter in group["params"]]
        for name, array in arrays.items():
            if name.startswith(_PREFIX):
                _, index, slot = name.split(".", 2)
                if array.ndim and array.shape != moved[int(index)].shape:
                    raise ValueError(f"{name} is of shape {array.shape}")
                state.setdefault(int(index), {})[slot] = torch.from_numpy(np.array(array))
        self.torch.load_state_dict({"state": state, "param_groups": self.torch.state_dict()["param_groups"]})


class NumberOptimizer(DenseOptimizer):
    """Adam, AdamW or Adagrad of a single number, the bias of logistic regression, by the kernels that move a table.

    Between those kernels torch's code has left the caches: its step for one number takes 150 to 300 microseconds there,
    a tenth of the whole (docs/log/2026-11/table.md#what-does-autograd-cost-logistic-regression). The state is
    torch's.
    """

    def __init__(self, parameter: nn.Parameter, config: DenseOptimizerConfig) -> None:
        super().__init__([], config)
        self.parameters = [parameter]
        self._number: npt.NDArray[np.floating] = parameter.detach().numpy()
        self._num_steps = 0
        self._names = ("sum",) if config.name == "adagrad" else ("exp_avg", "exp_avg_sq")
        self._row = np.zeros(1 + len(self._names))
        self._kept = np.zeros(len(self._row), dtype=self._number.dtype)

    def step(self, gradients: Sequence[Tensor], factor: float) -> float:
        """See `DenseOptimizer.step`; the state is kept in the number's own type, as torch does."""
        self._num_steps += 1
        self._row[0] = self._number[0]
        gradient, rate = float(gradients[0].numpy()[0]), self.config.learning_rate * factor
        if self.config.name == "adagrad":
            kernels.adagrad_number(self._row, gradient, rate, 1e-10)
        else:
            beta1, beta2 = 0.9, 0.999
            # torch adds epsilon to the root of what is corrected for the bias of the first steps.
            epsilon = 1e-8 * (1.0 - beta2**self._num_steps) ** 0.5
            kernels.adam_number(self._row, gradient, rate, epsilon, beta1, beta2, self._num_steps)
        self._kept[:] = self._row
        self._row[:] = self._kept
        self._number[0] = self._kept[0]
        return float(self._kept[0])

    def arrays(self) -> Arrays:
        """See `DenseOptimizer.arrays`."""
        if not self._num_steps:
            return {}
        state = {
            f"{_PREFIX}0.{name}": self._kept[place : place + 1].copy() for place, name in enumerate(self._names, 1)
        }
        return {f"{_PREFIX}0.step": np.array(self._num_steps, dtype=np.float32), **state}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """See `DenseOptimizer.restore`."""
        self._num_steps = int(arrays.get(f"{_PREFIX}0.step", 0))
        self._row[1:] = [arrays[f"{_PREFIX}0.{name}"][0] if self._num_steps else 0.0 for name in self._names]
        self._kept[1:] = self._row[1:]


def build_dense_optimizer(parameters: Iterable[nn.Parameter], config: DenseOptimizerConfig) -> DenseOptimizer:
    """Return the optimizer of a model's parameters."""
    parameters = list(parameters)
    one_number = len(parameters) == 1 and parameters[0].shape == (1,) and parameters[0].device.type == "cpu"
    if one_number and config.name != "sgd":
        return NumberOptimizer(parameters[0], config)
    return DenseOptimizer(parameters, config)


def _build(parameters: Sequence[nn.Parameter], config: DenseOptimizerConfig) -> Optimizer:
    """Return torch's optimizer over `parameters`."""
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
