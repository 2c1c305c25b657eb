"""The rows of a model after its vocabularies were renewed (`features.renewal`).

A feature that stays keeps its weights and its optimizer's state. One that joins begins where values that the model does
not know are: with the weights of its field's unseen feature and a fresh state, so that the model answers as before
until it learns. One that has left leaves zeros.

Co-occurrence bags stay as they were counted in training: values that join have none and are in none, values that leave
are taken out. The units of a sampled factorisation machine stay as well; what joins has those of the unseen feature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.cooccurrence import Cooccurrence
from fieldwise.kernels.layout import UNSEEN, Layout
from fieldwise.kernels.storage import decode_weights
from fieldwise.tables.host import HostTable

__all__ = ["RenewedField", "renewed_bags", "take_rows"]

Int64s = npt.NDArray[np.int64]
_SLAB = 1 << 18


class RenewedField(NamedTuple):
    """What has changed in a field.

    Attributes
    ----------
    joined, left
        Ids, ascending; one that was left and taken on the same day is in both.
    unseen_is_mean
        Whether nothing has trained the unseen feature, whose weights are the mean of its field's (`training.unseen`).
    """

    joined: Int64s
    left: Int64s
    unseen_is_mean: bool


def renewed_bags(
    bags: Sequence[Cooccurrence], layout: Layout, renewed: Mapping[int, RenewedField]
) -> list[Cooccurrence]:
    """Return co-occurrence bags for the layout of the renewed fields, by the number of each."""
    found = []
    for bag in bags:
        sizes, lengths = np.diff(layout.base), np.diff(bag.offsets)
        gone = np.zeros(max(int(bag.ids.max(initial=0)) + 1, int(sizes[bag.value])), np.bool_)
        gone[_left(bag.value, renewed, len(gone))] = True
        without = np.zeros(len(lengths), np.bool_)
        without[_left(bag.key, renewed, len(lengths))] = True
        keeps = ~gone[bag.ids] & ~np.repeat(without, lengths)
        kept = np.concatenate([[0], np.cumsum(keeps)])[bag.offsets]
        num_keys = int(sizes[bag.key])
        offsets = np.concatenate([kept[: num_keys + 1], np.full(max(num_keys + 1 - len(kept), 0), kept[-1])])
        found.append(bag._replace(offsets=offsets.astype(np.int64), ids=bag.ids[keeps][: offsets[-1]]))
    return found


def _left(field: int, renewed: Mapping[int, RenewedField], size: int) -> Int64s:
    ids = renewed[field].left if field in renewed else np.zeros(0, dtype=np.int64)
    return ids[ids < size]


def take_rows(table: HostTable, before: Layout, rows: npt.NDArray[Any], renewed: Mapping[int, RenewedField]) -> None:
    """Give a table of a renewed layout the rows (D, columns), weights and state, that it had before.

    Parameters
    ----------
    table
        With rows that are all zero.
    before, rows
        The layout of before, and its rows, which may be mapped from a file; they are read once.
    renewed
        By the number of the field; fields that are not in it are as before.
    """
    after, num_weights = table.layout, table.num_weights
    for number in range(after.num_fields):
        (old, old_end), (new, new_end) = (layout.base[number : number + 2].tolist() for layout in (before, after))
        num_kept = min(old_end - old, new_end - new)
        for first in range(0, num_kept, _SLAB):
            table.write(new + first, rows[old + first : old + min(first + _SLAB, num_kept)])
        field = renewed.get(number)
        if field is None:
            continue
        own = table.rows[new:new_end]
        own[field.left[field.left < len(own)]] = 0
        fresh = [field.joined, *([np.array([UNSEEN])] if field.unseen_is_mean else [])]
        for ids in fresh:
            part = np.zeros((len(ids), own.shape[1]), dtype=own.dtype)
            part[:, :num_weights] = rows[old + UNSEEN, :num_weights]
            for unit in range(num_weights):
                weights = decode_weights(np.ascontiguousarray(part[:, unit : unit + 1]))[:, 0]
                table.optimizer.start(part, num_weights, unit, weights)
            own[ids] = part
