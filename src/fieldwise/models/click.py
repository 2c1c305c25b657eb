"""A model as it is trained, saved and asked: the table, co-occurrence bags, one member or a stack of several.

Letters: B examples, F fields, D features, H heads, O outputs (1 for two classes, else one per class; of several labels
one for each).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain

import numpy as np
import torch
from torch import Tensor, nn

from fieldwise.bundle import kind_of
from fieldwise.calibration import Calibration
from fieldwise.kernels.cooccurrence import AugmentedBatch, Cooccurrence
from fieldwise.kernels.layout import Batch, Layout
from fieldwise.models.config import ModelConfig
from fieldwise.models.member import Member
from fieldwise.models.registry import find_model
from fieldwise.models.sizes import num_outputs
from fieldwise.models.stack import Stacker
from fieldwise.nn.cooccurrence import CooccurrenceBags
from fieldwise.nn.joint_logits import joint_logits
from fieldwise.tables.host import HostTable
from fieldwise.tables.interface import Table

__all__ = ["ClickModel", "build_members", "build_model"]


class ClickModel(nn.Module):
    """Logits of a batch from the rows of its features.

    The columns of a row belong to the members, those that are sampled first, and of each kind in their order::

        | sampled: K each | trained: K each | fully connected: W each |

    One pass over the table gathers what all of them need; each makes logits of its own part (`models.member`).

    Parameters
    ----------
    config, layout
        What the model is, and the fields of the log.
    num_outputs
        O of one label; that of several (`ModelConfig.labels`) is their number.
    dtype
        Of weights and arithmetic: torch.float32, or torch.float64 for checking.
    bags
        Co-occurrence bags, a field each after those of `layout` (`nn.cooccurrence`).

    Attributes
    ----------
    members
        Each by its name (`ModelConfig.members`).
    stacker
        How much each counts; None where there is one.
    num_frozen
        The first columns, which no step reads or moves.
    calibration
        From logits to probabilities; training has no part in it.
    labels
        Those that are learned together, an output for each; empty where there is one label.
    """

    def __init__(
        self,
        config: ModelConfig,
        layout: Layout,
        num_outputs: int = 1,
        dtype: torch.dtype = torch.float32,
        bags: Sequence[Cooccurrence] = (),
    ) -> None:
        super().__init__()
        num_outputs = len(config.labels) or num_outputs
        self.config, self.num_outputs, self.calibration = (
            config.for_fields(layout.num_fields),
            num_outputs,
            Calibration(),
        )
        self.labels = config.labels
        self.num_log_fields = layout.num_fields
        self.cooccurrence = CooccurrenceBags(layout, bags) if bags else None
        if self.cooccurrence is not None:
            layout = self.cooccurrence.layout
        built = build_members(self.config, layout, num_outputs, len(bags))
        self.members = nn.ModuleDict(built)
        in_row = sorted(built, key=lambda name: not built[name].sampled)
        local, full = ([0, *np.cumsum([getattr(built[name], n) for name in in_row]).tolist()]
                       for n in ("num_local", "num_full"))  # fmt: skip
        self._columns = {
            name: (slice(local[i], local[i + 1]), slice(full[i], full[i + 1])) for i, name in enumerate(in_row)
        }
        self.num_frozen = sum(member.num_local for member in built.values() if member.sampled)
        kind = np.float64 if dtype == torch.float64 else np.float32
        self.table: Table = HostTable(layout, local[-1], full[-1], kind)
        self.stacker = Stacker([member.num_heads for member in built.values()]) if len(built) > 1 else None
        self._alone: str | None = None
        self.to(dtype)

    @property
    def trained(self) -> dict[str, Member]:
        """The members that steps train."""
        return {name: member for name, member in self.each() if not member.sampled}

    @property
    def sampled(self) -> dict[str, Member]:
        """The members that are sampled before."""
        return {name: member for name, member in self.each() if member.sampled}

    @property
    def penalty(self) -> Tensor | None:
        """What the last pass in training adds to the loss of each example (B,); None where that is nothing."""
        penalties = [member.penalty for _, member in self.each() if member.penalty is not None]
        return torch.stack(penalties).sum(dim=0) if len(penalties) > 1 else penalties[0] if penalties else None

    @property
    def dtype(self) -> torch.dtype:
        """Of weights and arithmetic."""
        return torch.float64 if self.table.dtype == np.float64 else torch.float32

    @property
    def device(self) -> torch.device:
        """Where the weights beside the table lie."""
        tensor = next(chain(self.parameters(), self.buffers()), None)
        return torch.device("cpu") if tensor is None else tensor.device

    @property
    def logistic_bias(self) -> nn.Parameter | None:
        """The bias, where the logit is that and a weight of each feature, which a table may take in one pass."""
        members = list(self.trained.values())
        bias = members[0].bias if len(self.members) == 1 and members and members[0].is_logistic else None
        return bias if isinstance(bias, nn.Parameter) else None

    def columns(self, name: str) -> tuple[slice, slice]:
        """Return a member's columns: of the units of single fields, and of those that see all fields."""
        return self._columns[name]

    def stacking_weights(self, name: str) -> list[float]:
        """Return how much each head of a member counts; nothing where there is one member."""
        if self.stacker is None:
            return []
        heads = [head for head, member in self.each() for _ in range(member.num_heads)]
        return [weight for head, weight in zip(heads, self.stacker.weight[1:].tolist(), strict=True) if head == name]

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits (B, O) of a batch of the log's fields."""
        return self.logits(self.augmented(batch))

    def augmented(self, batch: Batch) -> AugmentedBatch:
        """Return a batch of the log's fields with the examples that co-occurrence bags are made of."""
        if self.cooccurrence is None:
            return AugmentedBatch(batch, batch.num_examples)
        return self.cooccurrence.augmented(batch)

    def member_logits(self, augmented: AugmentedBatch) -> Tensor:
        """Return the logits (B, H, O) of all heads that are trained, each of which has a loss."""
        return self._joint(self._heads(augmented, list(self.trained)))

    def all_logits(self, augmented: AugmentedBatch) -> Tensor:
        """Return the logits (B, H, O) of all heads, in the order of the members: what the stacker weighs."""
        return self._heads(augmented, list(self.members))

    def logits(self, augmented: AugmentedBatch) -> Tensor:
        """Return the logits (B, O) of the model."""
        return self.logits_of(*self.gathered(augmented))

    def logits_of(self, units: Tensor, full: Tensor) -> Tensor:
        """Return the logits (B, O) of what `gathered` returns."""
        if self._alone is not None:
            return self._of_gathered(units, full, [self._alone]).mean(dim=1)
        heads = self._of_gathered(units, full, list(self.members))
        logits: Tensor = heads.mean(dim=1) if self.stacker is None else self.stacker(heads)
        return self._joint(logits)

    def _joint(self, logits: Tensor) -> Tensor:
        """Return logits over all examples, of labels that are counted among others (`nn.joint_logits`)."""
        return joint_logits(logits, [label.among for label in self.labels]) if self.labels else logits

    @contextmanager
    def answering_as(self, name: str) -> Iterator[None]:
        """Let the model answer as one member of its stack alone."""
        self._alone = name
        try:
            yield
        finally:
            self._alone = None

    def each(self) -> Iterator[tuple[str, Member]]:
        """Yield all members by their names."""
        for name, member in self.members.items():
            assert isinstance(member, Member)
            yield name, member

    def gathered(self, augmented: AugmentedBatch) -> tuple[Tensor, Tensor]:
        """Return what the members read: units (B, F, K) of all fields, bags last, and sums over the fields (B, W)."""
        local, full = self.table(augmented.batch)
        units = local.view(augmented.batch.num_examples, self.table.layout.num_fields, self.table.num_local)
        if self.cooccurrence is not None:
            units, full = self.cooccurrence(units, augmented), full[: augmented.num_examples]
        return units, full

    def _heads(self, augmented: AugmentedBatch, names: Sequence[str]) -> Tensor:
        return self._of_gathered(*self.gathered(augmented), names)

    def _of_gathered(self, units: Tensor, full: Tensor, names: Sequence[str]) -> Tensor:
        found = [self._of_member(name, units, full) for name in names]
        return found[0] if len(found) == 1 else torch.cat(found, dim=1)

    def _of_member(self, name: str, units: Tensor, full: Tensor) -> Tensor:
        member, (local, of_full) = self.members[name], self._columns[name]
        assert isinstance(member, Member)
        if len(self._columns) > 1:
            units, full = units[:, :, local], full[:, of_full]
        if not member.reads_bags:
            units = units[:, : self.num_log_fields]
        logits: Tensor = member(units, full)
        return logits


def build_members(config: ModelConfig, layout: Layout, num_outputs: int, num_bags: int = 0) -> dict[str, Member]:
    """Build the members of a model by their names, in the order of the configuration; see `models.member.Member`.

    Raises
    ------
    ConfigError
        There is no such model, or it cannot be built for this log.
    """
    return {name: find_model(kind_of(name))(config, layout, num_outputs, num_bags) for name in config.members}


def build_model(
    config: ModelConfig,
    layout: Layout,
    num_classes: int,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    bags: Sequence[Cooccurrence] = (),
) -> ClickModel:
    """Build a model with its dense weights drawn from `seed`; its table has no memory until an optimizer or a bundle
    gives it.

    Examples
    --------
    >>> from fieldwise.kernels.layout import SINGLE
    >>> model = build_model(ModelConfig(units=2, hidden=(3,)), Layout.of([SINGLE, SINGLE], [10, 10]), num_classes=2)
    >>> model.table.num_parameters, [tuple(p.shape) for p in model.members["lc-dnn"].network.parameters()]
    (40, [(3, 4), (3,), (1, 3), (1,)])
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ClickModel(config, layout, num_outputs(num_classes), dtype, bags)
