"""Bags: several features of one field in one example.

A cell is a text, split at the field's separator, with brackets or without, or an Arrow list. What it holds is
canonical text like any other value; empty and missing values are passed over, and a cell without any value is one
feature with weight 1: the field's `default`, or *missing*.
Weights are divided by the bag's norm, where the field has one (`normalised`).
A value that occurs twice is there twice. The order does not matter to a model and is kept; where the field has a
`max_length`, the first values of a cell are all that is learned from and encoded.

With weights, a value in text is followed by a colon and its weight (the last colon counts, so values may hold colons);
in a list it may also be a pair: a struct of value and weight (in this order, unless the first is named ``weight``), or
the entry of a map. Or the weights are the values of another column, as many in each cell. A weight is a finite number
of any sign; a value without one is a reject.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fieldwise.errors import DataError
from fieldwise.features.canonical import as_text, canonical, fingerprints, is_list, plain
from fieldwise.features.cells import Arrays, Cells
from fieldwise.features.columns import Columns, Reject, reading
from fieldwise.features.counting import CountedValues
from fieldwise.features.field_types import convert
from fieldwise.features.indexed import IndexedEncoder
from fieldwise.features.lists import split_lists
from fieldwise.features.parse import parse_text
from fieldwise.features.scratch import Scratch
from fieldwise.features.spelling import spelled
from fieldwise.kernels.layout import BAG
from fieldwise.schema import Field, Norm

__all__ = [
    "BagEncoder", "compressed", "is_pair", "measure_bags", "normalised", "split_cells", "split_pairs", "weigh_cells",
]  # fmt: skip

Float32s = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
_LARGEST = float(np.finfo(np.float32).max)
_WEIGHTED = r"(?s)^(?P<value>.*):(?P<weight>[^:]*)$"
_BAD_WEIGHT = "a value of the bag has no finite weight"
_UNEQUAL = "as many weights as values are needed"


class BagEncoder(IndexedEncoder):
    """One feature per value in a bag.

    Attributes
    ----------
    num_cut
        Cells of training rows that held more than `max_length` values.
    """

    form = BAG

    def __init__(self, field: Field, scratch: Scratch | None = None) -> None:
        super().__init__(field, scratch)
        self.strict = field.weighted or field.weights is not None
        self.num_cut = 0

    def read(self, columns: Columns, others: Mapping[str, Cells]) -> Cells:
        """Split the cells and fingerprint their values."""
        name = self.field.column
        assert name is not None
        lengths, values, weights, bad = _values(columns, name, self.field)
        starts = _starts(lengths)
        with reading(name):
            text = canonical(values)
        found = fingerprints(text, self.seed)
        self.missing.drop_from(found)
        rejects: dict[int, Reject] = {}
        if self.field.weights is not None:
            of_values = split_cells(columns, self.field.weights, self.field)
            with reading(self.field.weights):
                weights, bad, unequal = _weights_beside(lengths, of_values, needed=found != 0)
            rejects = {row: columns.reject(row, self.field.weights, _UNEQUAL) for row in unequal.tolist()}
        for row in np.unique(np.searchsorted(starts, np.flatnonzero(bad), side="right") - 1).tolist():
            rejects.setdefault(row, columns.reject(row, self.field.weights or name, _BAD_WEIGHT))
        if self.field.weight_scale == "log":
            weights = compressed(weights)
        keeps = _first(found != 0, starts, self.field.max_length)
        kept = np.flatnonzero(keeps)
        offsets, places = _kept(starts, keeps)
        num_cut = 0
        if self.field.max_length is not None:
            num_cut = int(np.count_nonzero(np.diff(_starts(found != 0)[starts]) > self.field.max_length))
        weights = _placed(weights[kept], places, offsets[-1], 1)
        return Cells(
            fingerprints=_placed(found[kept], places, offsets[-1], self.default),
            texts=lambda at: _texts(text, kept, places, at, self.default_text),
            offsets=offsets,
            weights=weights if self.field.norm == "none" else normalised(weights, offsets, self.field.norm),
            rejects=tuple(rejects.values()),
            num_cut=num_cut,
        )

    def fit_chunk(self, cells: Cells) -> CountedValues:
        """Count the values, and the cells that were cut."""
        self.num_cut += cells.num_cut
        if self.strict and self.field.weight_scale == "none" and cells.weights is not None:
            self.largest = max(self.largest, float(np.abs(cells.weights).max(initial=0)))
        return super().fit_chunk(cells)

    def learned(self) -> Arrays:
        """Return counts and texts."""
        return {**super().learned(), "num_cut": np.array([self.num_cut]), "largest": np.array([self.largest])}

    def add_learned(self, arrays: Arrays) -> None:
        """Add counts, and texts where they are given."""
        rest = dict(arrays)
        self.num_cut += int(rest.pop("num_cut")[0])
        self.largest = max(self.largest, float(rest.pop("largest")[0]))
        super().add_learned(rest)

    def describe(self) -> dict[str, Any]:
        """Return how many cells were cut in fitting."""
        return {"num_cut": self.num_cut}

    def restore(self, described: Mapping[str, Any], arrays: Arrays) -> None:
        """Take over the vocabulary, or the counts of the buckets."""
        self.num_cut = int(described.get("num_cut", 0))  # older versions did not count them
        super().restore(described, arrays)


def measure_bags(columns: Columns, field: Field) -> tuple[int, float]:
    """Return how many values the longest bag of a column has, and the largest size of a weight.

    Of rows that are looked at once: no kernel is compiled for them.
    """
    assert field.column is not None
    lengths, values, weights, _ = _values(columns, field.column, field)
    with reading(field.column):
        text = spelled(values)
    markers = pc.unique(spelled(pa.array([None, *field.missing], text.type)))
    present = pc.invert(pc.is_in(text, value_set=markers)).to_numpy(zero_copy_only=False)
    if field.weights is not None:
        weights, _, _ = _weights_beside(lengths, split_cells(columns, field.weights, field), needed=present)
    longest = np.diff(_starts(present)[_starts(lengths)]).max(initial=1)
    return int(longest), float(np.abs(weights[present]).max(initial=0))


def _values(columns: Columns, name: str, field: Field) -> tuple[Int64s, pa.Array, Float32s, Bools]:
    """Return how many values each cell has, (B,), the N values of all, their weights, and which have no weight."""
    lengths, values = split_cells(columns, name, field)
    with reading(name):
        if field.weighted:
            return lengths, *weigh(values, field.missing)
        if is_pair(values.type):
            raise DataError("the values of the bag carry weights", expected="values alone", fix="set weighted = true")
    return lengths, values, np.ones(len(values), dtype=np.float32), np.zeros(len(values), dtype=np.bool_)


def weigh_cells(columns: Columns, field: Field) -> tuple[Int64s, pa.Array, Float32s, bool]:
    """Return how many values each cell of a bag has, (B,), the N values of all, their weights, and whether all are
    known: a value that is missing needs none.
    """
    assert field.column is not None
    lengths, values, weights, bad = _values(columns, field.column, field)
    if field.weights is None:
        return lengths, values, weights, not bad.any()
    of_weights = split_cells(columns, field.weights, field)
    weights, bad, unequal = _weights_beside(lengths, of_weights, needed=np.ones(len(values), dtype=np.bool_))
    return lengths, values, weights, not bad.any() and not len(unequal)


def split_cells(columns: Columns, name: str, field: Field) -> tuple[Int64s, pa.Array]:
    """Return how many values each cell has, (B,), and the values of all cells."""
    array = columns.array(name)
    if field.custom:
        with reading(name):
            lists = convert(field, columns.text(name))
    elif is_list(array.type):
        lists = array
    elif pa.types.is_map(array.type):
        lists = array.cast(pa.list_(pa.struct([("key", array.type.key_type), ("value", array.type.item_type)])))
    elif field.brackets:
        lists = split_lists(columns.written(name), field.separator)
    else:
        lists = pc.split_pattern(columns.written(name), pattern=field.separator)
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return lengths, lists.flatten()


def is_pair(kind: pa.DataType) -> bool:
    """Whether this is a value and its weight."""
    return bool(pa.types.is_struct(kind) and kind.num_fields == 2)


def split_pairs(pairs: pa.StructArray) -> tuple[pa.Array, pa.Array]:
    """Return the values of pairs, and their weights."""
    first, second = pairs.flatten()
    return (second, first) if pairs.type.field(0).name.lower() == "weight" else (first, second)


def weigh(values: pa.Array, missing: tuple[str, ...]) -> tuple[pa.Array, Float32s, Bools]:
    """Take values and weights apart, and say which values have no weight; one that is missing as a whole needs none."""
    if is_pair(values.type):
        values, weights = split_pairs(values)
        needed = pc.is_valid(values)
        weights = as_text(plain(weights))
    else:
        written = as_text(plain(values))
        needed = pc.invert(pc.is_in(written, value_set=pa.array([None, "", *missing], written.type)))
        values, weights = pc.extract_regex(written, _WEIGHTED).flatten()
    numbers, bad = _finite(weights)
    return values, numbers, bad & needed.to_numpy(zero_copy_only=False)


def _weights_beside(
    lengths: Int64s, of_values: tuple[Int64s, pa.Array], needed: Bools
) -> tuple[Float32s, Bools, Int64s]:
    """Find the weight of each value among those of another column.

    Parameters
    ----------
    lengths
        (B,): the values in each cell.
    of_values
        Weights in each cell, (B,), and the weights of all cells.
    needed
        (N,): the values that are not missing.

    Returns
    -------
    The weights, (N,); which values have none though they need one, (N,); and the rows with more or fewer weights than
    values, unless all values are missing.
    """
    num_weights, weights = of_values
    numbers, bad = _finite(as_text(plain(weights)))
    rank = np.arange(len(needed)) - np.repeat(_starts(lengths)[:-1], lengths)
    at = np.repeat(_starts(num_weights)[:-1], lengths) + rank
    equal = np.repeat(num_weights == lengths, lengths)
    at = np.where(equal, at, len(numbers))
    row = np.repeat(np.arange(len(lengths)), lengths)
    return np.append(numbers, np.float32(1))[at], np.append(bad, False)[at] & needed, np.unique(row[~equal & needed])


def _finite(weights: pa.Array) -> tuple[Float32s, Bools]:
    """Read weights, and say which are no finite number; their place holds 0."""
    numbers, _ = parse_text(weights)
    bad = ~(np.abs(numbers) <= _LARGEST)
    return np.where(bad, 0, numbers).astype(np.float32), bad


def compressed(weights: Float32s) -> Float32s:
    """Return weights of at most 1 as they are, and larger ones as 1 + log, with their sign: continuous and rising."""
    size = np.abs(weights)
    return np.where(size > 1, np.copysign(1 + np.log(np.maximum(size, 1)), weights), weights)


def normalised(weights: Float32s, offsets: Int64s, norm: Norm) -> Float32s:
    """Divide the weights of each bag by its norm (`schema.Field.norm`); a bag of weights 0 stays.

    Examples
    --------
    >>> weights, offsets = np.array([1, 1, 1, 1, 3, 4], np.float32), np.array([0, 4, 6])
    >>> normalised(weights, offsets, "sqrt").tolist()
    [0.5, 0.5, 0.5, 0.5, 0.6000000238418579, 0.800000011920929]
    >>> normalised(weights, offsets, "mean")[:4].tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    sizes = np.abs(weights.astype(np.float64))
    sums = np.add.reduceat(sizes**2 if norm == "sqrt" else sizes, offsets[:-1]) if len(weights) else np.ones(0)
    norms = np.sqrt(sums) if norm == "sqrt" else sums
    norms[norms == 0] = 1.0
    divided: Float32s = (weights / np.repeat(norms, np.diff(offsets))).astype(np.float32)
    return divided


