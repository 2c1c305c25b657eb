"""The models: a table under a wide and a deep part, ending in a logit.

Letters: B examples, F fields, D features, K units per field, W wide units, O outputs (1 for two classes, else one per
class).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fieldwise.calibration import Calibration
from fieldwise.errors import ConfigError
from fieldwise.kernels.histories import Complete, History
from fieldwise.kernels.layout import Batch, Layout
from fieldwise.models.config import ModelConfig
from fieldwise.models.parts import deep_part
from fieldwise.nn.blend import Blend
from fieldwise.nn.deep import ACTIVATIONS, Perceptron, Standardise
from fieldwise.nn.dropout import Dropout
from fieldwise.nn.gate import FieldGate
from fieldwise.nn.histories import Histories
from fieldwise.nn.pairs import FieldPairs
from fieldwise.nn.table import Table

__all__ = ["ClickModel", "build_model", "num_outputs"]


def num_outputs(num_classes: int) -> int:
    """Return O: one logit for two classes, one for each of more."""
    return 1 if num_classes == 2 else num_classes


class ClickModel(nn.Module):
    """Logits of a batch: ``bias + wide + skip + pairs + deep``, each where the model has it.

    With ``local, full = table(batch)`` (`nn.table`)::

        wide = full                                   lr, lc-wide-deep (W = O)
        skip = sum over fields f of local[:, f K]     lr-network; lc-dnn and lc-resnet where config.skip says so
        pairs = sum over fields f < g of weight[f, g] u_f . u_g      lc-* where config.pairs says so; u_f are field f's
                                                                     units but unit 0, which starts as LR's weights,
                                                                     and the last deep_units
        deep = network(gate(standardise(local)))      lc-*
        deep = network(g(full + hidden_bias))         dnn (W = hidden[0])

    A model may have *members*, which are trained on a loss each, and whose mean is the logit: those of an ensemble; or,
    where ``config.losses`` is ``apart``, all terms without the deep part, and all with it.

    A model that starts from a posterior (``config.start``) has two members: the factorisation machine of unit 0 and the
    units of pairs, which nothing moves any more; and all other terms, which read the deep part's own units alone, the
    first of them in unit 0's place. What was sampled knows its training rows, so what read it would learn to trust it
    too much. How much each member counts is fitted to validation rows (`nn.blend`).

    Parameters
    ----------
    config, layout
        What the model is, and the fields it sees.
    num_outputs
        O.
    dtype
        Of weights and arithmetic: torch.float32, or torch.float64 for checking.
    histories
        Those that the model adds, a field each, to the fields of `layout` (`nn.histories`).

    Attributes
    ----------
    is_fixed
        Whether unit 0, the wide part and the units of pairs keep what they started with, the mean of a posterior.
    penalty
        (B,), what the last pass in training adds to the loss of each example: ``unit_l2 / 2`` times the sum of the
        squares of its units but unit 0, which logistic regression has learnt with a penalty of its own. None where
        nothing is.
    """

    def __init__(
        self,
        config: ModelConfig,
        layout: Layout,
        num_outputs: int = 1,
        dtype: torch.dtype = torch.float32,
        histories: Sequence[History] = (),
    ) -> None:
        super().__init__()
        config = config.for_fields(layout.num_fields)
        self.config = config
        self.calibration = Calibration()  # from logits to probabilities; training has no part in it
        self.num_outputs = num_outputs
        self.penalty: Tensor | None = None
        has_pairs = config.has_pairs(layout.num_fields)
        self.histories = Histories(layout, histories) if histories else None
        if self.histories is not None:
            layout = self.histories.layout
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
        self.gate: nn.Module | None = None
        self.pairs: FieldPairs | None = None
        self.unit_dropout = Dropout(config.unit_dropout)
        if kind == "dnn":
            self.hidden_bias = nn.Parameter(torch.zeros(num_full))
            self.activation = ACTIVATIONS[config.activation]()
            self.network = Perceptron(num_full, config.hidden[1:], num_outputs, config.activation, config.dropout)
        elif config.locally_connected:
            own = num_local - config.num_shared if config.is_posterior(num_fields) else num_local
            num_units = num_fields * own
            self.network = deep_part(config, num_units, num_outputs) if own else None
            if self.network is not None:
                self.standardise = Standardise(num_units) if config.standardise else None
                self.gate = FieldGate(num_fields, own) if config.gate else None
        # Unit 0 is one number, so the skip serves two classes. Beside a wide part it would say the same twice: LC-W&D
        # with K = 1 then ends at .8737 on MovieLens-1M, in place of .8762 (docs/experiments.md).
        skips = kind in ("lc-dnn", "lc-resnet") and config.skip and num_outputs == 1
        self.num_skip = num_outputs if kind == "lr-network" else int(skips)
        self.num_shared = config.num_shared if config.locally_connected else num_local
        if has_pairs:
            if self.num_shared < 2:
                raise ConfigError(
                    "the deep part's own units leave none for the pairs",
                    where="model.deep_units",
                    expected=f"0 to {num_local - 2}, with {num_local} units",
                    got=config.deep_units,
                )
            self.pairs = FieldPairs(num_fields, num_outputs, weighted=config.pairs == "weighted")
        self.is_fixed = config.is_posterior(num_fields)
        self.blend = Blend(1 if self.network is None else 2) if self.is_fixed else None
        self.to(dtype)

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits (B, O) of a batch of the log's fields."""
        members = self.members(self.complete(batch))
        logits: Tensor = members.mean(dim=1) if self.blend is None else self.blend(members)
        return logits

    def complete(self, batch: Batch) -> Complete:
        """Return a batch of the log's fields with what the fields that the model adds are made of."""
        return Complete(batch, batch.num_examples) if self.histories is None else self.histories.complete(batch)

    def members(self, given: Complete) -> Tensor:
        """Return the logits of every member (B, M, O) for a complete batch; M = 1 where the model has none."""
        local, full = self.table(given.batch)
        num_examples, num_fields = given.num_examples, self.table.layout.num_fields
        units = local.view(given.batch.num_examples, num_fields, self.table.num_local)
        if self.histories is not None:
            units = self.histories(units, given)
            local, full = units.flatten(1), full[:num_examples]
        self.penalty = None
        if self.training and self.pairs is not None and self.config.unit_l2 and not self.is_fixed:
            # Histories go free: a sum of many rows that learn from many examples each (docs/experiments.md).
            of_log = units if self.histories is None else units[:, : self.histories.log_layout.num_fields]
            self.penalty = 0.5 * self.config.unit_l2 * of_log[:, :, 1:].square().sum(dim=(1, 2))
        logits: Tensor = self.bias.expand(num_examples, self.num_outputs)
        if self.hidden_bias is not None:
            return (logits + self.network_output(self.activation(full + self.hidden_bias))).unsqueeze(1)
        if self.is_fixed:
            return self._beside_posterior(logits, units, full)
        if full.shape[1]:
            logits = logits + full
        if self.num_skip:
            logits = logits + units[:, :, : self.num_skip].sum(dim=1)
        deep = None if self.network is None else self.network_output(self.deep_input(local))
        if deep is not None and deep.dim() == 2:
            deep = deep.unsqueeze(1)
        logits = logits.unsqueeze(1)
        if self.pairs is None:
            return logits if deep is None else torch.add(logits, deep)
        pairs: Tensor = logits + self.pairs(units[:, :, 1 : self.num_shared]).unsqueeze(1)
        if deep is None:
            return pairs
        if self.config.losses == "joint":
            return pairs + deep
        # One half of the loss, whatever the number of members in the deep part.
        return torch.cat((pairs.expand(-1, deep.shape[1], -1), pairs + deep), dim=1)

    def _beside_posterior(self, bias: Tensor, units: Tensor, full: Tensor) -> Tensor:
        """Return the two members (B, 2, 1), or the one where there is no deep part."""
        assert self.pairs is not None
        sampled, own = units[:, :, : self.num_shared].detach(), units[:, :, self.num_shared :]
        machine: Tensor = sampled[:, :, :1].sum(dim=1) + self.pairs(sampled[:, :, 1:])
        if self.network is None:
            return (bias + machine).unsqueeze(1)
        machine = bias.detach() + machine
        deep = self.network_output(self.deep_input(own.flatten(1)))
        if deep.dim() == 3:
            deep = deep.mean(dim=1)
        logits = bias + deep
        if full.shape[1]:
            logits = logits + full
        if self.num_skip:
            logits = logits + own[:, :, :1].sum(dim=1)
        return torch.stack((machine, logits), dim=1)

    def deep_input(self, local: Tensor) -> Tensor:
        """Return what the deep part reads, (B, F K), from the units as they are."""
        x: Tensor = local
        if self.pairs is not None and not self.is_fixed and self.config.deep_units != "all":
            units = local.view(len(local), self.table.layout.num_fields, self.table.num_local)
            x = torch.cat((units[:, :, : self.num_shared].detach(), units[:, :, self.num_shared :]), dim=2)
            x = x.view_as(local)
        if self.standardise is not None:
            x = self.standardise(x)
        x = self.unit_dropout(x)
        if self.gate is not None:
            x = self.gate(x)
        return x

    def network_output(self, x: Tensor) -> Tensor:
        """Return the deep part's (B, O) or (B, M, O), brought back from a lower precision if autocast chose one."""
        assert self.network is not None
        output: Tensor = self.network(x)
        return output.to(self.bias.dtype)


def build_model(
    config: ModelConfig,
    layout: Layout,
    num_classes: int,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    histories: Sequence[History] = (),
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
        return ClickModel(config, layout, num_outputs(num_classes), dtype, histories)
