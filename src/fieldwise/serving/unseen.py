"""The share of values of each field that a model has not seen in training: what tells that the world has changed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.layout import BAG, VALUE, Batch, Layout
from fieldwise.schema import Field

__all__ = ["UnseenCounter"]

_UNSEEN = 1


class UnseenCounter:
    """Counts values and unseen values of the fields that can have unseen ones: not numbers, not hashed fields.

    Parameters
    ----------
    fields, layout
        Of the model.

    Attributes
    ----------
    names
        The fields that are counted, U of them.
    values, unseen
        (U,) int64: how many values there were, and how many of them were unseen.

    Examples
    --------
    >>> from fieldwise.kernels.layout import SINGLE
    >>> counter = UnseenCounter([Field(name="user", column="user")], Layout.of([SINGLE], [10]))
    >>> batch = Batch(np.array([[1, 5, 1]], np.uint32), np.zeros((0, 3), np.float32), np.zeros((0, 4), np.int64),
    ...               np.zeros(0, np.uint32), np.zeros(0, np.float32))
    >>> counter.count(batch)
    >>> counter.names, counter.values.tolist(), counter.unseen.tolist()
    (['user'], [3], [2])
    """

    def __init__(self, fields: Sequence[Field], layout: Layout) -> None:
        counted = [
            place
            for place, field in enumerate(fields)
            if layout.form[place] != VALUE
            and field.buckets is None
            and not field.numeric
            and field.part is None
            and field.type != "vector"
        ]
        singles = [place for place in counted if layout.form[place] != BAG]
        bags = [place for place in counted if layout.form[place] == BAG]
        self.names = [fields[place].name for place in (*singles, *bags)]
        self._lines = layout.single[singles]
        self._bags = layout.bag[bags].tolist()
        self.values = np.zeros(len(self.names), dtype=np.int64)
        self.unseen = np.zeros(len(self.names), dtype=np.int64)

    def count(self, batch: Batch) -> None:
        """Count the values of a batch."""
        num_single = len(self._lines)
        self.values[:num_single] += batch.num_examples
        are_unseen = batch.ids[self._lines] == _UNSEEN
        self.unseen[:num_single] += are_unseen[:, 0] if batch.num_examples == 1 else are_unseen.sum(axis=1)
        for place, bag in enumerate(self._bags, num_single):
            of_bag: npt.NDArray[np.uint32] = batch.bag_ids[batch.offsets[bag, 0] : batch.offsets[bag, -1]]
            self.values[place] += len(of_bag)
            self.unseen[place] += np.count_nonzero(of_bag == _UNSEEN)
