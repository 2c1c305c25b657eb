"""One spelling for values that writers of CSV spell differently: the rules for text, over Arrow's buffers.

`is_canonical` finds out whether any text may need a change: most columns have none, or empty texts alone, and that is
the end of it. `spell` then looks at each text and says which form it has and how long its canonical text is; `write`
writes the canonical texts. The rules are in the table of `features.canonical`.
"""

from __future__ import annotations

import numpy as np

from fieldwise.kernels.jit import kernel, merged, part

__all__ = [
    "BUT_FOR_EMPTY", "CUT", "KEEP", "MAY_CHANGE", "MISSING_TEXT", "form_of", "is_canonical", "spell",
    "write", "write_one",
]  # fmt: skip

# Whether texts are canonical: for sure, for sure once the empty ones are null, or perhaps not.
_CANONICAL, BUT_FOR_EMPTY, MAY_CHANGE = range(3)

# What is done to a text to make it canonical.
MISSING_TEXT = 0  # empty, nan
KEEP = 1  # nothing
CUT = 2  # keep the beginning: 5.00 -> 5
_ZERO = 3  # -0, -0.0 -> 0
_LOWER = 4  # TRUE -> true
_CLOCK = 5  # keep the beginning, with a space between date and time
_EXPONENT = 6  # 1.25e+10 -> 12500000000

_DOT, _MINUS, _PLUS, _COLON, _SPACE = ord("."), ord("-"), ord("+"), ord(":"), ord(" ")
_0, _E, _T, _Z = ord("0"), ord("e"), ord("T"), ord("Z")
_LARGEST_EXPONENT = 15  # every whole number below 10^16 that a float64 holds is written exactly by its shortest digits


@merged
def _is_digit(byte):  # type: ignore[no-untyped-def]
    return 48 <= byte <= 57


_NAN, _TRUE, _FALSE = (int.from_bytes(word, "big") for word in (b"nan", b"true", b"false"))
_FIRST_N, _FIRST_T, _FIRST_F = b"ntf"
_SHAPE = np.frombuffer(b"0000-00-00 00:00:00", dtype=np.uint8)


@part
def _word(data, begin, end):  # type: ignore[no-untyped-def]
    """Texts of three to five bytes: booleans and NaN."""
    word = num_lower = np.int64(0)
    for k in range(begin, end):
        word = word << 8 | np.int64(data[k]) | 0x20
        num_lower += data[k] >= 97
    if word == _NAN and data[begin + 1] == 97 and data[begin + 2] == data[begin]:
        return MISSING_TEXT, 0  # nan, NaN
    if (word == _TRUE or word == _FALSE) and num_lower < end - begin:
        return _LOWER, end - begin
    return KEEP, end - begin


@part
def _number(data, begin, end):  # type: ignore[no-untyped-def]
    """Texts that begin with a minus sign or a digit and are no time."""
    length = end - begin
    first = begin + 1 if data[begin] == _MINUS else begin
    dot = first
    while dot < end and _is_digit(data[dot]):
        dot += 1
    if dot == first or (data[first] == _0 and dot - first > 1):
        return KEEP, length
    at = dot
    is_whole = True
    if at < end and data[at] == _DOT:
        at += 1
        while at < end and _is_digit(data[at]):
            is_whole &= data[at] == _0
            at += 1
        if at == dot + 1:
            return KEEP, length
    if at == end:
        if is_whole and first > begin and data[first] == _0:
            return _ZERO, 1
        return (CUT, dot - begin) if is_whole and at > dot else (KEEP, length)
    # d[.ddd]e+NN: as Arrow writes whole numbers of more than ten digits from a column of floats
    if dot - first == 1 and data[first] != _0 and end - at == 4 and data[at] == _E and data[at + 1] == _PLUS:
        if _is_digit(data[at + 2]) and _is_digit(data[at + 3]):
            exponent = np.int64(data[at + 2]) * 10 + data[at + 3] - 11 * _0
            if at - dot - 1 <= exponent <= _LARGEST_EXPONENT:
                return _EXPONENT, first - begin + 1 + exponent
    return KEEP, length


