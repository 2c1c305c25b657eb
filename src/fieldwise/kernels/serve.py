"""All features of some rows in one call: canonical texts, fingerprints, ids, bins and scaled numbers of every field.

It does for a few rows what `features` does for a chunk, column by column, with Arrow and numpy: for one row, calls of
these cost a hundred times what is done in them. The rules are those of `features.canonical`, `kernels.fingerprint`,
`kernels.hashtable`, `kernels.bins`, `features.numbers` and `features.bags`.

Letters: B rows, F fields, T columns of text, N fields of numbers, G bags, X fields whose ids are given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from fieldwise.kernels.canonical import CUT, KEEP, MISSING_TEXT, form_of, write_one
from fieldwise.kernels.fingerprint import hash_text, hash_words
from fieldwise.kernels.jit import kernel, merged
from fieldwise.kernels.layout import MISSING, UNSEEN

__all__ = [
    "BAG_OF_TEXTS", "BINNED", "CATEGORY", "CROSS", "DONE", "GIVEN", "NORMS", "SCALED", "SCALES", "Plan", "Raw",
    "encode_rows",
]  # fmt: skip

CATEGORY, CROSS, BINNED, SCALED, BAG_OF_TEXTS, GIVEN = range(6)
"""What is done for a field: its text has an id; those of other fields have one together; a number has a bin, or enters
as it is; the texts of a bag have ids; others number it, and its fingerprint is needed for crosses alone."""
SCALES = {"standard": 0, "none": 0, "log": 1, "sqrt": 2}
NORMS = {"none": 0, "sqrt": 1, "mean": 2}
DONE = -1
_U = np.uint64
_GOLDEN = _U(0x9E3779B97F4A7C15)
_LARGEST = float(np.finfo(np.float32).max)


class Plan(NamedTuple):
    """What an encoder does, as arrays.

    Attributes
    ----------
    kind, source, line
        (F,) int64: what is done; the number of the field's column of text, number, bag or given ids, or -1 for a cross;
        and its line of ids, or that of bags.
    begins, ends
        (F, 2) int64: which of `parts`, `edges` or `sentinels` are the field's, and which of `missing`.
    limits
        (F, 4) int64: rows, buckets or 0, capacity of the hash table, the most values of a bag or 0.
    words
        (F, 3) uint64: seed, address of the hash table, fingerprint of the default or 0.
    scales
        (F, 4) float64: mean, standard deviation, default or NaN, and the place in `SCALES` or `NORMS`.
    value_line
        (F,) int64: its line of values, or -1.
    missing
        (M,) uint64: fingerprints of texts that mean missing.
    parts
        (P,) int64: the fields that crosses combine.
    edges, sentinels
        (E,), (S,) float64: of bins; numbers that mean missing.
    """

    kind: npt.NDArray[np.int64]
    source: npt.NDArray[np.int64]
    line: npt.NDArray[np.int64]
    value_line: npt.NDArray[np.int64]
    begins: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    limits: npt.NDArray[np.int64]
    words: npt.NDArray[np.uint64]
    scales: npt.NDArray[np.float64]
    missing: npt.NDArray[np.uint64]
    parts: npt.NDArray[np.int64]
    edges: npt.NDArray[np.float64]
    sentinels: npt.NDArray[np.float64]


class Raw(NamedTuple):
    """Rows as they came.

    Attributes
    ----------
    data, words
        The bytes of all texts, and word i is bytes i .. i + 7 of them.
    offsets
        (number of texts + 1,) int64.
    row_step, column_step
        Text t of row b has the number ``b row_step + t column_step``.
    bags
        (G, B + 1) int64: the numbers of the texts of each bag.
    numbers
        (N, B) float64, NaN for missing.
    given
        (X, B) uint64 fingerprints.
    """

    data: npt.NDArray[np.uint8]
    words: npt.NDArray[np.uint64]
    offsets: npt.NDArray[np.int64]
    row_step: int
    column_step: int
    bags: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.float64]
    given: npt.NDArray[np.uint64]


def _load(typing_context: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        return builder.load(builder.inttoptr(arguments[0], word.as_pointer()))

    return types.uint64(types.uint64), generate


_word_at: Callable[[Any], Any] = intrinsic(_load)  # type: ignore[assignment]
"""In a kernel: the 64-bit word at an address. Each field's hash table is an array of its own, mapped from a file."""


@merged
def _find(address, capacity, key):  # type: ignore[no-untyped-def]
    """Return the value of a key in the hash table (C, 2) at an address; *unseen* where there is none."""
    at = (((key * _GOLDEN) >> _U(32)) * _U(capacity)) >> _U(32)
    for _ in range(capacity):
        found = _word_at(address + _U(16) * at)
        if found == key:
            return _word_at(address + _U(16) * at + _U(8))
        if found == _U(0):
            break
        at += _U(1)
        if at == _U(capacity):
            at = _U(0)
    return _U(UNSEEN)


@merged
def _print_of(data, words, begin, end, seed, scratch, scratch_words):  # type: ignore[no-untyped-def]
    """Return the fingerprint of a text's canonical text, 0 for missing."""
    if begin == end:
        return _U(0)
    form, length = form_of(data, begin, end)
    if form == MISSING_TEXT:
        return _U(0)
    if form == KEEP or form == CUT:
        return hash_text(data, words, begin, begin + length, seed)
    write_one(data, begin, form, scratch, np.int64(0), np.int64(length))
    return hash_text(scratch, scratch_words, np.int64(0), np.int64(length), seed)


