"""Columns of one name and several types: what can be read alike, and a sample of them as one column.

Encoding needs no common type: every file's cells become canonical texts, numbers or moments by themselves, so a column
that is int64 on one day and double on the next, because pandas met a gap, has the same features on both. Two types are
read alike where equal values of both become the same feature, which depends on what reads them:

==============================  ===============================  ===================================================
types                           read alike as                    because
==============================  ===============================  ===================================================
integers, floats                texts and numbers                5 and 5.0 have one canonical text
decimals                        numbers; as texts those of one   5.50 is written 5.50 and not 5.5
                                scale, beside integers too
strings, binaries               anything but lists               text is what somebody wrote, as in a CSV
dates, timestamps               texts and times                  of any unit, in any zone: they are told in UTC
dates, timestamps and numbers   times                            numbers count from 1970
booleans                        booleans and text                true is not 1, but for a label
lists, or one value             bags, of items that are alike    a cell of one value is a bag of one
null                            anything                         it holds no value
==============================  ===============================  ===================================================

A dictionary is what its values are.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fieldwise.errors import DataError
from fieldwise.features.canonical import as_text, canonical, is_list, is_text, is_uuid, plain

__all__ = ["ReadAs", "are_alike", "common_type", "concatenated", "holds_integers"]

ReadAs = Literal["text", "number", "time", "bag", "label"]
"""What a column is read as: canonical texts, numbers, points in time, several texts in a cell, or classes."""


def are_alike(one: pa.DataType, other: pa.DataType, reading: ReadAs) -> bool:
    """Whether equal values of two types become the same feature.

    Examples
    --------
    >>> are_alike(pa.int64(), pa.float64(), "text"), are_alike(pa.int64(), pa.bool_(), "text")
    (True, False)
    >>> are_alike(pa.int64(), pa.timestamp("us"), "text"), are_alike(pa.int64(), pa.timestamp("us"), "time")
    (False, True)
    """
    one, other = _value_type(one), _value_type(other)
    if one == other or pa.types.is_null(one) or pa.types.is_null(other):
        return True
    if is_list(one) or is_list(other):
        items = [kind.value_type if is_list(kind) else kind for kind in (one, other)]
        return reading == "bag" and are_alike(items[0], items[1], "text")
    if pa.types.is_struct(one) and pa.types.is_struct(other):  # values with weights
        pairs = [[kind.field(at) for at in range(kind.num_fields)] for kind in (one, other)]
        return [part.name for part in pairs[0]] == [part.name for part in pairs[1]] and all(
            are_alike(a.type, b.type, "text") for a, b in zip(*pairs, strict=True)
        )
    families = {_family(one), _family(other)}
    if "other" in families:
        return False
    if "text" in families or len(families) == 1:
        return True
    if reading in ("number", "time"):
        families = {"number" if family.startswith("decimal") else family for family in families}
        return len(families) == 1 or (reading == "time" and families == {"number", "moment"})
    if reading == "label" and families == {"boolean", "number"}:  # 1 and true are one class (`features.classes`)
        return True
    # A decimal writes 5.00, which is read as 5, and 5.50, which no integer is; a float writes 5.5.
    has_integers = pa.types.is_integer(one) or pa.types.is_integer(other)
    return has_integers and any(family.startswith("decimal") for family in families)


def holds_integers(kind: pa.DataType) -> bool:
    """Whether this is an integer of any width, also in a dictionary."""
    return bool(pa.types.is_integer(_value_type(kind)))


def common_type(name: str, types: Sequence[pa.DataType]) -> pa.DataType:
    """Return the type that holds a column of identifiers in files that do not agree on it, without loss.

    Integers become 64 bits wide; what is of different kinds becomes text, in the spelling that the features have.

    Raises
    ------
    DataError
        Lists and structs identify nothing.

    Examples
    --------
    >>> common_type("id", [pa.int32(), pa.int64()]), common_type("id", [pa.int64(), pa.uint64()])
    (DataType(int64), DataType(string))
    >>> common_type("id", [pa.dictionary(pa.int8(), pa.large_string())])
    DataType(string)
    """
    found = set(map(_value_type, types)) - {pa.null()}
    for kind in found:
        try:
            as_text(pa.array([], pa.string() if is_uuid(kind) else kind))
        except DataError as error:
            raise DataError(
                "the column cannot identify rows", where=f"column {name}", expected=error.expected, got=kind
            ) from None
    if len(found) == 1 and not any(map(_is_spelled, found)):
        return found.pop()
    if found and all(pa.types.is_unsigned_integer(kind) for kind in found) and pa.uint64() in found:
        return pa.uint64()
    if found and all(pa.types.is_integer(kind) for kind in found) and pa.uint64() not in found:
        return pa.int64()
    return pa.string()


def concatenated(arrays: Sequence[pa.Array | pa.ChunkedArray]) -> pa.ChunkedArray:
    """Return the cells of some arrays as one column; nothing that tells one value from another is lost.

    Cells of types that have nothing in common with the first that is known are null: `are_alike` says so, and no field
    can read such a column.

    Examples
    --------
    >>> concatenated([pa.array([5, 2**62]), pa.array([5.0, None])]).to_pylist()
    ['5', '4611686018427387904', '5', None]
    """
    chunks = [chunk for array in arrays for chunk in (array.chunks if isinstance(array, pa.ChunkedArray) else [array])]
    if len({chunk.type for chunk in chunks}) == 1:
        return pa.chunked_array(chunks)
    marked = any(pa.types.is_dictionary(chunk.type) for chunk in chunks)
    chunks = _of_one_type([plain(chunk) for chunk in chunks])
    column = pa.chunked_array(chunks)
    # Whoever wrote a dictionary in one file said that its values are categories.
    return column.dictionary_encode() if marked and not is_list(column.type) else column


def _is_spelled(kind: pa.DataType) -> bool:
    """Whether this is a type of text that comes as plain text."""
    views = pa.types.is_string_view(kind) or pa.types.is_binary_view(kind)  # which no file of text takes
    return bool(pa.types.is_large_string(kind) or views or is_uuid(kind))


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _family(kind: pa.DataType) -> str:
    if is_text(kind):
        return "text"
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return "number"
    if pa.types.is_decimal(kind):
        return f"decimal {kind.scale}" if kind.scale > 0 else "number"
    return "moment" if pa.types.is_timestamp(kind) or pa.types.is_date(kind) else "other"


def _of_one_type(arrays: list[pa.Array]) -> list[pa.Array]:
    kinds = list(dict.fromkeys(array.type for array in arrays if not pa.types.is_null(array.type)))
    if len(kinds) <= 1:
        return [array if array.type in kinds else pa.nulls(len(array), *kinds) for array in arrays]
    if any(map(is_list, kinds)):
        return _lists(arrays)
    if all(map(pa.types.is_struct, kinds)) and all(
        [part.name for part in one] == [part.name for part in other] for one, other in pairwise(kinds)
    ):
        parts = [_of_one_type(list(of_part)) for of_part in zip(*(array.flatten() for array in arrays), strict=True)]
        names = [part.name for part in kinds[0]]
        return [
            pa.StructArray.from_arrays(list(of_array), names, mask=array.is_null())
            for array, of_array in zip(arrays, zip(*parts, strict=True), strict=True)
        ]
    texts: list[pa.Array] = []
    for array in arrays:
        try:
            texts.append(plain(canonical(array)).cast(pa.large_string(), safe=False))
        except DataError:  # times of day, structs and what else has no text
            texts.append(pa.nulls(len(array), pa.large_string()))
    return texts


def _lists(arrays: list[pa.Array]) -> list[pa.Array]:
    """Return lists as lists of one type of items; what is no list is null."""
    lists = [array if is_list(array.type) else pa.nulls(len(array), pa.list_(pa.null())) for array in arrays]
    items = _of_one_type([plain(array.flatten()) for array in lists])
    found = []
    for array, of_array in zip(lists, items, strict=True):
        lengths = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False)
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int64())
        found.append(pa.LargeListArray.from_arrays(offsets, of_array, mask=array.is_null()))
    return found
