"""Bags: several features of one field in one example.

A cell is a text, split at the field's separator, or an Arrow list. What it holds is canonical text like any other
value; empty and missing values are passed over, and a cell without any value is one feature with weight 1: the field's
`default`, or *missing*.
A value that occurs twice is there twice. The order does not matter to a model and is kept; where the field has a
`max_length`, the first values of a cell are all that is learned from and encoded.

With weights, a value in text is followed by a colon and its weight (the last colon counts, so values may hold colons);
in a list it may also be a pair: a struct of value and weight, or the entry of a map. A weight is a finite number of any
sign; a value without one is a reject.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fieldwise.features.canonical import as_text, canonical, fingerprints, plain
from fieldwise.features.columns import Cells, Columns, reading
from fieldwise.features.fields import IndexedEncoder
from fieldwise.features.parse import parse_text
from fieldwise.kernels.layout import BAG
from fieldwise.schema import Field

__all__ = ["BagEncoder"]

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
_LARGEST = float(np.finfo(np.float32).max)
_WEIGHTED = r"(?s)^(?P<value>.*):(?P<weight>[^:]*)$"
_BAD_WEIGHT = "a value of the bag has no finite weight"


class BagEncoder(IndexedEncoder):
    """One feature per value in a bag."""

    form = BAG

    def __init__(self, field: Field) -> None:
        super().__init__(field)
        self.strict = field.weighted

    def read(self, columns: Columns, others: Mapping[str, Cells]) -> Cells:
        """Split the cells and fingerprint their values."""
        name = self.field.column
        assert name is not None
        lengths, values = _split(columns, name, self.field.separator)
        weights, bad = np.ones(len(values), dtype=np.float32), np.zeros(len(values), dtype=np.bool_)
        with reading(name):
            if self.field.weighted:
                values, weights, bad = _weigh(values)
            text = canonical(values)
        starts = _starts(lengths)
        rows = np.unique(np.searchsorted(starts, np.flatnonzero(bad), side="right") - 1)
        found = fingerprints(text, self.seed)
        keeps = _first(found != 0, starts, self.field.max_length)
        kept = np.flatnonzero(keeps)
        offsets, places = _kept(starts, keeps)
        return Cells(
            fingerprints=_placed(found[kept], places, offsets[-1], self.default),
            texts=lambda at: _texts(text, kept, places, at, self.default_text),
            offsets=offsets,
            weights=_placed(weights[kept], places, offsets[-1], 1),
            rejects=tuple(columns.reject(int(row), name, _BAD_WEIGHT) for row in rows),
        )


def _split(columns: Columns, name: str, separator: str) -> tuple[Int64s, pa.Array]:
    """Return how many values each cell has, (B,), and the values of all cells."""
    array = columns.array(name)
    if _is_list(array.type):
        lists = array
    elif pa.types.is_map(array.type):
        lists = array.cast(pa.list_(pa.struct([("key", array.type.key_type), ("value", array.type.item_type)])))
    else:
        lists = pc.split_pattern(columns.written(name), pattern=separator)
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return lengths, lists.flatten()


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _weigh(values: pa.Array) -> tuple[pa.Array, npt.NDArray[np.float32], Bools]:
    """Take values and weights apart, and say which values have no weight; one that is empty as a whole needs none."""
    if pa.types.is_struct(values.type) and values.type.num_fields == 2:
        values, weights = values.flatten()
        needed = pc.is_valid(values)
        weights = as_text(plain(weights))
    else:
        written = as_text(plain(values))
        needed = pc.not_equal(written, "").fill_null(False)
        values, weights = pc.extract_regex(written, _WEIGHTED).flatten()
    numbers, _ = parse_text(weights)
    bad = ~(np.abs(numbers) <= _LARGEST) & needed.to_numpy(zero_copy_only=False)
    return values, np.where(bad, 0, numbers).astype(np.float32), bad


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
