"""A batch turned round: for every feature of a field, the examples that have it.

Letters: B examples, N features of them in one field, R features that the field has.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.layout import BAG, VALUE, Batch, Layout

__all__ = ["FieldExamples", "by_feature"]


class FieldExamples(NamedTuple):
    """The examples of each feature of one field.

    Attributes
    ----------
    base
        The row of the field's first feature.
    starts
        (R + 1,): feature r has ``examples[starts[r] : starts[r + 1]]``.
    examples
        (N,) uint32, in order for each feature; no two are alike for one feature.
    inputs
        (N,) float32; empty where all are 1.
    is_bag
        Whether an example may have several features of the field.
    """

    base: int
    starts: npt.NDArray[np.int64]
    examples: npt.NDArray[np.uint32]
    inputs: npt.NDArray[np.float32]
    is_bag: bool


def by_feature(batch: Batch, layout: Layout, field: int) -> FieldExamples:
    """Return the examples of each feature of a field.

    Examples
    --------
    >>> one = Batch(np.array([[3, 2, 3]], np.uint32), np.empty((0, 3), np.float32), np.empty((0, 4), np.int64),
    ...             np.empty(0, np.uint32), np.empty(0, np.float32))
    >>> turned = by_feature(one, Layout.of([0], [4]), 0)
    >>> turned.starts.tolist(), turned.examples.tolist()
    ([0, 0, 0, 1, 3], [1, 0, 2])
    """
    base, end = int(layout.base[field]), int(layout.base[field + 1])
    form = layout.form[field]
    inputs = np.empty(0, np.float32)
    if form == BAG:
        offsets = batch.offsets[layout.bag[field]]
        here = slice(int(offsets[0]), int(offsets[-1]))
        num_examples = max(len(offsets) - 1, 1)
        owners = np.repeat(np.arange(len(offsets) - 1, dtype=np.int64), np.diff(offsets))
        # A feature that a bag has twice is one with the sum of the weights.
        pairs = batch.bag_ids[here].astype(np.int64) * num_examples + owners
        different, where = np.unique(pairs, return_inverse=True)
        inputs = np.bincount(where, batch.bag_weights[here], len(different)).astype(np.float32)
        ids, examples = (part.astype(np.uint32) for part in np.divmod(different, num_examples))
    else:
        ids = batch.ids[layout.single[field]]
        examples = np.argsort(ids, kind="stable").astype(np.uint32)
        if form == VALUE:
            inputs = np.ascontiguousarray(batch.values[layout.value[field]][examples])
    starts = np.zeros(end - base + 1, dtype=np.int64)
    np.cumsum(np.bincount(ids, minlength=end - base), out=starts[1:])
    return FieldExamples(base, starts, examples, inputs, bool(form == BAG))
