"""Numbers in text as float64: Arrow reads what is written plainly, and only the rest is spelled canonically first.

A cell is read alike on either way, and whatever stands beside it. To spell texts takes kernels, which the first use
would have to compile: most logs need none of them for their numbers.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fieldwise.features.canonical import as_text, canonical, plain
from fieldwise.features.missing import ZERO_DATES, is_missing, missing_numbers, without_missing

__all__ = [
    "PLAIN", "as_floats", "cast_all", "parse_text", "parse_written", "taken_from", "without_empty", "without_markers",
    "without_numbers",
]  # fmt: skip

Float64s = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_FEW = 32

# What Arrow reads as a float64. Needed also to tell which texts it refused: it says so of the first alone.
PLAIN = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"


def parse_text(text: pa.Array, missing: tuple[str, ...] = ()) -> tuple[Float64s, Bools]:
    """Read texts as float64.

    Parameters
    ----------
    text
        (N,).
    missing
        Texts that mean missing.

    Returns
    -------
    The numbers, (N,), NaN for null and for what means missing; and which texts are no finite number, (N,). Spaces
    around a number are allowed.

    Examples
    --------
    >>> numbers, bad = parse_text(pa.array(["1e3", " 5", None, "five", "inf"]))
    >>> numbers.tolist()[:3], bad.tolist()
    ([1000.0, 5.0, nan], [False, False, False, True, True])
    """
    refused = None
    read = _cast(text)
    if read is None and missing:  # most columns with such texts hold nothing else that is no number
        text = without_missing(text, missing)
        read = _cast(text)
    if read is None:
        text = pc.ascii_trim_whitespace(text)
        is_number = pc.match_substring_regex(text, PLAIN)
        refused = pc.invert(pc.or_(is_number, pc.equal(text, "")))
        read = pc.if_else(is_number, text, None).cast(pa.float64())
    numbers = as_floats(read)
    bad = ~np.isfinite(numbers) & pc.is_valid(read).to_numpy(zero_copy_only=False)
    if refused is not None:
        bad |= refused.fill_null(False).to_numpy(zero_copy_only=False)
    if missing and bad.any():
        bad[bad] = ~is_missing(text.filter(pa.array(bad)), missing).to_numpy(zero_copy_only=False)
        numbers = np.where(np.isinf(numbers) & ~bad, math.nan, numbers)
    return without_numbers(numbers, missing), bad


def _cast(text: pa.Array) -> pa.Array | None:
    return cast_all(text, pa.float64())


def cast_all(text: pa.Array, kind: pa.DataType) -> pa.Array | None:
    """Return texts as numbers or times as Arrow reads them, None where it refuses one.

    A few are tried first: Arrow goes on after the first that it refuses, and takes a microsecond for each.
    """
    try:
        text.slice(0, _FEW).cast(kind)
        return text.cast(kind)
    except pa.ArrowInvalid:
        return None


def without_numbers(numbers: Float64s, missing: tuple[str, ...]) -> Float64s:
    """Return numbers, NaN for those that mean missing."""
    sentinels = missing_numbers(missing)
    return np.where(np.isin(numbers, sentinels), math.nan, numbers) if sentinels else numbers


def as_floats(array: pa.Array) -> Float64s:
    """Return numbers of any type as float64, NaN for null."""
    return np.asarray(array.fill_null(math.nan).to_numpy(zero_copy_only=False), dtype=np.float64)


def parse_written(array: pa.Array, missing: tuple[str, ...] = ()) -> tuple[Float64s, Bools]:
    """Read texts as they are written, of any type of text, as `parse_text` reads their canonical texts.

    Examples
    --------
    >>> numbers, bad = parse_written(pa.array(["5.0", "nan", "-0.0", "NA", "five"]), ("NA",))
    >>> numbers.tolist(), bad.tolist()
    ([5.0, nan, 0.0, nan, nan], [False, False, False, False, True])
    """
    if pa.types.is_dictionary(array.type) and len(array.dictionary) <= len(array):
        return taken_from(array.indices, *parse_written(array.dictionary, missing))
    text = without_empty(as_text(plain(array)))
    read = _cast(text)
    if read is None and (found := without_markers(text, missing)) is not text:
        text = found
        read = _cast(text)
    if read is None:
        read = pc.if_else(pc.match_substring_regex(text, PLAIN), text, None).cast(pa.float64())
    numbers = as_floats(read)
    # Canonical text knows no negative zero, and takes "nan" for missing.
    left = np.isnan(numbers) & text.is_valid().to_numpy(zero_copy_only=False)
    left |= np.isinf(numbers) | (numbers == 0) & np.signbit(numbers)
    numbers, bad = without_numbers(numbers, missing), np.zeros(len(text), dtype=np.bool_)
    if left.any():
        numbers = np.where(left, math.nan, numbers)
        numbers[left], bad[left] = parse_text(plain(canonical(text.filter(pa.array(left)))), missing)
    return numbers, bad


def without_empty(text: pa.Array) -> pa.Array:
    """Return texts, null for empty ones."""
    is_empty = pc.equal(pc.binary_length(text), 0)
    return pc.if_else(is_empty, pa.scalar(None, text.type), text) if pc.any(is_empty).as_py() else text


def without_markers(text: pa.Array, missing: tuple[str, ...]) -> pa.Array:
    """Return texts, null for those that mean missing, unless they may be numbers or times.

    Examples
    --------
    >>> without_markers(pa.array(["1", "NA", "-999"]), ("NA", "-999")).to_pylist()
    ['1', None, '-999']
    """
    words = tuple(marker for marker in missing if marker in ZERO_DATES or not any(map(str.isdigit, marker)))
    return without_missing(text, words) if words else text


def taken_from(indices: pa.Array, values: Float64s, bad: Bools) -> tuple[Float64s, Bools]:
    """Return what a dictionary's values are, in its places."""
    at: npt.NDArray[np.int64] = indices.cast(pa.int64()).fill_null(len(values)).to_numpy()
    return np.append(values, np.nan)[at], np.append(bad, False)[at]
