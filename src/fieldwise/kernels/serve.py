"""All features of some rows in one call: canonical texts, fingerprints, ids, bins and scaled numbers of every field.

It does for a few rows what `features` does for a chunk, column by column, with Arrow and numpy: for one row, calls of
these cost a hundred times what is done in them. The rules are those of `features.canonical`, `kernels.fingerprint`,
`kernels.hashtable`, `kernels.bins`, `features.numbers`, `features.bags`, `features.moments` and `features.times`.

Letters: B rows, F fields, T columns of text, N fields of numbers, G bags, X fields whose ids are given, M columns that
are read as moments, each in one way.
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
from fieldwise.kernels.moments import UNREAD, calendar_part, clock_ahead, read_moment

__all__ = [
    "AGE", "BAG_OF_TEXTS", "BINNED", "CALENDAR", "CATEGORY", "CROSS", "GIVEN", "NORMS", "SCALED", "SCALES", "Plan",
    "Raw", "encode_rows",
]  # fmt: skip

CATEGORY, CROSS, BINNED, SCALED, BAG_OF_TEXTS, GIVEN, CALENDAR = range(7)
"""What is done for a field: its text has an id; those of other fields have one together; a number has a bin, or enters
as it is; the texts of a bag have ids; others number it, and its fingerprint is needed for crosses alone; a moment has
an hour, a weekday, a day or a month."""
AGE = -1
"""The source of a number that is the days between two moments."""
SCALES = {"standard": 0, "none": 0, "log": 1, "sqrt": 2}
NORMS = {"none": 0, "sqrt": 1, "mean": 2}
_U = np.uint64
_GOLDEN = _U(0x9E3779B97F4A7C15)
_LARGEST = float(np.finfo(np.float32).max)
_DAY = 86_400.0


class Plan(NamedTuple):
    """What an encoder does, as arrays.

    Attributes
    ----------
    kind, source, line
        (F,) int64: what is done; the number of the field's column of text, number, bag, moments or given ids, or -1
        for a cross and an age; and its line of ids, or that of bags.
    begins, ends
        (F, 2) int64: which of `parts`, `edges` or `zone_quarters` are the field's, and which of `missing` or
        `sentinels`.
    limits
        (F, 4) int64: rows, buckets or 0, capacity of the hash table, the most values of a bag or 0; of an age the
        numbers of its moments, second and third; of a part of a moment which it is, second.
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
        (E,), (S,) float64: of bins; numbers and moments that mean missing.
    moments
        (M, 5) int64: the column of text, which of `patterns` and which of `sentinels` are its own.
    per_second
        (M,) float64: how many units of a number are a second; 0 where its size tells, negative where it has a pattern
        alone.
    patterns
        (P,) int64: as of `kernels.times`.
    zone_quarters, zone_ahead
        (Z,) int64: from which quarter of an hour since 1970 on a clock is ahead of UTC, and by how many seconds.
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
    moments: npt.NDArray[np.int64]
    per_second: npt.NDArray[np.float64]
    patterns: npt.NDArray[np.int64]
    zone_quarters: npt.NDArray[np.int64]
    zone_ahead: npt.NDArray[np.int64]


