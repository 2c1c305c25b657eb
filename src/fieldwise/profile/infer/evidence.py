"""Whether whole numbers are quantities or codes, told by the label: both readings are tried on rows held out.

The sample is dealt to four parts. What the rows of the others say of each value, or of each of 32 quantile bins, moves
the log-odds of a part, shrunk by a prior of so many rows; by how much that lowers the loss there, in standard
deviations, is the evidence (the equations are those of `kernels.cells_of_pairs`).

*Identity* is what the values say beside the bins they lie in, *order* what the bins say beside the values. A code has
identity and hardly any order: 5 is not between 4 and 6. A quantity has order, and no identity: 41 is as good as 42.

Some values of a quantity may still mean something of their own: an amount of 0 is no bill. So where a third of the rows
or more hold rare values, these are asked by themselves, too: if they have no identity, the frequent ones alone have.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.errors import DataError
from fieldwise.features.canonical import as_text, plain
from fieldwise.features.parse import parse_text
from fieldwise.features.spelling import spelled

__all__ = ["Evidence", "label_of", "weigh"]

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

_PARTS, _BINS = 4, 32
_PRIORS = (3.0, 10.0, 30.0, 100.0)
_LEAST_OF_A_CLASS = 50
_RARE, _FEW_ROWS = 2000, 10
"""A value is rare that has no more than one row in so many, or so few."""
_ENOUGH = 3
"""Rare values are asked where one row in so many holds one."""
_SURE = 3.0
"""Standard deviations: a thousand columns without evidence bring one beyond it."""
_LITTLE = 3.0
"""Rare values say nothing where their evidence is not sure, and so many times less than that of all: by chance that of
weak codes may be small."""


class Evidence(NamedTuple):
    """By how many standard deviations each reading lowers the loss beside the other.

    Attributes
    ----------
    identity, order
        Of the values beside their order, and of their order beside the values.
    of_rare
        The identity of rare values alone; None where too few rows hold such.
    most_rows
        So many rows of the sample hold a rare value, at most.
    """

    identity: float
    order: float
    of_rare: float | None = None
    most_rows: int = _FEW_ROWS

    @property
    def has_identity(self) -> bool:
        """Whether the values say more than their order."""
        return self.identity > _SURE

    @property
    def has_order(self) -> bool:
        """Whether their order says more than the values."""
        return self.order > _SURE

    @property
    def is_of_frequent(self) -> bool:
        """Whether the values say more than their order, and of the rare ones nothing says so."""
        little = min(_SURE, self.identity / _LITTLE)
        return self.has_identity and self.of_rare is not None and self.of_rare <= little


def label_of(column: pa.Array) -> npt.NDArray[np.int8] | None:
    """Return 0 or 1 for every row of a label of two values, -1 where it is missing; None for any other label."""
    try:
        codes = _coded(column)
    except DataError:
        return None
    found = codes.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int8)
    counts = np.bincount(found[found >= 0], minlength=2) if len(codes.dictionary) == 2 else np.zeros(2)
    return found if counts.min() >= _LEAST_OF_A_CLASS else None


def _coded(column: pa.Array) -> pa.DictionaryArray:
    """Return the canonical texts of a column as a dictionary."""
    written = as_text(plain(column)).dictionary_encode()
    texts = spelled(written.dictionary).dictionary_encode()
    return pa.DictionaryArray.from_arrays(texts.indices.take(written.indices), texts.dictionary)


def weigh(column: pa.Array, label: npt.NDArray[np.int8]) -> Evidence:
    """Return what the label says of a column of whole numbers.

    Parameters
    ----------
    column
        (B,), numbers or their texts; what is no number is left out.
    label
        (B,) 0 or 1; -1 is left out.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> values = rng.integers(0, 300, 20_000)
    >>> codes, quantities = rng.normal(0, 1, 300)[values], (values - 150) / 100
    >>> for logits in (codes, quantities):
    ...     clicks = (rng.random(20_000) < 1 / (1 + np.exp(-logits))).astype(np.int8)
    ...     evidence = weigh(pa.array(values), clicks)
    ...     print(evidence.has_identity, evidence.has_order)
    True False
    False True
    """
    encoded = _coded(column)
    values = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    numbers, bad = parse_text(encoded.dictionary)
    known = (values >= 0) & (label >= 0)
    known[known] = ~bad[values[known]]
    values, clicks = values[known], label[known].astype(np.float64)
    if not len(values):
        return Evidence(0.0, 0.0)
    in_rows = numbers[values]
    edges = np.unique(np.quantile(in_rows, np.linspace(0, 1, _BINS + 1)[1:-1]))
    bins = np.searchsorted(edges, in_rows, side="right")
    parts = np.random.default_rng(0).permutation(len(values)) % _PARTS
    rate = (clicks.sum() + 1.0) / (len(clicks) + 2.0)
    base = np.full(len(clicks), np.log(rate / (1.0 - rate)))

    def beside(first: Int64s, second: Int64s, rows: npt.NDArray[np.bool_]) -> float:
        """Return the evidence for the second reading where the first is known, by some rows."""
        moved = _move(first[rows], parts[rows], clicks[rows], base[rows])[0]
        return _move(second[rows], parts[rows], clicks[rows], moved)[1]

    most_rows = max(len(values) // _RARE, _FEW_ROWS)
    rare, whole = np.bincount(values)[values] <= most_rows, np.ones(len(values), np.bool_)
    # Without the others, who would move the bins of their neighbours, too.
    of_rare = beside(bins, values, rare) if _ENOUGH * int(rare.sum()) >= len(rare) else None
    identity, order = beside(bins, values, whole), beside(values, bins, whole)
    return Evidence(identity, order, of_rare, most_rows)


def _move(cells: Int64s, parts: Int64s, clicks: Float64s, logits: Float64s) -> tuple[Float64s, float]:
    """Return the logits moved by what other parts say of each row's cell, and the fall of the loss in deviations."""
    p = 1.0 / (1.0 + np.exp(-logits))
    place = cells * _PARTS + parts
    shape = (int(cells.max()) + 1, _PARTS)
    slope, bend = (np.bincount(place, each, shape[0] * shape[1]).reshape(shape) for each in (clicks - p, p * (1.0 - p)))
    others_slope, others_bend = (each.sum(axis=1, keepdims=True) - each for each in (slope, bend))
    best = (-np.inf, 0.0, np.zeros(shape))
    for prior in _PRIORS:
        move = others_slope / (others_bend + prior)
        gain, variance = (move * slope - 0.5 * move**2 * bend).sum(), (move**2 * bend).sum()
        if gain > best[0]:
            best = (gain, gain / np.sqrt(max(variance, 1e-12)), move)
    return logits + best[2].reshape(-1)[place], float(best[1])
