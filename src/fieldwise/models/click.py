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
from fieldwise.nn.deep import ACTIVATIONS, Perceptron
from fieldwise.nn.dropout import Dropout
from fieldwise.nn.histories import Histories
from fieldwise.nn.pairs import FieldPairs
from fieldwise.nn.posterior import PosteriorTerm
from fieldwise.nn.standardise import Standardise
from fieldwise.nn.table import Table
from fieldwise.nn.units import Reading, read_units

__all__ = ["ClickModel", "build_model", "num_outputs"]


def num_outputs(num_classes: int) -> int:
    """Return O: one logit for two classes, one for each of more."""
    return 1 if num_classes == 2 else num_classes


class ClickModel(nn.Module):
    """Logits of a batch: ``bias + wide + skip + pairs + deep``, each where the model has it.

    With ``local, full = table(batch)`` (`nn.table`)::

        wide = full                                   lr, lc-wide-deep (W = O)
        skip = sum over fields f of local[:, f K]     lc-dnn and lc-resnet where config.skip says so
        pairs = sum over fields f < g of u_f . u_g    lc-* where config.pairs says so; u_f are field f's units but unit
                                                      0, which starts as LR's weights, and the last deep_units
        deep = network(standardise(local))            lc-*
        deep = network(g(full + hidden_bias))         dnn (W = hidden[0])

    Where ``config.losses`` is ``apart``, a model has two *members*, which are trained on a loss each, and whose mean is
    the logit: all terms without the deep part, and all with it.

    A model that starts from a posterior (``config.start``) also keeps that (`nn.posterior`), in the first numbers of
    the table's rows, and trains as any other beside it. What was sampled knows its training rows, so nothing that is
    trained reads it; how much it and each member count is fitted to validation rows (`nn.blend`).

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
        log_fields = layout.num_fields
        self.histories = Histories(layout, histories) if histories else None
        if self.histories is not None:
            layout = self.histories.layout
        kind, num_fields = config.kind, layout.num_fields
        num_local = config.units if config.locally_connected else 0
        num_full = {"lr": num_outputs, "lc-wide-deep": num_outputs}.get(kind, 0)
        if kind == "dnn":
            if not config.hidden:
                raise ConfigError(
                    "a dnn has one hidden layer or more", where="model.hidden", expected="[widths]", got="[]"
                )
            num_full = config.hidden[0]
        # In a row of the table what was sampled comes first.
        self.num_posterior = config.num_posterior(log_fields)
        self.posterior = PosteriorTerm(log_fields) if self.num_posterior else None
        self.table = Table(
            layout, self.num_posterior + num_local, num_full, np.float64 if dtype == torch.float64 else np.float32
        )
        self.bias = nn.Parameter(torch.zeros(num_outputs))
        self.hidden_bias: nn.Parameter | None = None
        self.standardise: Standardise | None = None
        self.network: nn.Module | None = None
        self.pairs: FieldPairs | None = None
        self.unit_dropout = Dropout(config.unit_dropout)
        if kind == "dnn":
            self.hidden_bias = nn.Parameter(torch.zeros(num_full))
            self.activation = ACTIVATIONS[config.activation]()
            self.network = Perceptron(num_full, config.hidden[1:], num_outputs, config.activation, config.dropout)
        elif config.locally_connected:
            self.network = deep_part(config, num_fields * num_local, num_outputs)
            if self.network is not None and config.standardise:
                self.standardise = Standardise(num_fields * num_local)
        # Unit 0 is one number, so the skip serves two classes. Beside a wide part it would say the same twice: LC-W&D
        # with K = 1 then ends at .8737 on MovieLens-1M, in place of .8762
        # (docs/log/2026-11.md#how-good-are-the-first-defaults-on-movielens-1m).
        skips = kind in ("lc-dnn", "lc-resnet") and config.skip and num_outputs == 1
        self.num_skip = int(skips)
        self.num_shared = config.num_shared if config.locally_connected else num_local
        if config.trains_pairs(log_fields, len(histories)):
            if self.num_shared < 2:
                raise ConfigError(
                    "the deep part's own units leave none for the pairs",
                    where="model.deep_units",
                    expected=f"0 to {num_local - 2}, with {num_local} units",
                    got=config.deep_units,
                )
            self.pairs = FieldPairs(num_fields, num_outputs)
        self.reading = self._reading() if self.standardise is not None else None
        self.blend = Blend(1 + self.num_members) if self.posterior is not None else None
        self.to(dtype)

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits (B, O) of a batch of the log's fields."""
        return self.blended(self.complete(batch))

    def blended(self, given: Complete) -> Tensor:
        """Return the logits (B, O) of all members together for a complete batch."""
        members = self.voices(given)
        logits: Tensor = members.mean(dim=1) if self.blend is None else self.blend(members)
        return logits

    @property
    def num_members(self) -> int:
        """M, the members that are trained."""
        return 2 if self.pairs is not None and self.network is not None and self.config.losses == "apart" else 1

    def complete(self, batch: Batch) -> Complete:
        """Return a batch of the log's fields with what the fields that the model adds are made of."""
        return Complete(batch, batch.num_examples) if self.histories is None else self.histories.complete(batch)

    def members(self, given: Complete) -> Tensor:
        """Return the logits of every member that is trained (B, M, O) for a complete batch; M = 1 where there is one
        logit alone.
        """
        return self._members(*self._units(given))

    def voices(self, given: Complete) -> Tensor:
        """Return the logits (B, 1 + M, O) of the posterior, where there is one, and of every member."""
        units, full = self._units(given)
        members = self._members(units, full)
        if self.posterior is None:
            return members
        sampled = units[:, : self.posterior.num_fields, : self.num_posterior]
        return torch.cat((self.posterior(sampled).unsqueeze(1), members), dim=1)

    def _units(self, given: Complete) -> tuple[Tensor, Tensor]:
        """Return all numbers of the fields (B, F, P + K), histories among them, and those of the wide part."""
        local, full = self.table(given.batch)
        shape = given.batch.num_examples, self.table.layout.num_fields, self.table.num_local
        if self.histories is None:
            return local.view(shape), full
        return self.histories(local.view(shape), given), full[: given.num_examples]

    def _members(self, whole: Tensor, full: Tensor) -> Tensor:
        num_examples = len(whole)
        units = whole[:, :, self.num_posterior :]
        self.penalty = None
        if self.training and self.pairs is not None and self.config.unit_l2:
            # Histories go free: a sum of many rows that learn from many examples each
            # (docs/log/2026-11.md#what-do-co-occurrence-bags-add).
            of_log = units if self.histories is None else units[:, : self.histories.log_layout.num_fields]
            self.penalty = 0.5 * self.config.unit_l2 * of_log[:, :, 1:].square().sum(dim=(1, 2))
        logits: Tensor = self.bias.expand(num_examples, self.num_outputs)
        if self.hidden_bias is not None:
            return (logits + self.network_output(self.activation(full + self.hidden_bias))).unsqueeze(1)
        if full.shape[1]:
            logits = logits + full
        skip, x = self._skip_and_deep_input(whole)
        if skip is not None:
            logits = logits + skip
        deep = None if x is None else self.network_output(x)
        if self.pairs is not None:
            logits = logits + self.pairs(units[:, :, 1 : self.num_shared])
        if deep is None:
            return logits.unsqueeze(1)
        if self.num_members == 1:
            return (logits + deep).unsqueeze(1)
        return torch.stack((logits, logits + deep), dim=1)

    def _skip_and_deep_input(self, whole: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the skip (B, num_skip) and what the deep part reads, from all numbers (B, F, P + K) of the fields."""
        at_once = self.training and torch.is_grad_enabled() and whole.device.type == "cpu"
        if at_once and self.standardise is not None and self.reading is not None and not torch.compiler.is_compiling():
            skip, x = read_units(whole.flatten(1), self.reading, self.standardise, self.unit_dropout.p)
            return skip.unsqueeze(1) if self.num_skip else None, x
        units = whole[:, :, self.num_posterior :]
        of_skip = units[:, :, : self.num_skip].sum(dim=1) if self.num_skip else None
        return of_skip, None if self.network is None else self.deep_input(units)

    def _reading(self) -> Reading:
        """Return what `nn.units` has to know."""
        num_each, num_units = self.table.num_local, self.table.num_local - self.num_posterior
        field, unit = np.divmod(np.arange(self.table.layout.num_fields * num_units), num_units)
        return Reading(
            (self.num_posterior, num_each) if self.num_skip else None,
            field * num_each + self.num_posterior + unit if self.num_posterior else None,
            unit >= self.num_shared if self.pairs is not None else np.ones(len(unit), dtype=np.bool_),
        )

    def deep_input(self, units: Tensor) -> Tensor:
        """Return what the deep part reads, (B, num_inputs), from the units (B, F, K) as they are."""
        if self.pairs is not None:
            units = torch.cat((units[:, :, : self.num_shared].detach(), units[:, :, self.num_shared :]), dim=2)
        x: Tensor = units.flatten(1)
        if self.standardise is not None:
            x = self.standardise(x)
        dropped: Tensor = self.unit_dropout(x)
        return dropped

    def network_output(self, x: Tensor) -> Tensor:
        """Return the deep part's (B, O), brought back from a lower precision if autocast chose one."""
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