@part
def _time(data, begin, end):  # type: ignore[no-untyped-def]
    """Texts of 19 bytes or more with a digit first and a minus sign fifth."""
    length = end - begin
    is_midnight = True
    for k in range(len(_SHAPE)):
        byte, shape = data[begin + k], _SHAPE[k]
        is_same = byte == shape
        if not (is_same or (shape == _0 and _is_digit(byte)) or (shape == _SPACE and byte == _T)):
            return KEEP, length
        is_midnight &= is_same or k < 11
    at = kept = begin + 19
    if at < end and data[at] == _DOT:
        at += 1
        while at < end and _is_digit(data[at]):
            at += 1
            if data[at - 1] != _0:
                kept = at
        if at == begin + 20:
            return KEEP, length
    zone = end - at
    if zone == 1:
        if data[at] != _Z:
            return KEEP, length
    elif zone > 0:  # +00, +0000 and +00:00 are UTC
        if not (data[at] == _PLUS and (zone == 3 or zone == 5 or (zone == 6 and data[at + 3] == _COLON))):
            return KEEP, length
        for k in range(at + 1, end):
            if data[k] != _0 and data[k] != _COLON:
                return KEEP, length
    if is_midnight and kept == begin + 19:
        kept = begin + 10
    if kept == end and data[begin + 10] == _SPACE:
        return KEEP, length
    return _CLOCK, kept - begin


@part
def _is_marked(data):  # type: ignore[no-untyped-def]
    """Whether there is a byte without which no number and no time needs a change: 16 bytes at a time, compiled."""
    marks = np.uint8(0)
    for k in range(len(data)):
        byte = data[k]
        marks |= np.uint8((byte == _DOT) | (byte == _MINUS) | (byte == _PLUS) | (byte == _COLON))
    return marks != 0


@kernel
def is_canonical(data, offsets, valid):  # type: ignore[no-untyped-def]
    """Whether all texts are canonical for sure, or all that are not empty. Parameters as for `spell`.

    Four times faster than `spell` on texts of digits, which it need not read one by one.
    """
    if _is_marked(data[offsets[0] : offsets[-1]]):
        return MAY_CHANGE
    found = _CANONICAL
    for i in range(len(offsets) - 1):
        begin, end = np.int64(offsets[i]), np.int64(offsets[i + 1])  # as `spell` calls `_word`
        length = end - begin
        if length == 0:
            if len(valid) == 0 or valid[i]:
                found = BUT_FOR_EMPTY
            continue
        first = data[begin] | 0x20
        # Few texts pass this, and it is one branch: of texts that are mixed, more could not be foretold.
        is_like_word = (first == _FIRST_N) | (first == _FIRST_T) | (first == _FIRST_F)
        if is_like_word & (length >= 3) & (length <= 5) and _word(data, begin, end)[0] != KEEP:
            return MAY_CHANGE
    return found


@merged
def form_of(data, begin, end):  # type: ignore[no-untyped-def]
    """Return the form of a text that is not empty, and how long its canonical text is."""
    length = end - begin
    first = data[begin]
    if _is_digit(first) or first == _MINUS:
        if length >= 19 and data[begin + 4] == _MINUS and first != _MINUS:
            return _time(data, begin, end)
        return _number(data, begin, end)
    if 3 <= length <= 5:
        return _word(data, begin, end)
    return KEEP, length


@merged
def write_one(data, source, form, out, to, end):  # type: ignore[no-untyped-def]
    """Write the canonical text of the text at `source` to ``out[to:end]``."""
    if form == _ZERO:
        out[to] = _0
    elif form == _EXPONENT:
        while to < end and data[source] != _E:
            if data[source] != _DOT:
                out[to] = data[source]
                to += 1
            source += 1
        while to < end:
            out[to] = _0
            to += 1
    else:
        lower = 0x20 if form == _LOWER else 0
        for k in range(end - to):
            out[to + k] = data[source + k] | lower
        if form == _CLOCK and end - to > 10:
            out[to + 10] = _SPACE


@kernel
def spell(data, offsets, valid, forms, ends):  # type: ignore[no-untyped-def]
    """Find the form of N texts and where their canonical texts end; return whether any of them changes.

    Parameters
    ----------
    data, offsets
        uint8 and (N + 1,) int64: text i is ``data[offsets[i] : offsets[i + 1]]``.
    valid
        (N,) bool, or empty where there is no null.
    forms, ends
        Results, (N,) uint8 and (N + 1,) int64: canonical text i will lie in ``ends[i] .. ends[i + 1]``.
    """
    changed = False
    ends[0] = 0
    for i in range(len(forms)):
        begin, end = offsets[i], offsets[i + 1]
        form, length = KEEP, end - begin
        if len(valid) and not valid[i]:
            form, length = MISSING_TEXT, 0
        elif length == 0:
            form = MISSING_TEXT
            changed = True
        else:
            form, length = form_of(data, begin, end)
            changed |= form != KEEP
        forms[i] = form
        ends[i + 1] = ends[i] + length
    return changed


@kernel
def write(data, offsets, forms, ends, out):  # type: ignore[no-untyped-def]
    """Write the canonical texts found by `spell` into `out`, (ends[N],) uint8."""
    for i in range(len(forms)):
        write_one(data, offsets[i], forms[i], out, ends[i], ends[i + 1])
