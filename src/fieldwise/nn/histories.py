"""Fields that a model adds to those of the log: the histories of the values of others (`kernels.histories`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fieldwise.kernels.histories import Complete, History, complete
from fieldwise.kernels.layout import BAG, Batch, Layout

__all__ = ["Histories"]


class Histories(nn.Module):
    """The histories of a model: a bag field each, after the fields of the log.

    With N(u) the values of field `value` that the training rows have beside value u of field `key`, and i the
    example's own, the units of the new field are ::

        h = |N(u) - {i}|^-1/2  sum over j in N(u) - {i} of  weight[j]

    where the weights are rows of the table that belong to this field alone, as many as the field `value` has. With the
    units of a factorisation machine it is SVD++ (Koren 2008, equation 15): what a user has met tells about the user
    beyond how they liked it, and a user of whom little is known shares what is known of those with the same items.

    They hold no weights: the lists are buffers, saved with the model, so that raw rows can be scored.

    Parameters
    ----------
    layout
        Of the log's fields.
    histories
        In the order of their fields.
    """

    def __init__(self, layout: Layout, histories: Sequence[History]) -> None:
        super().__init__()
        self.log_layout, self.histories = layout, tuple(histories)
        sizes = np.diff(layout.base).tolist()
        self.layout = Layout.of(
            [*layout.form.tolist(), *[BAG] * len(self.histories)],
            [*sizes, *(sizes[history.value] for history in self.histories)],
        )
        # Buffers and histories share their memory, so that what is loaded into one is in the other.
        for number, history in enumerate(self.histories):
            self.register_buffer(f"{number}_fields", torch.tensor([history.key, history.value]))
            self.register_buffer(f"{number}_offsets", torch.from_numpy(history.offsets))
            self.register_buffer(f"{number}_ids", torch.from_numpy(history.ids.view(np.int32)))

    def complete(self, batch: Batch) -> Complete:
        """Return the batch with what the histories of its examples are made of, for a table of `layout`."""
        return complete(batch, self.log_layout, self.histories)

    def forward(self, units: Tensor, given: Complete) -> Tensor:
        """Return the units (B, F, K) of the examples, the histories among their F fields, from those of all examples
        of the complete batch.
        """
        num_examples, first = given.num_examples, self.log_layout.num_fields
        fields = [units[:num_examples, :first]]
        for number, link in enumerate(given.links):
            rows, device = units[:, first + number], units.device
            whole, own = (rows.index_select(0, torch.from_numpy(at).to(device)) for at in (link.whole, link.own))
            others, has_own = torch.from_numpy(link.others).to(device), torch.from_numpy(link.has_own).to(device)
            known = (others > 0).to(units.dtype) * others.clamp_min(1).to(units.dtype).rsqrt()
            leave = has_own.to(units.dtype) * known
            fields.append((whole * known.unsqueeze(1) - own * leave.unsqueeze(1)).unsqueeze(1))
        return torch.cat(fields, dim=1)

    @staticmethod
    def saved(arrays: Mapping[str, npt.NDArray[Any]], prefix: str) -> list[History]:
        """Return the histories whose buffers are among a model's saved arrays, under names that begin with `prefix`."""
        found: list[History] = []
        while f"{prefix}{len(found)}_fields" in arrays:
            name = f"{prefix}{len(found)}_"
            key, value = arrays[f"{name}fields"].tolist()
            ids = np.array(arrays[f"{name}ids"]).view(np.uint32)
            found.append(History(key, value, np.array(arrays[f"{name}offsets"]), ids))
        return found
