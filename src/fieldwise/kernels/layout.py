"""The shape of a batch of examples, and of the rows that its features have in a table.

Letters: B examples, F fields, D features, N ids in a batch; S fields with one feature per example, V of them with a
value, G bags (F = S + G).

A field takes one of three forms in a batch::

    SINGLE   one id per example                   ids[s]
    VALUE    one id per example and its input     ids[s], values[v]        id 1: the value, id 0: missing (input 1)
    BAG      any number of ids per example        bag_ids[offsets[g, b] : offsets[g, b + 1]], and their weights

Ids are local to their field: 0 is *missing*, 1 is *unseen*, the values follow. Field f owns the rows
``base[f] .. base[f + 1]`` of a table, so ``base[f] + id`` is the row of a feature. Everything is field-major: what
belongs to one field is contiguous, because the sparse update is split by field.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.errors import DataError

__all__ = [
    "BAG",
    "MISSING",
    "SINGLE",
    "UNSEEN",
    "VALUE",
    "Batch",
    "Examples",
    "Layout",
    "Uint32s",
    "join",
    "select",
    "without_repeats",
]

MISSING = 0
"""Local id of a value that is absent: null, NaN or the empty text."""
UNSEEN = 1
"""Local id of a value that is not in the vocabulary."""

SINGLE, VALUE, BAG = 0, 1, 2

Uint32s = npt.NDArray[np.uint32]


class Batch(NamedTuple):
    """The encoded features of B examples.

    Attributes
    ----------
    ids
        (S, B) uint32, local ids.
    values
        (V, B) float32, inputs of the number fields.
    offsets
        (G, B + 1) int64: where the features of an example begin and end in `bag_ids`; absolute, so bag g holds
        ``offsets[g, 0] .. offsets[g, B]``.
    bag_ids
        (N,) uint32, local ids.
    bag_weights
        (N,) float32.
    """

    ids: Uint32s
    values: npt.NDArray[np.float32]
    offsets: npt.NDArray[np.int64]
    bag_ids: Uint32s
    bag_weights: npt.NDArray[np.float32]

    @property
    def num_examples(self) -> int:
        """B."""
        return int(self.ids.shape[1] if self.ids.shape[0] else max(self.offsets.shape[1] - 1, 0))


def join(batches: Sequence[Batch]) -> Batch:
    """Return one batch of the examples of several, in order.

    Examples
    --------
    >>> one = Batch(np.array([[3, 4]], np.uint32), np.empty((0, 2), np.float32), np.array([[0, 1, 3]]),
    ...             np.array([7, 8, 9], np.uint32), np.ones(3, np.float32))
    >>> both = join([one, one])
    >>> both.ids.tolist(), both.offsets.tolist(), both.bag_ids.tolist()
    ([[3, 4, 3, 4]], [[0, 1, 3, 4, 6]], [7, 8, 9, 7, 8, 9])
    """
    if len(batches) == 1:
        return batches[0]
    num_bags = batches[0].offsets.shape[0]
    pieces = [
        (batch, slice(int(batch.offsets[g, 0]), int(batch.offsets[g, -1])))
        for g in range(num_bags)
        for batch in batches
    ]
    lengths = np.concatenate([np.diff(batch.offsets, axis=1) for batch in batches], axis=1)
    return Batch(
        np.concatenate([batch.ids for batch in batches], axis=1),
        np.concatenate([batch.values for batch in batches], axis=1),
        _offsets(lengths),
        np.concatenate([batches[0].bag_ids[:0], *(batch.bag_ids[here] for batch, here in pieces)]),
        np.concatenate([batches[0].bag_weights[:0], *(batch.bag_weights[here] for batch, here in pieces)]),
    )


def select(batch: Batch, kept: npt.NDArray[np.bool_]) -> Batch:
    """Return the batch of some of the examples, in order; `kept` is (B,).

    Examples
    --------
    >>> batch = Batch(np.array([[3, 4]], np.uint32), np.empty((0, 2), np.float32), np.array([[0, 1, 3]]),
    ...               np.array([7, 8, 9], np.uint32), np.ones(3, np.float32))
    >>> some = select(batch, np.array([False, True]))
    >>> some.ids.tolist(), some.offsets.tolist(), some.bag_ids.tolist()
    ([[4]], [[0, 2]], [8, 9])
    """
    lengths = np.diff(batch.offsets, axis=1)
    of_entries = np.repeat(np.tile(kept, len(lengths)), lengths.reshape(-1))
    return Batch(
        batch.ids[:, kept],
        batch.values[:, kept],
        _offsets(lengths[:, kept]),
        batch.bag_ids[of_entries],
        batch.bag_weights[of_entries],
    )


def without_repeats(batch: Batch) -> Batch:
    """Return the batch with a feature that a bag holds several times once, with the sum of its weights.

    A logit is the same, but not its variance: that of ``2 v`` is four times that of v, that of two features twice.

    Examples
    --------
    >>> batch = Batch(np.empty((0, 2), np.uint32), np.empty((0, 2), np.float32), np.array([[0, 3, 4]]),
    ...               np.array([7, 8, 7, 7], np.uint32), np.array([1, 1, 2, 1], np.float32))
    >>> once = without_repeats(batch)
    >>> once.offsets.tolist(), once.bag_ids.tolist(), once.bag_weights.tolist()
    ([[0, 2, 3]], [7, 8, 7], [3.0, 1.0, 1.0])
    """
    lengths = np.diff(batch.offsets, axis=1)
    if not lengths.size:
        return batch
    here = slice(int(batch.offsets[0, 0]), int(batch.offsets[-1, -1]))
    owners = np.repeat(np.arange(lengths.size), lengths.reshape(-1))
    pairs = (owners << 32) | batch.bag_ids[here]
    ordered = np.sort(pairs)
    if not (ordered[1:] == ordered[:-1]).any():
        return batch
    different, where = np.unique(pairs, return_inverse=True)
    weights = np.bincount(where, batch.bag_weights[here], len(different)).astype(np.float32)
    lengths = np.bincount(different >> 32, minlength=lengths.size).reshape(lengths.shape)
    return batch._replace(offsets=_offsets(lengths), bag_ids=different.astype(np.uint32), bag_weights=weights)


def _offsets(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the offsets (G, B + 1) of bags of so many features (G, B), which lie one after the other."""
    offsets = np.zeros((len(lengths), lengths.shape[1] + 1), dtype=np.int64)
    ends = np.cumsum(lengths).reshape(lengths.shape)
    offsets[:, 1:] = ends
    offsets[1:, 0] = ends[:-1, -1] if lengths.shape[1] else 0
    return offsets


