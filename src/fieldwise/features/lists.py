"""Lists that were written into text: ``["a", "b"]`` by JSON, ``['a', 'b']`` by Python, ``{a,b}`` by Postgres.

A cell is taken out of its brackets, ``[]``, ``()`` or ``{}``, and split at the separator. Spaces around values and
quotes around them, double or single, go. ``null`` and ``None`` without quotes are no values. What comes out is what a
list column of Parquet with the same values holds. Cells with separators or backslashes inside quotes, or such as have
quotes that do not match, are read one by one, each once: all others together, by Arrow.
"""

from __future__ import annotations

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["split_lists"]

_IN_BRACKETS = r"(?s)^\s*(?:\[(?P<square>.*)\]|\((?P<round>.*)\)|\{(?P<curly>.*)\})\s*$"
# A value in quotes that holds neither them nor a backslash, or one that begins and ends with no quote.
_SIMPLE = r"""(?s)^(?:"[^"\\]*"|'[^'\\]*'|[^"'\\](?:[^\\]*[^"'\\])?|)$"""
_QUOTED = r"""(?s)^(?:"(.*)"|'(.*)')$"""
_NO_VALUE = "null", "None"
_VALUE = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)')\s*$""", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "a": "\a", "v": "\v", "0": "\0"}
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}|.)", re.DOTALL)


def split_lists(cells: pa.Array, separator: str) -> pa.Array:
    r"""Return the values of each cell, an array of lists of large strings.

    Examples
    --------
    >>> cells = pa.array(['["a", "b, c"]', "[8, 32]", "{x,'y'}", "[]", None, "['it\\'s', None]"])
    >>> split_lists(cells, ",").to_pylist()
    [['a', 'b, c'], ['8', '32'], ['x', 'y'], [], [], ["it's", None]]
    """
    inside = _without_brackets(cells.cast(pa.large_string()))
    lists = _split(inside, separator)
    tokens = pc.ascii_trim_whitespace(lists.flatten())
    odd = pc.invert(pc.match_substring_regex(tokens, _SIMPLE)).to_numpy(zero_copy_only=False)
    values = _unquoted(tokens)
    if not odd.any():
        return pa.LargeListArray.from_arrays(lists.offsets, values)
    owners = pc.list_parent_indices(lists).to_numpy()
    rows = np.unique(owners[odd])
    distinct = inside.take(pa.array(rows)).dictionary_encode()
    texts = [text.decode(errors="replace") for text in distinct.dictionary.cast(pa.large_binary()).to_pylist()]
    read = pa.array([_one(text, separator) for text in texts], pa.large_list(values.type))
    everything = pa.concat_arrays([pa.LargeListArray.from_arrays(lists.offsets, values), read])
    places = np.arange(len(cells))
    places[rows] = len(cells) + distinct.indices.to_numpy()
    return everything.take(pa.array(places))


def _without_brackets(cells: pa.Array) -> pa.Array:
    """Return what stands in the brackets of cells; null for no cell, and the cell itself where it has none."""
    found = pc.extract_regex(cells, _IN_BRACKETS)
    kinds = [found.field(name) for name in ("square", "round", "curly")]
    inside = pc.binary_join_element_wise(*kinds, pa.scalar("", pa.large_string()))
    return pc.if_else(pc.is_valid(found), inside, cells)


def _split(inside: pa.Array, separator: str) -> pa.Array:
    """Split at the separator; nothing, or spaces alone, is no value."""
    text = pc.ascii_trim_whitespace(inside)
    lists = pc.ascii_split_whitespace(text) if separator == " " else pc.split_pattern(text, separator)
    empty = pc.equal(text, "").fill_null(True).to_numpy(zero_copy_only=False)
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    keeps = np.repeat(~empty, lengths)
    offsets = np.concatenate([[0], np.cumsum(np.where(empty, 0, lengths))])
    return pa.LargeListArray.from_arrays(pa.array(offsets), lists.flatten().filter(pa.array(keeps)))


def _unquoted(tokens: pa.Array) -> pa.Array:
    without = pc.replace_substring_regex(tokens, _QUOTED, r"\1\2")
    no_value = pc.is_in(tokens, value_set=pa.array(_NO_VALUE, tokens.type))
    return pc.if_else(no_value, pa.scalar(None, without.type), without)


def _one(text: str, separator: str) -> list[str | None]:
    """Read what stands in the brackets of one cell."""
    values: list[str | None] = []
    quote, start, at = "", 0, 0
    while at < len(text):
        character = text[at]
        if character == "\\":
            at += 1
        elif quote:
            quote = "" if character == quote else quote
        elif character in "\"'" and not text[start:at].strip():
            quote = character
        elif text.startswith(separator, at):
            values.append(_value(text[start:at]))
            start = at + len(separator)
            at = start - 1
        at += 1
    values.append(_value(text[start:]))
    return [value for value in values if value != ""] if separator == " " else values


def _value(token: str) -> str | None:
    quoted = _VALUE.match(token)
    if quoted is None:
        bare = token.strip()
        return None if bare in ("null", "None") else bare
    content = quoted[1] if quoted[1] is not None else quoted[2]
    if "\\" not in content:
        return content
    try:  # pairs of surrogates are JSON's own
        return str(json.loads(f'"{content}"')).encode().decode() if quoted[1] is not None else _unescaped(content)
    except ValueError:
        return _unescaped(content)


def _unescaped(content: str) -> str:
    def plain(escape: re.Match[str]) -> str:
        code = escape[1]
        if len(code) > 1:
            number = int(code[1:], 16)
            return chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else "\ufffd"
        return _ESCAPES.get(code, code)

    return _ESCAPE.sub(plain, content)
