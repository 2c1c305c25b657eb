"""Co-occurrence bags: for every value of one field, the values of another field that the training rows have beside it.

Letters: B examples, V values of the field that owns the bags (the *key*), N ids in all of them.

A user's bag is the items that the user met, an item's the users that met it. They are kept as lists of local ids,
without repetition and in ascending order; the ids for missing and unseen values have none and are in none::

    bag of value v:   ids[offsets[v] : offsets[v + 1]]

`augment` gives a batch what a model needs of them: every different bag of its examples once, however many
examples have it, as an example of its own at the end of the batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.jit import kernel
from fieldwise.kernels.layout import UNSEEN, Batch, Layout

__all__ = [
    "AugmentedBatch",
    "Cooccurrence",
    "Link",
    "add_gradients",
    "augment",
    "collect",
    "copy_gradients",
    "join",
]

Floats = npt.NDArray[np.floating]
Int64s = npt.NDArray[np.int64]
Uint32s = npt.NDArray[np.uint32]

_U = np.uint64
_GOLDEN = _U(0x9E3779B97F4A7C15)


class Cooccurrence(NamedTuple):
    """The bags of one field.

    Attributes
    ----------
    key, value
        The numbers of two fields with one id per example: whose bags they are, and what is in them.
    offsets
        (V + 1,) int64.
    ids
        (N,) uint32, local to the field `value`.
    """

    key: int
    value: int
    offsets: Int64s
    ids: Uint32s

    def fits(self, layout: Layout) -> bool:
        """Whether kernels can take the bags, which may come from a file, for places in a batch and in a table."""
        num_rows = np.diff(layout.base)
        fields, offsets, ids = (self.key, self.value), self.offsets, self.ids
        if not all(0 <= field < layout.num_fields and layout.single[field] >= 0 for field in fields):
            return False
        rises = offsets.dtype == np.int64 and offsets.shape == (num_rows[self.key] + 1,) and offsets[0] == 0
        return bool(
            rises
            and (offsets[1:] >= offsets[:-1]).all()
            and ids.shape == (offsets[-1],)
            and (not len(ids) or ids.max() < num_rows[self.value])
        )

    @staticmethod
    def saved(arrays: Mapping[str, npt.NDArray[Any]], prefix: str) -> list[Cooccurrence]:
        """Return the bags among a model's saved arrays, under names that begin with `prefix`; nothing is copied."""
        found: list[Cooccurrence] = []
        while f"{prefix}{len(found)}_fields" in arrays:
            name = f"{prefix}{len(found)}_"
            key, value = arrays[f"{name}fields"].tolist()
            found.append(Cooccurrence(key, value, arrays[f"{name}offsets"], arrays[f"{name}ids"].view(np.uint32)))
        return found


def collect(chunks: Iterable[tuple[Uint32s, Uint32s]], num_keys: int, limit: int) -> tuple[Int64s, Uint32s]:
    """Return offsets and ids of the bags of all keys, from (keys, values) of the training rows.

    Parameters
    ----------
    chunks
        Local ids of the two fields, some rows at a time.
    num_keys
        V.
    limit
        Of a longer bag so many ids stay, chosen by a hash of both: the same ones whatever the order of the rows.

    Examples
    --------
    >>> keys, values = np.array([2, 2, 3, 2, 1], np.uint32), np.array([5, 4, 5, 5, 6], np.uint32)
    >>> [array.tolist() for array in collect([(keys, values)], 4, 10)]
    [[0, 0, 0, 2, 3], [4, 5, 5]]
    """
    met = np.zeros(0, dtype=np.uint64)
    for keys, values in chunks:
        told = (keys > UNSEEN) & (values > UNSEEN)
        met = np.sort(np.concatenate((met, (keys[told].astype(np.uint64) << _U(32)) | values[told])))
        met = met[np.diff(met, prepend=~met[:1]) != 0]  # numpy's own `unique`, by hashes, takes 14 times as long
    counts = np.bincount((met >> _U(32)).astype(np.int64), minlength=num_keys)
    if counts.max(initial=0) > limit:
        mixed = met * _GOLDEN
        mixed ^= mixed >> _U(29)
        order = np.lexsort((mixed * _GOLDEN, met >> _U(32)))
        starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
        rank = np.arange(len(met)) - np.repeat(starts, counts)
        met = np.sort(met[order[rank < limit]])
        counts = np.minimum(counts, limit)
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    return offsets, met.astype(np.uint32)


class Link(NamedTuple):
    """Where the examples of a batch find one of their bags.

    Attributes
    ----------
    whole
        (B,) int64: the example at the end of the batch that has the whole bag.
    own
        (B,) int64: the one that has the example's own value alone.
    has_own
        (B,) whether that value is in the bag.
    others
        (B,) int64: how many others are.
    """

    whole: Int64s
    own: Int64s
    has_own: npt.NDArray[np.bool_]
    others: Int64s


class AugmentedBatch(NamedTuple):
    """A batch of B examples, and after them those that bags are made of; a link for each bag."""

    batch: Batch
    num_examples: int
    links: tuple[Link, ...] = ()


@kernel
def _contains(keys: Uint32s, values: Uint32s, offsets: Int64s, ids: Uint32s, found: npt.NDArray[np.bool_]) -> None:
    """Set whether each value is in the bag of its key."""
    for b in range(_U(len(keys))):
        low, last = offsets[_U(keys[b])], offsets[_U(keys[b]) + _U(1)]
        high = last
        while low < high:
            middle = (low + high) >> 1
            if ids[_U(middle)] < values[b]:
                low = middle + 1
            else:
                high = middle
        found[b] = low < last and ids[_U(low)] == values[b]


