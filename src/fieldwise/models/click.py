"""The models: a table under a wide and a deep part, ending in a logit.

Letters: B examples, F fields, D features, K units per field, W wide units, O outputs (1 for two classes, else one per
class).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from fieldwise.calibration import Calibration
from fieldwise.errors import ConfigError
from fieldwise.kernels.layout import Batch, Layout
from fieldwise.models.config import ModelConfig
from fieldwise.nn.deep import ACTIVATIONS, Perceptron, Residual, Standardise
from fieldwise.nn.table import Table

__all__ = ["ClickModel", "build_model", "num_outputs"]


def num_outputs(num_classes: int) -> int:
    """Return O: one logit for two classes, one for each of more."""
    return 1 if num_classes == 2 else num_classes


class ClickModel(nn.Module):
    """Logits of a batch: ``bias + wide + skip + deep``, each where the model has it.

    With ``local, full = table(batch)`` (`nn.table`)::

        wide = full                                   lr, lc-wide-deep (W = O)
        skip = sum over fields f of local[:, f K]     lr-network; lc-dnn and lc-resnet where config.skip says so
        deep = network(standardise(local))            lc-*
        deep = network(g(full + hidden_bias))         dnn (W = hidden[0])

    Parameters
    ----------
    config, layout
        What the model is, and the fields it sees.
    num_outputs
        O.
    dtype
        Of weights and arithmetic: torch.float32, or torch.float64 for checking.
    """

    def __init__(
        self, config: ModelConfig, layout: Layout, num_outputs: int = 1, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.config = config
        self.calibration = Calibration()  # from logits to probabilities; training has no part in it
        self.num_outputs = num_outputs
        kind, num_fields = config.kind, layout.num_fields
        num_local = config.units if config.locally_connected else num_outputs if kind == "lr-network" else 0
        num_full = {"lr": num_outputs, "lc-wide-deep": num_outputs}.get(kind, 0)
        if kind == "dnn":
            if not config.hidden:
                raise ConfigError(
                    "a dnn has one hidden layer or more", where="model.hidden", expected="[widths]", got="[]"
                )
            num_full = config.hidden[0]
        self.table = Table(layout, num_local, num_full, np.float64 if dtype == torch.float64 else np.float32)
        self.bias = nn.Parameter(torch.zeros(num_outputs))
        self.hidden_bias: nn.Parameter | None = None
        self.standardise: nn.Module | None = None
        self.network: nn.Module | None = None
        if kind == "dnn":
            self.hidden_bias = nn.Parameter(torch.zeros(num_full))
            self.activation = ACTIVATIONS[config.activation]()
            self.network = Perceptron(num_full, config.hidden[1:], num_outputs, config.activation, config.dropout)
        elif config.locally_connected:
            part = Residual if kind == "lc-resnet" else Perceptron
            self.standardise = Standardise(num_fields * num_local) if config.standardise else None
            self.network = part(num_fields * num_local, config.hidden, num_outputs, config.activation, config.dropout)
        # Unit 0 is one number, so the skip serves two classes. Beside a wide part it would say the same twice: LC-W&D
        # with K = 1 then ends at .8737 on MovieLens-1M, in place of .8762 (docs/experiments.md).
        skips = kind in ("lc-dnn", "lc-resnet") and config.skip and num_outputs == 1
        self.num_skip = num_outputs if kind == "lr-network" else int(skips)
        self.to(dtype)

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits (B, O)."""
        local, full = self.table(batch)
        logits: Tensor = self.bias.expand(batch.num_examples, self.num_outputs)
        if self.hidden_bias is not None:
            return logits + self.network_output(self.activation(full + self.hidden_bias))
        if full.shape[1]:
            logits = logits + full
        if self.num_skip:
            units = local.view(batch.num_examples, self.table.layout.num_fields, self.table.num_local)
            logits = logits + units[:, :, : self.num_skip].sum(dim=1)
        if self.network is not None:
            logits = logits + self.network_output(local if self.standardise is None else self.standardise(local))
        return logits

    def network_output(self, x: Tensor) -> Tensor:
        """Return the deep part's (B, O), brought back from a lower precision if autocast chose one."""
        assert self.network is not None
        output: Tensor = self.network(x)
        return output.to(self.bias.dtype)


def build_model(
    config: ModelConfig, layout: Layout, num_classes: int, seed: int = 0, dtype: torch.dtype = torch.float32
) -> ClickModel:
    """Build a model with its dense weights drawn from `seed`; its table has no memory until an optimizer or a bundle
    gives it.

    Examples
    --------
    >>> from fieldwise.kernels.layout import SINGLE
    >>> model = build_model(ModelConfig(units=2, hidden=(3,)), Layout.of([SINGLE, SINGLE], [10, 10]), num_classes=2)
    >>> model.table.num_parameters, [tuple(p.shape) for p in model.network.parameters()]
    (40, [(3, 4), (3,), (1, 3), (1,)])
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ClickModel(config, layout, num_outputs(num_classes), dtype)