class Examples(NamedTuple):
    """A batch and what is known about its B examples.

    Attributes
    ----------
    batch
        The features.
    labels
        (B,) int32: indices into the classes; None where they are not known.
    weights
        (B,) float32: weights of the examples; None where all are 1.
    groups
        (B,) uint64: fingerprints of the groups for GAUC, 0 for missing; None where there are none.
    """

    batch: Batch
    labels: npt.NDArray[np.int32] | None
    weights: npt.NDArray[np.float32] | None
    groups: npt.NDArray[np.uint64] | None

    def select(self, kept: npt.NDArray[np.bool_]) -> Examples:
        """Return some of the examples, in order; `kept` is (B,)."""
        return Examples(
            select(self.batch, kept),
            None if self.labels is None else self.labels[kept],
            None if self.weights is None else self.weights[kept],
            None if self.groups is None else self.groups[kept],
        )


class Layout(NamedTuple):
    """Which form each field has in a batch, and which rows of a table are its own.

    Attributes
    ----------
    form
        (F,) int64: SINGLE, VALUE or BAG.
    single
        (F,) int64: s, the line of `ids`; -1 for a bag.
    value
        (F,) int64: v, the line of `values`; -1 for all others.
    bag
        (F,) int64: g, the line of `offsets`; -1 for all others.
    base
        (F + 1,) int64: first row of each field; ``base[F]`` is D.
    """

    form: npt.NDArray[np.int64]
    single: npt.NDArray[np.int64]
    value: npt.NDArray[np.int64]
    bag: npt.NDArray[np.int64]
    base: npt.NDArray[np.int64]

    @classmethod
    def of(cls, forms: list[int], rows: list[int]) -> Layout:
        """Lay out fields of the given forms and numbers of rows, in order.

        Examples
        --------
        >>> layout = Layout.of([SINGLE, BAG, VALUE], [10, 5, 2])
        >>> layout.single.tolist(), layout.value.tolist(), layout.bag.tolist(), layout.base.tolist()
        ([0, -1, 1], [-1, -1, 0], [-1, 0, -1], [0, 10, 15, 17])
        """
        form = np.asarray(forms, dtype=np.int64)
        base = np.zeros(len(forms) + 1, dtype=np.int64)
        base[1:] = np.cumsum(rows)

        def numbered(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
            return np.where(mask, np.cumsum(mask) - 1, -1).astype(np.int64)

        return cls(form, numbered(form != BAG), numbered(form == VALUE), numbered(form == BAG), base)

    def rows_of(self, older: Layout) -> npt.NDArray[np.int64]:
        """Return the rows that the features of an older layout have here, (D of the older,).

        Ids are local to their field and stay when it grows, while the fields after it move down.

        Parameters
        ----------
        older
            A layout of the same fields, none of them larger than here.

        Examples
        --------
        >>> older, newer = Layout.of([SINGLE, BAG], [2, 3]), Layout.of([SINGLE, BAG], [4, 3])
        >>> newer.rows_of(older).tolist()
        [0, 1, 4, 5, 6]
        """
        if not np.array_equal(self.form, older.form) or (np.diff(self.base) < np.diff(older.base)).any():
            raise DataError("the fields of one layout have not grown out of those of the other")
        moved: npt.NDArray[np.int64] = np.repeat(self.base[:-1] - older.base[:-1], np.diff(older.base))
        return np.arange(older.num_features) + moved

    @property
    def num_fields(self) -> int:
        """F."""
        return len(self.form)

    @property
    def num_features(self) -> int:
        """D, the number of rows of a table with this layout."""
        return int(self.base[-1])
