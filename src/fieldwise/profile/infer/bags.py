"""Whether text cells hold several values, and what stands between them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fieldwise.features.lists import split_lists
from fieldwise.features.parse import parse_text
from fieldwise.profile.infer.values import Values

__all__ = ["Bag", "find_bag", "find_lists", "is_objects", "is_printed"]

_SEPARATORS = ("|", "^", "\x01", "\x02", "\x03", "\x1d", "\x1e", "\x1f", "; ", ";", ", ", ",", " ")
_PROSE = ("; ", ", ", ",", " ")
"""They stand in names, titles and sentences too, and in what browsers say of themselves."""
_MIN_SHARE = 0.1
_MIN_REUSE = {**dict.fromkeys(_SEPARATORS[:8], 1.2), "; ": 2.0, ";": 2.0, ", ": 4.0, ",": 4.0, " ": 4.0}
_MAX_CELLS = 5_000
_WEIGHT = r":[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_NO_WEIGHT = r"(?i):[+-]?(inf(inity)?|nan|null|none|n/?a)?$"
_BRACKETS = r"(?s)^\s*(\[.*\]|\(.*\)|\{.*\})\s*$"
_NESTED = r"""(?s)^\s*[\[({]\s*[\[({]|[\])}]\s*[\])}]\s*$|^\s*\{\s*["'][^"']*["']\s*:"""
_QUOTED_LIST = r"""(?s)^\s*\[\s*(["'].*["'])?\s*\]\s*$"""
_OBJECT = r"""(?s)\{\s*["'][^"']*["']\s*:.*\}"""
_OBJECTS = r"(?s)^\s*(\[\s*(\{.*\})?\s*\]|\{.*\})\s*$"
_PRINTED = r"""(?s)^\s*(\w[\w.]*\(\s*\[.*|[\[(]\s*[A-Za-z_][\w.]*\(\s*["']?[-+.0-9].*)[\])]\s*$"""
_SHORTENED = r"(?s)^\s*\[.*[\s,]\.\.\.[\s,].*\]\s*$"
_DECIMAL_COMMAS = r"^\s*[+-]?[0-9]+(,[0-9]+)?\s*$"
_THOUSANDS = r"^\s*[+-]?[0-9]{1,3}(,[0-9]{3})*(\.[0-9]*)?\s*$"


class Bag(NamedTuple):
    """How a bag is written, and the values in it; of how many examples some values have no weight, though others do."""

    separator: str
    weighted: bool
    values: Values
    brackets: bool = False
    num_unweighted: int = 0


def find_bag(cells: Values) -> Bag | None:
    """Find the separator of a bag, or say that the cells are none.

    Cells are a bag where a tenth of the examples or more have several values, and

    * the values occur again: in 1.2 distinct cells each on average for ``|``, ``^`` and control characters, in 2 for
      ``;``, in 4 for a comma or a space (genres in MovieLens-1M: 48; words of its titles: 2.9). Cells of values with
      weights, ``a:0.5|b:1``, need not;
    * unless the separator is one of those first or a bare ``;``, half of the values in company or more are numbers, or
      have a cell of their own somewhere. The genre "Drama" does; the words of titles, reviews, people and browsers
      rarely do.

    Examples
    --------
    >>> find_bag(Values(pa.array(["a|b", "b", "a|c", "b|c"]))).separator
    '|'
    >>> find_bag(Values(pa.array(["Toy Story (1995)", "Heat (1995)"]))) is None
    True
    """
    for separator in _SEPARATORS:
        several = pc.match_substring(cells.texts, separator).to_numpy(zero_copy_only=False)
        if cells.counts[several].sum() < _MIN_SHARE * cells.num_present:
            continue
        if separator == "," and (cells.all_match(_DECIMAL_COMMAS) or cells.all_match(_THOUSANDS)):
            continue
        bag = _split(cells, separator)
        if bag is not None:
            return bag
    return None


def find_lists(cells: Values) -> Bag | None:
    """Find lists that were written as text, such as ``["a", "b"]``, ``[8, 32]`` or ``{a,b}``; None where they are none.

    Every cell is in brackets, and a tenth of the examples or more have several values or all values are in quotes; what
    is in round or curly brackets has to have several, and no list holds other lists or objects.

    Examples
    --------
    >>> bag = find_lists(Values(pa.array(['["a", "b"]', "[]", '["a"]'])))
    >>> bag.separator, bag.values.texts.to_pylist()
    (',', ['a', 'b'])
    >>> find_lists(Values(pa.array(["[link]", "[photo]"]))) is None
    True
    """
    texts = cells.texts.slice(0, _MAX_CELLS)
    times = cells.counts[: len(texts)]
    if not cells.all_match(_BRACKETS) or cells.any_matches(_NESTED):
        return None
    for separator in (",", " ", ";", "|"):
        lists = split_lists(texts, separator)
        several = pc.greater(pc.list_value_length(lists), 1).to_numpy(zero_copy_only=False)
        is_list = times[several].sum() >= _MIN_SHARE * times.sum()
        if not is_list and separator == "," and cells.all_match(_QUOTED_LIST):
            is_list = True
        if is_list:
            values = Values(lists.flatten())
            return Bag(separator, False, values, brackets=True) if values.num_present else None
    return None


def is_objects(cells: Values) -> bool:
    """Whether the cells are objects of JSON or Python, or lists of them."""
    return cells.all_match(_OBJECTS) and cells.any_matches(_OBJECT)


def is_printed(cells: Values) -> bool:
    """Whether the cells are arrays as Python prints them, ``array([0.1, 0.2], dtype=float32)``, or shortened lists,
    ``[0.1 0.2 ... 0.9]``, of which numbers are lost.

    Examples
    --------
    >>> [is_printed(Values(pa.array([text]))) for text in ("tensor([1.5, 2.])", "[np.float64(0.1)]", "[a](b)", "f(1)")]
    [True, True, False, False]
    """
    return cells.all_match(_PRINTED) or (cells.all_match(_BRACKETS) and cells.any_matches(_SHORTENED))


def _split(cells: Values, separator: str) -> Bag | None:
    lists = pc.split_pattern(cells.texts.slice(0, _MAX_CELLS), separator)
    owners, tokens = pc.list_parent_indices(lists), pc.list_flatten(lists)
    present = pc.not_equal(pc.utf8_trim_whitespace(tokens), "")
    owners, tokens = owners.filter(present).to_numpy(), tokens.filter(present)
    lengths = np.bincount(owners, minlength=len(lists))
    times = cells.counts[: len(lists)]
    if times[lengths > 1].sum() < _MIN_SHARE * times.sum():
        return None
    weighted = pc.match_substring_regex(tokens, _WEIGHT).to_numpy(zero_copy_only=False)
    if 2 * np.count_nonzero(weighted) > len(tokens):
        others = tokens.filter(pa.array(~weighted))
        if pc.all(pc.match_substring_regex(others, _NO_WEIGHT)).as_py() is not False:  # None where there are none
            values = pc.replace_substring_regex(tokens.filter(pa.array(weighted)), _WEIGHT, "")
            return Bag(separator, True, Values(values), num_unweighted=int(times[np.unique(owners[~weighted])].sum()))
    values = Values(tokens)
    if values.num_present < _MIN_REUSE[separator] * values.num_distinct:
        return None
    if separator in _PROSE and not _stand_alone(tokens, lengths[owners]):
        return None
    return Bag(separator, False, values)


def _stand_alone(tokens: pa.Array, lengths: np.ndarray) -> bool:
    """Whether most of the tokens in company are numbers, or are met alone too.

    Parameters
    ----------
    tokens
        Of all cells.
    lengths
        How many tokens the cell of each holds.
    """
    alone, together = tokens.filter(pa.array(lengths == 1)), tokens.filter(pa.array(lengths > 1))
    met = pc.is_in(together, value_set=pc.unique(alone)).to_numpy(zero_copy_only=False)
    numbers, _ = parse_text(together)
    return 2 * int(np.count_nonzero(met | np.isfinite(numbers))) >= len(together)
