"""Whether text cells hold several values, and what stands between them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fieldwise.features.parse import parse_text
from fieldwise.infer.values import Values

__all__ = ["Bag", "find_bag"]

_SEPARATORS = ("|", "; ", ";", ", ", ",", " ")
_PROSE = ("; ", ", ", ",", " ")
"""They stand in names, titles and sentences too, and in what browsers say of themselves."""
_MIN_SHARE = 0.1
_MIN_REUSE = {"|": 1.2, "; ": 2.0, ";": 2.0, ", ": 4.0, ",": 4.0, " ": 4.0}
_MAX_CELLS = 5_000
_WEIGHT = r":[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_DECIMAL_COMMAS = r"^\s*[+-]?[0-9]+(,[0-9]+)?\s*$"
_THOUSANDS = r"^\s*[+-]?[0-9]{1,3}(,[0-9]{3})*(\.[0-9]*)?\s*$"


class Bag(NamedTuple):
    """How a bag is written, and the values in it."""

    separator: str
    weighted: bool
    values: Values


def find_bag(cells: Values) -> Bag | None:
    """Find the separator of a bag, or say that the cells are none.

    Cells are a bag where a tenth of the examples or more have several values, and

    * the values occur again: in 1.2 distinct cells each on average for ``|``, in 2 for ``;``, in 4 for a comma or a
      space (genres in MovieLens-1M: 48; words of its titles: 2.9). Cells of values with weights,
      ``a:0.5|b:1``, need not;
    * unless the separator is ``|`` or a bare ``;``, half of the values in company or more are numbers, or have a cell
      of their own somewhere. The genre "Drama" does; the words of titles, reviews, people and browsers rarely do.

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


def _split(cells: Values, separator: str) -> Bag | None:
    lists = pc.split_pattern(cells.texts.slice(0, _MAX_CELLS), separator)
    owners, tokens = pc.list_parent_indices(lists), pc.list_flatten(lists)
    present = pc.not_equal(pc.utf8_trim_whitespace(tokens), "")
    owners, tokens = owners.filter(present).to_numpy(), tokens.filter(present)
    lengths = np.bincount(owners, minlength=len(lists))
    times = cells.counts[: len(lists)]
    if times[lengths > 1].sum() < _MIN_SHARE * times.sum():
        return None
    if pc.all(pc.match_substring_regex(tokens, _WEIGHT)).as_py():
        return Bag(separator, True, Values(pc.replace_substring_regex(tokens, _WEIGHT, "")))
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
