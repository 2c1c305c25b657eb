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
from fieldwise.tables.interface import Table

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


def take_rows(table: Table, before: Layout, rows: npt.NDArray[Any], renewed: Mapping[int, RenewedField]) -> None:
    """Give a table of a renewed layout the rows (D, columns), weights and state, that it had before: those that are
    kept here, of a table that several workers share.

    Parameters
    ----------
    table
        With rows that are all zero.
    before, rows
        The layout of before, and all of its rows, which may be mapped from a file.
    renewed
        By the number of the field; fields that are not in it are as before.
    """
    after, part, num_weights = table.layout, table.part, table.num_weights
    num_kept = np.minimum(np.diff(before.base), np.diff(after.base))
    is_left, is_fresh = (np.zeros(after.num_features, np.bool_) for _ in range(2))
    for number, field in renewed.items():
        base, end = after.base[number : number + 2].tolist()
        is_left[base + field.left[field.left < end - base]] = True
        is_fresh[base + field.joined] = True
        is_fresh[base + UNSEEN] = field.unseen_is_mean
    for first in range(0, table.num_rows, _SLAB):
        of_slab = np.arange(first, min(first + _SLAB, table.num_rows), dtype=np.int64)
        own = of_slab if part is None else part.rows(of_slab + part.places.start)
        fields = np.searchsorted(after.base, own, side="right") - 1
        ids, bases = own - after.base[fields], before.base[fields]
        found = np.zeros((len(own), rows.shape[1]), dtype=rows.dtype)
        stays = (ids < num_kept[fields]) & ~is_left[own] & ~is_fresh[own]
        found[stays] = rows[(bases + ids)[stays]]
        fresh = is_fresh[own]
        if fresh.any():
            found[fresh] = _fresh(table, rows[bases[fresh] + UNSEEN], num_weights)
        table.write(first, found)


def _fresh(table: Table, unseen: npt.NDArray[Any], num_weights: int) -> npt.NDArray[Any]:
    """Return rows (R, columns) with the weights of some, and a state that nothing has moved."""
    found = np.zeros_like(unseen)
    found[:, :num_weights] = unseen[:, :num_weights]
    for unit in range(num_weights):
        weights = decode_weights(np.ascontiguousarray(found[:, unit : unit + 1]))[:, 0]
        table.optimizer.start(found, num_weights, unit, weights)
    return found
