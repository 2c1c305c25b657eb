"""The canonical text of a value: one spelling for every type of column and every writer of CSV.

=============================  =========================================================================================
column or text                 canonical text
=============================  =========================================================================================
null, NaN, "", "nan", "NaN"    missing
string, binary, dictionary     as written, except for the rules below (dictionaries: their values)
UUID                           as 8-4-4-4-12 digits, as every writer of CSV spells it
integer                        its digits: 5, -12
float                          the shortest digits that read back as the same float: 0.1; whole ones below 10^16 as
                               integers: 5
"5.0", "-0.00", "1.25e+10"     whole numbers with zeros only after the point, or with a signed exponent of at most 15
                               (so Arrow writes floats): 5, 0, 12500000000
"05", "1e3", "5.", "5.50"      as written: they may be codes, and no writer makes them from numbers
decimal                        as written with its scale, then the rules above: 5.50, 5
boolean, "True", "FALSE"       true, false; text in any case
date                           2026-11-08
timestamp                      in UTC, without zone, without ending zeros of the fraction, without midnight:
                               2026-11-08 09:30:00.25, 2026-11-08 09:30:00, 2026-11-08
"2026-11-08T09:30:00.250Z"     the same for text with "T" or a space, and no zone or Z, +00, +0000, +00:00; with another
                               zone as written
=============================  =========================================================================================

So a log gives the same features as Parquet and as the CSV that Arrow, pandas or polars writes from it. Floats from
10^16 on, or so small that the writer needs an exponent, keep the writer's spelling (1e-05 or 0.00001): give such a
column bins, or read it from Parquet in training and serving alike.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fieldwise.errors import DataError
from fieldwise.kernels.canonical import BUT_FOR_EMPTY, MAY_CHANGE, MISSING_TEXT, is_canonical, spell, write
from fieldwise.kernels.fingerprint import fingerprint
from fieldwise.kernels.texts import pick_texts

__all__ = [
    "Buffers",
    "as_text",
    "buffers",
    "canonical",
    "fingerprints",
    "is_list",
    "is_text",
    "is_uuid",
    "plain",
    "taken",
]


def canonical(array: pa.Array) -> pa.Array:
    """Return the canonical text of every value, null for a missing one.

    Returns
    -------
    An array of strings or large strings; a dictionary of them for a dictionary no longer than the array.

    Raises
    ------
    DataError
        For lists, structs and other types that have no text.

    Examples
    --------
    >>> canonical(pa.array([5.0, 0.25, None])).to_pylist()
    ['5', '0.25', None]
    >>> canonical(pa.array(["5.0", "05", "TRUE", "", "2026-11-08T00:00:00Z"])).to_pylist()
    ['5', '05', 'true', None, '2026-11-08']
    """
    if pa.types.is_dictionary(array.type) and len(array.dictionary) <= len(array):
        return pa.DictionaryArray.from_arrays(array.indices, canonical(array.dictionary))
    return _respelled(as_text(plain(array)))


def plain(array: pa.Array) -> pa.Array:
    """Return the array without dictionary encoding."""
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


_BYTES = (pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(1))
_TEXTS = frozenset(kind.id for kind in (pa.string(), pa.large_string(), pa.string_view(), *_BYTES))
_LISTS = (pa.ListType, pa.LargeListType, pa.FixedSizeListType, pa.ListViewType, pa.LargeListViewType)


def is_text(kind: pa.DataType) -> bool:
    """Whether values of this type are text as somebody wrote it."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return kind.id in _TEXTS or is_uuid(kind)


def is_uuid(kind: pa.DataType) -> bool:
    """Whether this is the logical type of universally unique identifiers."""
    return getattr(kind, "extension_name", "") == "arrow.uuid"


def is_list(kind: pa.DataType) -> bool:
    """Whether this is a list of any sort."""
    return isinstance(kind, _LISTS)


def as_text(array: pa.Array) -> pa.Array:
    """Return plain values as strings or large strings, text as it is written."""
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return array
    if pa.types.is_string_view(kind):
        return array.cast(pa.large_string())
    if is_uuid(kind):
        return _of_uuids(array)
    if is_text(kind):  # bytes need not be UTF-8: they are only fingerprinted
        return array.cast(pa.large_binary()).cast(pa.large_string(), safe=False)
    if pa.types.is_float16(kind):
        return array.cast(pa.float32()).cast(pa.string())
    if pa.types.is_date64(kind):
        return array.cast(pa.date32()).cast(pa.string())
    if pa.types.is_timestamp(kind):
        return array.cast(pa.timestamp(kind.unit)).cast(pa.string())
    if any(test(kind) for test in _WITH_TEXT):
        return array.cast(pa.string())
    raise DataError(
        "a column of this type has no text form",
        expected="text, numbers, booleans, dates or timestamps; lists for a bag",
        got=kind,
        fix="cast the column, or leave the field out",
    )


_HEX = np.frombuffer(bytes(range(256)).hex().encode(), dtype=np.uint8).reshape(256, 2)
_UUID_DIGITS = np.array([at for at in range(36) if at not in (8, 13, 18, 23)])