@kernel
def encode_rows(plan, raw, scratch, scratch_words, prints, ids, values, offsets, bag_ids, bag_weights):  # type: ignore[no-untyped-def]
    """Write the features of B rows.

    Parameters
    ----------
    plan, raw
        `Plan` and `Raw`.
    scratch, scratch_words
        uint8, as long as the longest text and 16 more, and its words.
    prints
        (F, B) uint64, written: fingerprints, or ids of fields that have none.
    ids, values, offsets
        As in `kernels.layout.Batch`, written; offsets of one bag continue those of the one before.
    bag_ids, bag_weights
        As many as there are texts in bags, and one more for each empty one, at most; written.

    Returns
    -------
    `DONE`; or the number of a field whose values this kernel cannot take: they are to be read one by one.
    """
    num_rows = prints.shape[1]
    to = np.int64(0)
    for f in range(len(plan.kind)):
        kind, source = plan.kind[f], plan.source[f]
        seed, address, default = plan.words[f, 0], plan.words[f, 1], plan.words[f, 2]
        num_ids, buckets, capacity = _U(plan.limits[f, 0]), _U(plan.limits[f, 1]), plan.limits[f, 2]
        begin, end = plan.begins[f, 0], plan.ends[f, 0]
        first_missing, last_missing = plan.begins[f, 1], plan.ends[f, 1]
        if kind == BAG_OF_TEXTS:
            most, line, norm = plan.limits[f, 3], plan.line[f], plan.scales[f, 3]
            offsets[line, 0] = to
            for b in range(num_rows):
                start = to
                for t in range(raw.bags[source, b], raw.bags[source, b + 1]):
                    found = _print_of(
                        raw.data, raw.words, raw.offsets[t], raw.offsets[t + 1], seed, scratch, scratch_words
                    )
                    for m in range(first_missing, last_missing):
                        if found == plan.missing[m]:
                            found = _U(0)
                    if found == _U(0):
                        continue
                    if most > 0 and to - start == most:
                        break
                    id_ = _U(2) + found % buckets if buckets > 0 else _find(address, capacity, found)
                    if id_ >= num_ids:
                        return f
                    bag_ids[to] = id_
                    to += 1
                if to == start:
                    id_ = _U(MISSING)
                    if default != _U(0):
                        id_ = _U(2) + default % buckets if buckets > 0 else _find(address, capacity, default)
                    if id_ >= num_ids:
                        return f
                    bag_ids[to] = id_
                    to += 1
                size = np.float64(to - start)
                divisor = np.sqrt(size) if norm == 1 else (size if norm == 2 else 1.0)
                for i in range(start, to):
                    bag_weights[i] = 1.0 / divisor
                offsets[line, b + 1] = to
            continue
        line = plan.line[f]
        if kind == BINNED or kind == SCALED:
            mean, deviation, instead, scale = plan.scales[f, 0], plan.scales[f, 1], plan.scales[f, 2], plan.scales[f, 3]
            for b in range(num_rows):
                x = raw.numbers[source, b]
                for s in range(first_missing, last_missing):
                    if x == plan.sentinels[s]:
                        x = np.nan
                if np.isinf(x):
                    return f
                if np.isnan(x):
                    x = instead
                if kind == BINNED:
                    low, high = begin, end
                    while low < high:
                        middle = (low + high) // 2
                        if plan.edges[middle] <= x:
                            low = middle + 1
                        else:
                            high = middle
                    bin_ = _U(0) if np.isnan(x) else _U(2 + low - begin)
                    prints[f, b], ids[line, b] = bin_, bin_
                    continue
                if np.isnan(x):
                    ids[line, b], values[plan.value_line[f], b] = MISSING, 1.0
                    continue
                size = np.abs(x)
                if scale == 1:
                    size = np.log1p(size)
                elif scale == 2:
                    size = np.sqrt(size)
                scaled = (np.copysign(size, x) - mean) / deviation
                values[plan.value_line[f], b] = min(max(scaled, -_LARGEST), _LARGEST)
                ids[line, b] = 1
            continue
        for b in range(num_rows):
            if kind == GIVEN:
                found = raw.given[source, b]
                prints[f, b] = found
                continue
            if kind == CROSS:
                found = _U(1)
                for p in range(begin, end):
                    if prints[plan.parts[p], b] == _U(0):
                        found = _U(0)
                if found != _U(0):
                    found = hash_words(prints, plan.parts, begin, end, b, seed)
            else:
                t = b * raw.row_step + source * raw.column_step
                found = _print_of(raw.data, raw.words, raw.offsets[t], raw.offsets[t + 1], seed, scratch, scratch_words)
                for m in range(first_missing, last_missing):
                    if found == plan.missing[m]:
                        found = _U(0)
                if found == _U(0):
                    found = default
            prints[f, b] = found
            id_ = _U(MISSING)
            if found != _U(0):
                id_ = _U(2) + found % buckets if buckets > 0 else _find(address, capacity, found)
            if id_ >= num_ids:
                return f
            ids[line, b] = id_
    return DONE
