"""Fingerprints: xxh64 of texts that lie end to end in one buffer, as Arrow keeps them.

The fingerprint of a value is the xxh64 of its canonical text, seeded by its field. 0 is kept for *missing*: a null and
the empty text have it, and a text whose hash happens to be 0 takes 1. Two texts of one field share a fingerprint with
probability 2^-64 for a given pair; such values are then one feature, which is accepted, as it is in every hashed model.

The algorithm is that of the reference implementation (xxHash 0.8, XXH64), bit for bit. Little-endian machines only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from fieldwise.kernels.jit import kernel, merged

__all__ = ["combine", "fingerprint", "hash_text", "hash_words"]

_0 = np.uint64(0)
_P1 = np.uint64(0x9E3779B185EBCA87)
_P2 = np.uint64(0xC2B2AE3D27D4EB4F)
_P3 = np.uint64(0x165667B19E3779F9)
_P4 = np.uint64(0x85EBCA77C2B2AE63)
_P5 = np.uint64(0x27D4EB2F165667C5)
_TILE = 256
_FEW_BYTES = 16
_LARGEST_INT32 = np.iinfo(np.int32).max


def fingerprint(data: npt.NDArray[np.uint8], offsets: npt.NDArray[Any], seed: int) -> npt.NDArray[np.uint64]:
    """Fingerprint N texts; text i is ``data[offsets[i] : offsets[i + 1]]``.

    Parameters
    ----------
    data
        The bytes of the texts, contiguous.
    offsets
        (N + 1,) int32 or int64, non-decreasing, within `data`.
    seed
        Of the field, 0 to 2^64 - 1.

    Returns
    -------
    (N,) uint64; 0 for an empty text and for no other.

    Examples
    --------
    >>> fingerprint(np.frombuffer(b"abc", np.uint8), np.array([0, 3, 3]), seed=0).tolist()
    [4952883123889572249, 0]
    """
    out = np.empty(len(offsets) - 1, dtype=np.uint64)
    if len(data) < _FEW_BYTES:
        # One word, or none, would be an array of another kind to numba: contiguous.
        data = np.concatenate([data, np.zeros(_FEW_BYTES, dtype=np.uint8)])
    data = data.view()
    data.flags.writeable = False  # numba compiles once for each kind of array: keep to one kind
    # Word i is bytes i .. i + 7 of the buffer: one unaligned load, where eight shifted bytes cost twice the time.
    words: npt.NDArray[np.uint64] = np.ndarray((len(data) - 7,), "<u8", data, 0, (1,))
    words.flags.writeable = False
    if offsets.dtype != np.int32 and offsets[-1] <= _LARGEST_INT32:
        offsets = offsets.astype(np.int32)  # likewise
    offsets = offsets.view()
    offsets.flags.writeable = False
    first, second, lengths = (np.zeros(_TILE, dtype=np.uint64) for _ in range(3))
    _fingerprint(data, words, offsets, np.uint64(seed), first, second, lengths, out)
    return out


def combine(parts: npt.NDArray[np.uint64], seed: int) -> npt.NDArray[np.uint64]:
    """Mix the fingerprints of the parts of N crosses into the fingerprints of the crosses.

    The fingerprint of a cross is the xxh64 of those of its parts, in order, 8 little-endian bytes each; it is 0
    (missing) where a part is.

    Parameters
    ----------
    parts
        (N, P) uint64, P >= 1.
    seed
        Of the cross, 0 to 2^64 - 1.
    """
    num, width = parts.shape
    data = np.ascontiguousarray(parts).view(np.uint8).reshape(-1)
    mixed = fingerprint(data, np.arange(num + 1, dtype=np.int64) * (8 * width), seed)
    mixed[(parts == 0).any(axis=1)] = 0
    return mixed


def _rotation(typing: Any, x: Any, bits: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word, by = arguments
        kind = ir.FunctionType(word.type, [word.type] * 3)
        rotate = builder.module.declare_intrinsic("llvm.fshl", [word.type], kind)
        return builder.call(rotate, [word, word, context.cast(builder, by, signature.args[1], types.uint64)])

    return types.uint64(types.uint64, bits), generate


_rotate: Callable[[Any, int], Any] = intrinsic(_rotation)  # type: ignore[assignment]


@merged
def _round(lane, word):  # type: ignore[no-untyped-def]
    return _rotate(lane + word * _P2, 31) * _P1


@merged
def _avalanche(h):  # type: ignore[no-untyped-def]
    h = (h ^ (h >> np.uint64(33))) * _P2
    h = (h ^ (h >> np.uint64(29))) * _P3
    return h ^ (h >> np.uint64(32))


@merged  # a call that passes two arrays took half as long again
def hash_text(data, words, at, end, seed):  # type: ignore[no-untyped-def]
    """Hash one text of any length."""
    length = end - at
    if length >= 32:
        a, b, c, d = seed + _P1 + _P2, seed + _P2, seed, seed - _P1
        while at + 32 <= end:
            a, b = _round(a, words[at]), _round(b, words[at + 8])
            c, d = _round(c, words[at + 16]), _round(d, words[at + 24])
            at += 32
        h = _rotate(a, 1) + _rotate(b, 7) + _rotate(c, 12) + _rotate(d, 18)
        h = (h ^ _round(_0, a)) * _P1 + _P4
        h = (h ^ _round(_0, b)) * _P1 + _P4
        h = (h ^ _round(_0, c)) * _P1 + _P4
        h = (h ^ _round(_0, d)) * _P1 + _P4
    else:
        h = seed + _P5
    h += np.uint64(length)
    while at + 8 <= end:
        h = _rotate(h ^ _round(_0, words[at]), 27) * _P1 + _P4
        at += 8
    if at + 4 <= end:
        word = np.uint64(0)
        for k in range(4):
            word |= np.uint64(data[at + k]) << np.uint64(8 * k)
        h = _rotate(h ^ (word * _P1), 23) * _P2 + _P3
        at += 4
    while at < end:
        h = _rotate(h ^ (np.uint64(data[at]) * _P5), 11) * _P1
        at += 1
    h = _avalanche(h)
    return h if h != 0 else np.uint64(1)


@merged
def hash_words(words, places, begin, end, column, seed):  # type: ignore[no-untyped-def]
    """Hash ``words[places[i], column]`` for i from begin to end, 8 little-endian bytes each, as one text."""
    i = begin
    if end - begin >= 4:
        a, b, c, d = seed + _P1 + _P2, seed + _P2, seed, seed - _P1
        while i + 4 <= end:
            a, b = _round(a, words[places[i], column]), _round(b, words[places[i + 1], column])
            c, d = _round(c, words[places[i + 2], column]), _round(d, words[places[i + 3], column])
            i += 4
        h = _rotate(a, 1) + _rotate(b, 7) + _rotate(c, 12) + _rotate(d, 18)
        h = (h ^ _round(_0, a)) * _P1 + _P4
        h = (h ^ _round(_0, b)) * _P1 + _P4
        h = (h ^ _round(_0, c)) * _P1 + _P4
        h = (h ^ _round(_0, d)) * _P1 + _P4
    else:
        h = seed + _P5
    h += np.uint64(8 * (end - begin))
    while i < end:
        h = _rotate(h ^ _round(_0, words[places[i], column]), 27) * _P1 + _P4
        i += 1
    h = _avalanche(h)
    return h if h != 0 else np.uint64(1)


@merged
def _byte_in(h, rest):  # type: ignore[no-untyped-def]
    return _rotate(h ^ ((rest & np.uint64(0xFF)) * _P5), 11) * _P1


@kernel
def _fingerprint(data, words, offsets, seed, first, second, lengths, out):  # type: ignore[no-untyped-def]
    # Most values of a log are short. Their bytes are laid side by side first, so that the compiler can hash eight of
    # them at a time: 1.4 ns a value of 2 to 15 bytes, where a loop with branches on the length took 5 to 12.
    last_begin = len(data) - 16  # of a text whose two words lie within the data
    for start in range(0, len(out), _TILE):
        num = len(out) - start
        if num > _TILE:
            num = _TILE
        num_long = 0
        at = np.int64(offsets[start])
        for j in range(num):
            end = np.int64(offsets[np.uint64(start + j + 1)])
            if end - at < 16 and at <= last_begin:
                first[np.uint64(j)] = words[np.uint64(at)]
                second[np.uint64(j)] = words[np.uint64(at + 8)]
                lengths[np.uint64(j)] = np.uint64(end - at)
            else:
                lengths[np.uint64(j)] = np.uint64(0)
                num_long += 1
            at = end
        of_tile = out[start : start + num]
        for j in range(num):  # no branch, only choices: the compiler makes vectors of it
            length = lengths[j]
            h = seed + _P5 + length
            after = _rotate(h ^ _round(_0, first[j]), 27) * _P1 + _P4
            is_longer = length >= np.uint64(8)
            h = after if is_longer else h
            rest = second[j] if is_longer else first[j]
            after = _rotate(h ^ ((rest & np.uint64(0xFFFFFFFF)) * _P1), 23) * _P2 + _P3
            is_longer = (length & np.uint64(4)) != np.uint64(0)
            h = after if is_longer else h
            rest = rest >> np.uint64(32) if is_longer else rest
            num_bytes = length & np.uint64(3)
            after = _byte_in(h, rest)
            h = after if num_bytes > np.uint64(0) else h
            after = _byte_in(h, rest >> np.uint64(8))
            h = after if num_bytes > np.uint64(1) else h
            after = _byte_in(h, rest >> np.uint64(16))
            h = after if num_bytes > np.uint64(2) else h
            h = _avalanche(h)
            h = h if h != np.uint64(0) else np.uint64(1)
            of_tile[j] = h if length != np.uint64(0) else np.uint64(0)
        if num_long > 0:
            for i in range(start, start + num):
                begin, end = np.int64(offsets[i]), np.int64(offsets[i + 1])
                if end - begin >= 16 or (begin > last_begin and end > begin):
                    out[i] = hash_text(data, words, begin, end, seed)