def _starts(lengths: Int64s | Bools) -> Int64s:
    return np.concatenate([[0], np.cumsum(lengths)])


def _first(present: Bools, starts: Int64s, num: int | None) -> Bools:
    """Return which values are among the first `num` of their bag that are present; all that are without a number."""
    if num is None:
        return present
    before = _starts(present)
    in_bag = before[:-1] - np.repeat(before[starts[:-1]], np.diff(starts))
    return present & (in_bag < num)


def _kept(starts: Int64s, keeps: Bools) -> tuple[Int64s, Int64s]:
    """Drop the values that are not kept, and give the bags that are left empty a place.

    Returns
    -------
    The offsets of the bags, (B + 1,), and the places that the values kept have among them.
    """
    kept_before = _starts(keeps)[starts]
    lengths = np.diff(kept_before)
    offsets = _starts(np.maximum(lengths, 1))
    places = np.arange(kept_before[-1]) + np.repeat(offsets[:-1] - kept_before[:-1], lengths)
    return offsets, places


def _texts(text: pa.Array, kept: Int64s, places: Int64s, at: Int64s, default: str | None) -> pa.Array:
    """Return the texts of the values at some places, the default at those that no value has."""
    rank = np.searchsorted(places, at)
    is_value = np.append(places, -1)[rank] == at
    found = text.take(pa.array(np.append(kept, 0)[rank], mask=~is_value))
    return found if default is None else pc.fill_null(plain(found), default)


def _placed(values: npt.NDArray[Any], places: Int64s, num: int, rest: float) -> npt.NDArray[Any]:
    """Put values in their places, and `rest` in all others."""
    out = np.full(num, rest, dtype=values.dtype)
    out[places] = values
    return out