@kernel
def _copy_lists(keys: Uint32s, offsets: Int64s, ids: Uint32s, out: Uint32s) -> None:
    """Write the bags of keys, one after the other."""
    at = _U(0)
    for key in keys:
        for i in range(_U(offsets[_U(key)]), _U(offsets[_U(key) + _U(1)])):
            out[at] = ids[i]
            at += _U(1)


def augment(batch: Batch, layout: Layout, bags: Sequence[Cooccurrence]) -> AugmentedBatch:
    """Return the batch with one more bag for each bag, and with examples that have nothing but these.

    The examples of the batch have nothing in these bags. Costs the lengths of the different bags among them.

    Parameters
    ----------
    batch, layout
        Of the log's fields.
    bags
        A bag of each follows those of the layout, in this order.
    """
    num_examples, num_bags = batch.num_examples, len(batch.offsets)
    links, lengths, pieces = [], [], []
    total = num_examples
    for bag in bags:
        keys, values = (batch.ids[layout.single[field]] for field in (bag.key, bag.value))
        has_own = np.empty(num_examples, dtype=np.bool_)
        _contains(keys, values, bag.offsets, bag.ids, has_own)
        whole, of_key = np.unique(keys, return_inverse=True)
        own, of_value = np.unique(values, return_inverse=True)
        sizes = np.diff(bag.offsets)[whole]
        others = sizes[of_key] - has_own
        links.append(Link(total + of_key, total + len(whole) + of_value, has_own, others))
        listed = np.empty(int(sizes.sum()), dtype=np.uint32)
        _copy_lists(whole, bag.offsets, bag.ids, listed)
        pieces += [listed, own]
        lengths.append((total, np.concatenate((sizes, np.ones(len(own), dtype=np.int64)))))
        total += len(whole) + len(own)
    begin = int(batch.offsets[-1, -1]) if num_bags else 0
    offsets = np.empty((num_bags + len(bags), total + 1), dtype=np.int64)
    offsets[:num_bags, : num_examples + 1] = batch.offsets
    offsets[:num_bags, num_examples + 1 :] = batch.offsets[:, -1:]
    for line, (first, sizes) in zip(offsets[num_bags:], lengths, strict=True):
        line[: first + 1] = begin
        line[first + 1 : first + 1 + len(sizes)] = begin + np.cumsum(sizes)
        begin = int(line[first + len(sizes)])
        line[first + 1 + len(sizes) :] = begin
    bag_ids = np.concatenate([batch.bag_ids[: begin - sum(map(len, pieces))], *pieces])
    bag_weights = np.ones(len(bag_ids), dtype=np.float32)
    bag_weights[: begin - sum(map(len, pieces))] = batch.bag_weights[: begin - sum(map(len, pieces))]
    added = total - num_examples
    whole_batch = Batch(
        np.pad(batch.ids, ((0, 0), (0, added))),
        np.pad(batch.values, ((0, 0), (0, added))),
        offsets,
        bag_ids,
        bag_weights,
    )
    return AugmentedBatch(whole_batch, num_examples, tuple(links))


@kernel
def join(
    units: Floats, whole: Int64s, own: Int64s, known: Floats, leave: Floats, begin: int, end: int, out: Floats
) -> None:
    """Set examples `begin` to `end` of out (B, F, K) to their units and, in the last fields, those of their bags.

    Parameters
    ----------
    units
        (N, F, K), of all examples of an augmented batch.
    whole, own
        (H, B): `Link.whole` and `Link.own` of each bag.
    known, leave
        (H, B): what the units of both are multiplied by, before the latter are taken from the former.
    """
    num_plain = _U(out.shape[1] - len(whole))
    for b in range(_U(begin), _U(end)):
        for f in range(num_plain):
            for k in range(_U(out.shape[2])):
                out[b, f, k] = units[b, f, k]
        for h in range(_U(len(whole))):
            one, other, at = _U(whole[h, b]), _U(own[h, b]), num_plain + h
            for k in range(_U(out.shape[2])):
                out[b, at, k] = units[one, at, k] * known[h, b] - units[other, at, k] * leave[h, b]


@kernel
def copy_gradients(gradient: Floats, num_plain: int, begin: int, end: int, out: Floats) -> None:
    """Set examples `begin` to `end` of out (N, F, K) to the gradient (B, F, K) of the first fields, all else to 0."""
    for b in range(_U(begin), _U(end)):
        num_copied = _U(num_plain) if b < _U(len(gradient)) else _U(0)
        for f in range(_U(out.shape[1])):
            for k in range(_U(out.shape[2])):
                out[b, f, k] = gradient[b, f, k] if f < num_copied else out.dtype.type(0)


@kernel
def add_gradients(
    gradient: Floats, field: int, whole: Int64s, own: Int64s, known: Floats, leave: Floats, out: Floats
) -> None:
    """Add to out (N, F, K) what comes of the gradient (B, F, K) of the bag that is field `field`."""
    f = _U(field)
    for b in range(_U(len(gradient))):
        one, other = _U(whole[b]), _U(own[b])
        for k in range(_U(out.shape[2])):
            out[one, f, k] += gradient[b, f, k] * known[b]
            out[other, f, k] -= gradient[b, f, k] * leave[b]
