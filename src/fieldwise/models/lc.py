"""The models of the paper over one locally connected layer: LC-DNN, LC-W&D and LC-ResNet.

Letters: B examples, F fields, D features, K units per field, O outputs.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from fieldwise.errors import ConfigError
from fieldwise.kernels.layout import Layout
from fieldwise.models.config import ModelConfig
from fieldwise.models.member import Member
from fieldwise.models.registry import build_deep
from fieldwise.nn.dropout import Dropout
from fieldwise.nn.fm_interactions import FMInteractions
from fieldwise.nn.standardise import Standardise
from fieldwise.nn.units import UnitColumns, read_units

__all__ = ["LocallyConnected", "lc_dnn", "lc_resnet", "lc_wide_deep"]


class LocallyConnected(Member):
    """``lc-dnn``, ``lc-wide-deep`` and ``lc-resnet``: units that see one field each, and a network on them.

    With M (D, F, K) block-diagonal by field, x (B, D) and u_f the (K,) units of field f::

        u = M' x                                               (B, F, K)    the table's units
        deep = network(dropout(standardise(u)))                (B, O)       `deep`; residual blocks in lc-resnet
        wide = x' w                                            (B, O)       lc-wide-deep: W = O
        skip = sum over f of u_f[0]                            (B, 1)       lc-dnn and lc-resnet: `skip`
        fm   = sum over f < g of u_f[1:S] . u_g[1:S]           (B, 1)       `fm_interactions`; S = K - `deep_units`
        logit = b + wide + skip + fm + deep

    each where the model has it. The `linear_fields` are read by wide and skip alone. Where there are interactions the
    deep part does not move the units that they read, the loss has `unit_l2` on them, and with `auxiliary_loss` there
    are two heads, without the deep part and with it.

    Of several labels the skip of label o is that of unit o, interactions begin at unit O, and each label takes them
    times a weight of its own, which begins as 1.

    Unit 0 and w begin with logistic regression's weights (`initial_model`). The deep part's last matrix being zero, a
    model with a wide part or a skip, and without interactions, then begins with exactly its logits.

    Raises
    ------
    ConfigError
        There is no such deep part, it cannot be built, or `deep_units` leaves interactions no unit.
    """

    def __init__(
        self, config: ModelConfig, layout: Layout, num_outputs: int, num_bags: int = 0, kind: str | None = None
    ) -> None:
        super().__init__()
        config = config.for_fields(layout.num_fields - num_bags)
        if kind is None:
            [kind] = (kind for kind in config.members if kind.startswith("lc-"))
        self.num_local, num_fields = config.units, layout.num_fields
        self.num_log_fields = num_fields - num_bags
        self.num_full = self.linear_full = num_outputs if kind == "lc-wide-deep" else 0
        self.linear_local = min(num_outputs, self.num_local)
        # Unit 0 is one number, so the skip serves two classes. Beside a wide part it would say the same twice: LC-W&D
        # with K = 1 then ends at .8737 on MovieLens-1M, in place of .8762
        # (docs/log/2026-11/accuracy.md#how-good-are-the-first-defaults-on-movielens-1m).
        # Several labels have a unit each.
        one_each = num_outputs == 1 or len(config.labels) < self.num_local
        self.skips = kind != "lc-wide-deep" and config.skip and one_each and num_outputs in (1, len(config.labels))
        self.num_linear = num_outputs if self.skips else 1
        self.is_linear = self.skips or self.num_full > 0
        self.bias = nn.Parameter(torch.zeros(num_outputs))
        self.unit_l2 = config.unit_l2
        self.unit_dropout = Dropout(config.unit_dropout)
        read = [field for field in range(num_fields) if field not in config.linear_fields]
        num_inputs = len(read) * self.num_local
        self.read: Tensor | None
        self.register_buffer("read", torch.tensor(read) if len(read) < num_fields else None, persistent=False)
        deep = "residual" if kind == "lc-resnet" else config.deep
        self.network = build_deep(deep, num_inputs, config.hidden, num_outputs, config.activation, config.dropout)
        self.standardise: Standardise | None = None
        if self.network is not None and config.standardise:
            self.standardise = Standardise(num_inputs)
        self.num_shared = self.num_local
        self.interactions: FMInteractions | None = None
        # A sampled factorisation machine beside it has the same interactions, and better ones, unless bags are among
        # them (docs/log/2026-11/stacks.md#what-does-a-sampled-factorisation-machine-add).
        if config.has_interactions(self.num_log_fields) and (num_bags or not config.is_sampled):
            self.num_shared -= self.num_local // 4 if config.deep_units is None else config.deep_units
            if self.num_shared <= self.num_linear:
                raise ConfigError(
                    "the deep part's own units leave none for interactions",
                    where="model.deep_units",
                    expected=f"0 to {self.num_local - 1 - self.num_linear}, with {self.num_local} units",
                    got=config.deep_units,
                )
            self.interactions = FMInteractions(num_fields, num_outputs, scaled=bool(config.labels))
            self.num_heads = 2 if config.auxiliary_loss and self.network is not None else 1
        # Of unit k of the f-th field that it reads, at f K + k: whether the deep part moves it.
        unit = np.arange(num_inputs) % self.num_local
        moves = unit >= self.num_shared if self.interactions is not None else np.ones(num_inputs, dtype=np.bool_)
        columns = (
            None if self.read is None else np.add.outer(np.array(read) * self.num_local, np.arange(self.num_local))
        )
        self.reading: UnitColumns | None = UnitColumns(
            (0, self.num_local) if self.skips and num_outputs == 1 else None,
            None if columns is None else columns.reshape(-1),
            moves,
        )

    def forward(self, units: Tensor, full: Tensor) -> Tensor:
        """See `Member.forward`."""
        self.penalty = None
        if self.training and self.interactions is not None and self.unit_l2:
            # Bags go free: a sum of many rows that learn from many examples each
            # (docs/log/2026-11/accuracy.md#what-do-co-occurrence-bags-add).
            of_log = units[:, : self.num_log_fields, self.num_linear :]
            self.penalty = 0.5 * self.unit_l2 * of_log.square().sum(dim=(1, 2))
        logits = self.bias.expand(len(units), -1)
        if self.num_full:
            logits = logits + full
        skip, x = self._skip_and_deep_input(units)
        if skip is not None:
            logits = logits + skip
        if self.interactions is not None:
            logits = logits + self.interactions(units[:, :, self.num_linear : self.num_shared])
        if self.network is None or x is None:
            return logits.unsqueeze(1)
        deep: Tensor = self.network(x).to(logits.dtype)  # autocast may have lowered the precision
        if self.num_heads == 1:
            return (logits + deep).unsqueeze(1)
        return torch.stack((logits, logits + deep), dim=1)

    def _skip_and_deep_input(self, units: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the skip (B, 1), of several labels (B, O), and what the deep part reads (B, I)."""
        at_once = self.training and torch.is_grad_enabled() and units.device.type == "cpu"
        if at_once and self.standardise is not None and self.reading is not None and not torch.compiler.is_compiling():
            sums, x = read_units(units.flatten(1), self.reading, self.standardise, self.unit_dropout.p)
            if self.skips and self.num_linear == 1:
                return sums.unsqueeze(1), x
            return units[:, :, : self.num_linear].sum(dim=1) if self.skips else None, x
        skip = units[:, :, : self.num_linear].sum(dim=1) if self.skips else None
        return skip, None if self.network is None else self.deep_input(units)

    def deep_input(self, units: Tensor) -> Tensor:
        """Return what the deep part reads, (B, I), from the units (B, F, K) as they are."""
        if self.interactions is not None:
            units = torch.cat((units[:, :, : self.num_shared].detach(), units[:, :, self.num_shared :]), dim=2)
        x: Tensor = units.flatten(1) if self.read is None else units.index_select(1, self.read).flatten(1)
        if self.standardise is not None:
            x = self.standardise(x)
        dropped: Tensor = self.unit_dropout(x)
        return dropped


lc_dnn, lc_wide_deep, lc_resnet = (
    partial(LocallyConnected, kind=kind) for kind in ("lc-dnn", "lc-wide-deep", "lc-resnet")
)