class Raw(NamedTuple):
    """Rows as they came.

    Attributes
    ----------
    data, words
        The bytes of all texts, and word i is bytes i .. i + 7 of them.
    offsets, gap
        (number of texts + 1,) int64: text t is bytes ``offsets[t] .. offsets[t + 1] - gap - 1``.
    first, step
        (T,) int64: the text of column t in row b has the number ``first[t] + b step[t]``.
    bags
        (G, B + 1) int64: the numbers of the texts of each bag.
    weights
        (W,) float32: of the texts of all bags; W = 0 where all are 1.
    numbers
        (N, B) float64, NaN for missing.
    given
        (X, B) uint64 fingerprints.
    alike
        (F,) bool: fields whose cells are the same in all rows; those of the first are looked at.
    """

    data: npt.NDArray[np.uint8]
    words: npt.NDArray[np.uint64]
    offsets: npt.NDArray[np.int64]
    gap: int
    first: npt.NDArray[np.int64]
    step: npt.NDArray[np.int64]
    bags: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    numbers: npt.NDArray[np.float64]
    given: npt.NDArray[np.uint64]
    alike: npt.NDArray[np.bool_]


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
def encode_rows(plan, raw, scratch, scratch_words, places, moments, prints, ids, values, offsets, bag_ids, bag_weights):  # type: ignore[no-untyped-def]
    """Write the features of B rows.

    Parameters
    ----------
    plan, raw
        `Plan` and `Raw`.
    scratch, scratch_words
        uint8, as long as the longest text and 16 more, and its words.
    places
        (9,) int64, written.
    moments
        (M, B) float64, written.
    prints
        (F, B) uint64, written: fingerprints, or ids of fields that have none.
    ids, values, offsets
        As in `kernels.layout.Batch`, written; offsets of one bag continue those of the one before.
    bag_ids, bag_weights
        As many as there are texts in bags, and one more for each empty one, at most; written.

    Returns
    -------
    Whether all is done; or else there are values that this kernel cannot take: they are to be read one by one.
    """
    num_rows = prints.shape[1]
    for m in range(len(plan.moments)):
        column, first, last = plan.moments[m, 0], plan.moments[m, 3], plan.moments[m, 4]
        places[0], places[1], places[2] = 1970, 1, 1  # what a pattern leaves out
        pattern = plan.patterns[plan.moments[m, 1] : plan.moments[m, 2]]
        for b in range(1 if raw.step[column] == 0 else num_rows):
            t = raw.first[column] + b * raw.step[column]
            moment = read_moment(
                raw.data, raw.offsets[t], raw.offsets[t + 1] - raw.gap, pattern, plan.per_second[m], places
            )
            if moment == UNREAD:
                return False
            for s in range(first, last):
                if moment == plan.sentinels[s]:
                    moment = np.nan
            moments[m, b] = moment
        if raw.step[column] == 0:
            moments[m, 1:] = moments[m, 0]
    to = np.int64(0)
    for f in range(len(plan.kind)):
        kind, source = plan.kind[f], plan.source[f]
        seed, address, default = plan.words[f, 0], plan.words[f, 1], plan.words[f, 2]
        num_ids, buckets, capacity = _U(plan.limits[f, 0]), _U(plan.limits[f, 1]), plan.limits[f, 2]
        begin, end = plan.begins[f, 0], plan.ends[f, 0]
        first_missing, last_missing = plan.begins[f, 1], plan.ends[f, 1]
        num_looked = min(num_rows, 1) if raw.alike[f] else num_rows
        line = plan.line[f]
        if kind == BAG_OF_TEXTS:
            most, norm = plan.limits[f, 3], plan.scales[f, 3]
            offsets[line, 0] = to
            for b in range(num_looked):
                start, total = to, 0.0
                for t in range(raw.bags[source, b], raw.bags[source, b + 1]):
                    begins, ends = raw.offsets[t], raw.offsets[t + 1] - raw.gap
                    found = _print_of(raw.data, raw.words, begins, ends, seed, scratch, scratch_words)
                    for m in range(first_missing, last_missing):
                        if found == plan.missing[m]:
                            found = _U(0)
                    if found == _U(0):
                        continue
                    if most > 0 and to - start == most:
                        break
                    id_ = _U(2) + found % buckets if buckets > 0 else _find(address, capacity, found)
                    if id_ >= num_ids:
                        return False
                    weight = np.float64(raw.weights[t - raw.bags[0, 0]]) if len(raw.weights) > 0 else 1.0
                    bag_ids[to], bag_weights[to] = id_, weight
                    total += weight * weight if norm == 1 else abs(weight)
                    to += 1
                if to == start:
                    id_ = _U(MISSING)
                    if default != _U(0):
                        id_ = _U(2) + default % buckets if buckets > 0 else _find(address, capacity, default)
                    if id_ >= num_ids:
                        return False
                    bag_ids[to], bag_weights[to] = id_, 1.0
                    total = 1.0
                    to += 1
                divisor = np.sqrt(total) if norm == 1 else total
                if norm > 0 and divisor > 0:
                    for i in range(start, to):
                        bag_weights[i] = bag_weights[i] / divisor
                offsets[line, b + 1] = to
            for b in range(num_looked, num_rows):
                for i in range(offsets[line, 0], offsets[line, 1]):
                    bag_ids[to], bag_weights[to] = bag_ids[i], bag_weights[i]
                    to += 1
                offsets[line, b + 1] = to
            continue
        for b in range(num_looked):
            if kind == BINNED or kind == SCALED:
                if source == AGE:
                    x = (moments[plan.limits[f, 1], b] - moments[plan.limits[f, 2], b]) / _DAY
                else:
                    x = raw.numbers[source, b]
                for s in range(first_missing, last_missing):
                    if x == plan.sentinels[s]:
                        x = np.nan
                if np.isinf(x):
                    return False
                if np.isnan(x):
                    x = plan.scales[f, 2]
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
                size, scale = np.abs(x), plan.scales[f, 3]
                if scale == 1:
                    size = np.log1p(size)
                elif scale == 2:
                    size = np.sqrt(size)
                scaled = (np.copysign(size, x) - plan.scales[f, 0]) / plan.scales[f, 1]
                values[plan.value_line[f], b] = min(max(scaled, -_LARGEST), _LARGEST)
                ids[line, b] = 1
                continue
            if kind == CALENDAR:
                shown, moment = _U(MISSING), moments[source, b]
                if not np.isnan(moment):
                    seconds = np.int64(moment)
                    ahead = clock_ahead(plan.zone_quarters, plan.zone_ahead, begin, end, seconds)
                    if ahead == UNREAD:
                        return False
                    shown = _U(2 + calendar_part(seconds + np.int64(ahead), plan.limits[f, 1]))
                prints[f, b], ids[line, b] = shown, shown
                continue
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
                t = raw.first[source] + b * raw.step[source]
                found = _print_of(
                    raw.data, raw.words, raw.offsets[t], raw.offsets[t + 1] - raw.gap, seed, scratch, scratch_words
                )
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
                return False
            ids[line, b] = id_
        for b in range(num_looked, num_rows):
            prints[f, b], ids[line, b] = prints[f, 0], ids[line, 0]
            if kind == SCALED:
                values[plan.value_line[f], b] = values[plan.value_line[f], 0]
    return True
