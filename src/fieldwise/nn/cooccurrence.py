"""Fields that a model adds to those of the log: the bags of the values of others (`kernels.cooccurrence`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fieldwise.kernels import cooccurrence as kernels
from fieldwise.kernels.cooccurrence import AugmentedBatch, Cooccurrence, Floats, Int64s, Link, augment
from fieldwise.kernels.layout import BAG, Batch, Layout
from fieldwise.nn.blocks import cut, run_blocks

__all__ = ["CooccurrenceBags"]

_EXAMPLES = 256
"""Examples in a block."""


class CooccurrenceBags(nn.Module):
    """The bags of a model: a bag field each, after the fields of the log.

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
    bags
        In the order of their fields.
    """

    def __init__(self, layout: Layout, bags: Sequence[Cooccurrence]) -> None:
        super().__init__()
        self.log_layout, self.bags = layout, tuple(bags)
        sizes = np.diff(layout.base).tolist()
        self.layout = Layout.of(
            [*layout.form.tolist(), *[BAG] * len(self.bags)],
            [*sizes, *(sizes[bag.value] for bag in self.bags)],
        )
        # Buffers and bags share their memory, so that what is loaded into one is in the other.
        for number, bag in enumerate(self.bags):
            self.register_buffer(f"{number}_fields", torch.tensor([bag.key, bag.value]))
            self.register_buffer(f"{number}_offsets", torch.from_numpy(bag.offsets))
            self.register_buffer(f"{number}_ids", torch.from_numpy(bag.ids.view(np.int32)))

    def augmented(self, batch: Batch) -> AugmentedBatch:
        """Return the batch with what the bags of its examples are made of, for a table of `layout`."""
        return augment(batch, self.log_layout, self.bags)

    def forward(self, units: Tensor, augmented: AugmentedBatch) -> Tensor:
        """Return the units (B, F, K) of the examples, the bags among their F fields, from those of all examples
        of the complete batch.
        """
        num_examples, first, device = augmented.num_examples, self.log_layout.num_fields, units.device
        factors = [self._factors(link, units) for link in augmented.links]
        if device.type == "cpu":
            of_links = [np.stack([getattr(link, name) for link in augmented.links]) for name in ("whole", "own")]
            scales = [torch.stack(each).numpy() for each in zip(*factors, strict=True)]
            joined: Tensor = _Join.apply(units, num_examples, *of_links, *scales)  # type: ignore[no-untyped-call]
            return joined
        fields = [units[:num_examples, :first]]
        for number, (link, (known, leave)) in enumerate(zip(augmented.links, factors, strict=True)):
            rows = units[:, first + number]
            whole, own = (rows.index_select(0, torch.from_numpy(at).to(device)) for at in (link.whole, link.own))
            fields.append((whole * known.unsqueeze(1) - own * leave.unsqueeze(1)).unsqueeze(1))
        return torch.cat(fields, dim=1)

    def _factors(self, link: Link, units: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B,) what the sum of a whole bag is multiplied by, and what that of the example's own value is."""
        others, has_own = (torch.from_numpy(each).to(units.device) for each in (link.others, link.has_own))
        known = (others > 0).to(units.dtype) * others.clamp_min(1).to(units.dtype).rsqrt()
        return known, has_own.to(units.dtype) * known


class _Join(torch.autograd.Function):
    """From the units of all examples of an augmented batch to those of the batch: slices and sums of torch would write
    the gradient of all once for each.
    """

    @staticmethod
    def forward(
        ctx: Any, units: Tensor, num_examples: int, whole: Int64s, own: Int64s, known: Floats, leave: Floats
    ) -> Tensor:
        out = units.new_empty(num_examples, *units.shape[1:])
        numbers, of_out = units.detach().numpy(), out.numpy()

        def block(of: slice) -> None:
            kernels.join(numbers, whole, own, known, leave, of.start, of.stop, of_out)

        run_blocks(block, cut(num_examples, _EXAMPLES))
        ctx.shape, ctx.links = units.shape, (whole, own, known, leave)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gradient, out = gradients[0].contiguous().numpy(), gradients[0].new_empty(ctx.shape)
        whole, own, known, leave = ctx.links
        of_out, num_plain = out.numpy(), out.shape[1] - len(whole)

        def copy(of: slice) -> None:
            kernels.copy_gradients(gradient, num_plain, of.start, of.stop, of_out)

        def add(h: int) -> None:  # in one thread, for two examples may have the same bag
            kernels.add_gradients(gradient, num_plain + h, whole[h], own[h], known[h], leave[h], of_out)

        run_blocks(copy, cut(len(out), _EXAMPLES))
        run_blocks(add, range(len(whole)))
        return out, None, None, None, None, None