def _of_uuids(array: pa.Array) -> pa.Array:
    stored = array.storage.fill_null(bytes(16))
    raw = np.frombuffer(stored.buffers()[1], dtype=np.uint8)[16 * stored.offset :][: 16 * len(stored)]
    texts = np.full((len(stored), 36), ord("-"), dtype=np.uint8)
    texts[:, _UUID_DIGITS] = _HEX[raw].reshape(-1, 32)
    ends = np.arange(0, texts.size + 1, 36, dtype=np.int64)
    found = pa.Array.from_buffers(pa.large_string(), len(stored), [None, pa.py_buffer(ends), pa.py_buffer(texts)])
    return pc.if_else(array.is_valid(), found, None) if array.null_count else found


_WITH_TEXT = (
    pa.types.is_boolean,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_decimal,
    pa.types.is_date32,
    pa.types.is_null,
)


class Buffers(NamedTuple):
    """An array of strings as numpy sees it: text i is ``data[offsets[i] : offsets[i + 1]]``."""

    data: npt.NDArray[np.uint8]
    offsets: npt.NDArray[Any]
    """(N + 1,) int32 or int64; the first need not be 0."""
    valid: npt.NDArray[np.bool_]
    """(N,), or empty where there is no null."""


_LARGEST_INT32 = np.iinfo(np.int32).max
_NO_BYTES, _NO_OFFSETS = np.zeros(0, dtype=np.uint8), np.zeros(1, dtype=np.int32)
_NO_BYTES.flags.writeable = _NO_OFFSETS.flags.writeable = False


def buffers(text: pa.Array) -> Buffers:
    """Look into an array of strings, sliced or not, without copying its bytes."""
    valid = pc.is_valid(text).to_numpy(zero_copy_only=False) if text.null_count else np.zeros(0, dtype=np.bool_)
    if len(text) == 0:
        return Buffers(_NO_BYTES, _NO_OFFSETS, valid)
    _, ends, content = text.buffers()
    width = np.int64 if pa.types.is_large_string(text.type) else np.int32
    offsets = np.frombuffer(ends, dtype=width)[text.offset : text.offset + len(text) + 1]
    if width is np.int64 and offsets[-1] <= _LARGEST_INT32:
        offsets = offsets.astype(np.int32)  # one kind for nearly all texts: numba compiles once for each
    data = np.frombuffer(content, dtype=np.uint8) if content is not None and content.size else _NO_BYTES
    data = data[: offsets[-1]]
    data.flags.writeable = False  # as most Arrow buffers are: numba compiles once for each kind of array
    offsets.flags.writeable = False
    return Buffers(data, offsets, valid)


def taken(text: pa.Array, places: npt.NDArray[np.int64]) -> pa.Array:
    """Return ``text.take(places)``, sooner where there are few: Arrow's own takes 50 microseconds for one.

    Examples
    --------
    >>> taken(pa.array(["a", "bc", "d"]), np.array([2, 1])).to_pylist()
    ['d', 'bc']
    """
    if pa.types.is_dictionary(text.type) or text.null_count:
        return text.take(places)
    data, offsets, _ = buffers(text)
    content, ends = pick_texts(data, offsets, places)
    return pa.Array.from_buffers(pa.large_string(), len(places), [None, pa.py_buffer(ends), pa.py_buffer(content)])


def _respelled(text: pa.Array) -> pa.Array:
    data, offsets, valid = buffers(text)
    found = is_canonical(data, offsets, valid)
    if found == BUT_FOR_EMPTY:
        return pc.if_else(pc.equal(pc.binary_length(text), 0), pa.scalar(None, text.type), text)
    if found != MAY_CHANGE:
        return text
    offsets = offsets.astype(np.int64)
    forms = np.empty(len(text), dtype=np.uint8)
    ends = np.empty(len(text) + 1, dtype=np.int64)
    if not spell(data, offsets, valid, forms, ends):
        return text
    out = np.empty(ends[-1], dtype=np.uint8)
    write(data, offsets, forms, ends, out)
    validity = np.packbits(forms != MISSING_TEXT, bitorder="little")
    parts = [pa.py_buffer(validity), pa.py_buffer(ends), pa.py_buffer(out)]
    return pa.Array.from_buffers(pa.large_string(), len(text), parts)


def fingerprints(text: pa.Array, seed: int) -> npt.NDArray[np.uint64]:
    """Fingerprint canonical texts, (N,) uint64; 0 for null.

    Examples
    --------
    >>> text = canonical(pa.array(["a", None, "a"]))
    >>> fingerprints(text, 0).tolist() == fingerprints(text.dictionary_encode(), 0).tolist()
    True
    """
    if pa.types.is_dictionary(text.type):
        of_dictionary = np.append(fingerprints(text.dictionary, seed), np.uint64(0))
        at: npt.NDArray[np.int64] = text.indices.cast(pa.int64()).fill_null(len(text.dictionary)).to_numpy()
        return of_dictionary[at]
    data, offsets, valid = buffers(text)
    found = fingerprint(data, offsets, seed)
    if len(valid):
        found[~valid] = 0
    return found
