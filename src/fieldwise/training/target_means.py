"""What trees read of an encoded log: for every category the mean label of its training rows, and numbers as they are.

A row that takes part in its own mean tells the label to whoever learns from it, so the means of a training row are of
the rows of the other folds; those of all other rows are of all training rows. With n rows of a value, s of them
positive, and r the base rate::

    mean = (s + m r) / (n + m)          m = 20

A bag has the mean of its values' means. Of a number with bins it is the bin that is read, of one without the number,
of a vector each of its numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.data.cache import Cache, Examples
from fieldwise.kernels.layout import BAG, UNSEEN, VALUE, Layout
from fieldwise.schema import Field

__all__ = ["TreeRows", "target_means"]

_FOLDS, _PRIOR = 5, 20.0

Floats = npt.NDArray[np.float64]


class TreeRows(NamedTuple):
    """The examples of one part: (B, F) float32 columns, NaN where a value is missing, (B,) labels and weights."""

    columns: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32] | None


def target_means(parts: Mapping[str, Cache], fields: Sequence[Field], seed: int) -> dict[str, TreeRows]:
    """Return all parts of a log as trees read them.

    Parameters
    ----------
    parts
        Prepared parts, ``train`` among them.
    fields
        Of the schema.
    seed
        Of the folds.
    """
    examples = {name: cache.gather(np.arange(cache.num_examples)) for name, cache in parts.items()}
    train, layout = examples["train"], parts["train"].layout
    assert train.labels is not None, "training needs labels"
    base_rate = float(np.average(train.labels == 1, weights=train.weights))
    fold = np.random.default_rng(seed).integers(0, _FOLDS, len(train.labels))
    rows: dict[str, list[npt.NDArray[np.floating]]] = {name: [] for name in examples}
    for field, described in enumerate(fields):
        found = {name: _Field.of(each, layout, field) for name, each in examples.items()}
        if described.type == "vector":
            for name, each in examples.items():
                rows[name].extend(found[name].inputs(each, layout, field))
            continue
        if layout.form[field] == VALUE or described.discretised:
            for name, each in examples.items():
                rows[name].append(_numbers(each, layout, field))
            continue
        num_ids = int(layout.base[field + 1] - layout.base[field])
        sums = np.stack([found["train"].sums(train, num_ids, fold == number) for number in range(_FOLDS)])
        whole = _means(sums.sum(axis=0), base_rate)
        for name, of_part in found.items():
            if name != "train":
                rows[name].append(of_part.mean_of(whole))
        held_out = np.empty(len(fold))
        for number in range(_FOLDS):
            means = found["train"].mean_of(_means(np.delete(sums, number, axis=0).sum(axis=0), base_rate))
            held_out[fold == number] = means[fold == number]
        rows["train"].append(held_out)
    return {
        name: TreeRows(np.stack(rows[name], axis=1).astype(np.float32), _labels(each), each.weights)
        for name, each in examples.items()
    }


class _Field(NamedTuple):
    """The ids of one field, and the example that each belongs to."""

    ids: npt.NDArray[np.int64]
    owner: npt.NDArray[np.int64]
    num_examples: int

    @classmethod
    def of(cls, examples: Examples, layout: Layout, field: int) -> _Field:
        batch, everyone = examples.batch, np.arange(examples.batch.num_examples)
        if layout.form[field] != BAG:
            return cls(batch.ids[layout.single[field]].astype(np.int64), everyone, len(everyone))
        offsets = batch.offsets[layout.bag[field]]
        inside = slice(int(offsets[0]), int(offsets[-1]))
        return cls(batch.bag_ids[inside].astype(np.int64), np.repeat(everyone, np.diff(offsets)), len(everyone))

    def sums(self, examples: Examples, num_ids: int, chosen: npt.NDArray[np.bool_]) -> Floats:
        """Return (2, D_f): the weight of some rows by value, and that of the positive ones."""
        weights = np.ones(self.num_examples) if examples.weights is None else examples.weights.astype(np.float64)
        weights = (weights * chosen)[self.owner]
        positive = weights * (_labels(examples)[self.owner] == 1)
        return np.stack([np.bincount(self.ids, each, minlength=num_ids) for each in (weights, positive)])

    def inputs(self, examples: Examples, layout: Layout, field: int) -> npt.NDArray[np.float32]:
        """Return the numbers of a vector, (n, B); NaN where it is missing."""
        offsets = examples.batch.offsets[layout.bag[field]]
        num_ids = int(layout.base[field + 1] - layout.base[field])
        table = np.full((num_ids, self.num_examples), np.nan, np.float32)
        table[self.ids, self.owner] = examples.batch.bag_weights[int(offsets[0]) : int(offsets[-1])]
        return table[UNSEEN + 1 :]

    def mean_of(self, means: Floats) -> Floats:
        """Return for each example the mean of its values' numbers; NaN where it has none."""
        total = np.bincount(self.owner, means[self.ids], minlength=self.num_examples)
        count = np.bincount(self.owner, minlength=self.num_examples)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _means(sums: Floats, base_rate: float) -> Floats:
    mean: Floats = (sums[1] + _PRIOR * base_rate) / (sums[0] + _PRIOR)
    return mean


def _numbers(examples: Examples, layout: Layout, field: int) -> npt.NDArray[np.float32]:
    """Return the numbers of a field, or its bins."""
    batch, line = examples.batch, layout.single[field]
    known = batch.ids[line] != 0
    values = batch.values[layout.value[field]] if layout.form[field] == VALUE else batch.ids[line]
    return np.where(known, values, np.nan).astype(np.float32)


def _labels(examples: Examples) -> npt.NDArray[np.int32]:
    assert examples.labels is not None, "every part has labels"
    return examples.labels
