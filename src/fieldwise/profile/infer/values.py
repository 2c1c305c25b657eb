"""The distinct values of a column of the sample, with their counts."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fieldwise.features.canonical import as_text, plain
from fieldwise.features.missing import is_missing, missing_numbers
from fieldwise.features.parse import parse_text
from fieldwise.features.spelling import spelled

__all__ = ["Values"]

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

_HIGH_CARDINALITY = 10_000
_LONG_TAIL = 1_000


class Values:
    """The values of a column by their canonical texts, so that a CSV tells the same as the Parquet it was made from.

    Parameters
    ----------
    array
        A column of the sample, or the values of its lists.

    Attributes
    ----------
    num_present
        Cells that hold a value.
    num_missing
        Cells that hold none.
    texts
        The distinct values as large strings, in the order in which they first occur.
    counts
        How often each occurs.

    Raises
    ------
    DataError
        The type has no text.

    Examples
    --------
    >>> values = Values(pa.array(["5.0", "5", None, "7"]))
    >>> values.texts.to_pylist(), values.counts.tolist(), values.num_missing
    (['5', '7'], [2, 1], 1)
    """

    def __init__(self, array: pa.Array) -> None:
        # Only distinct values are spelled canonically: most columns of a log have few.
        written = pc.value_counts(_utf8(as_text(plain(array))))
        texts = spelled(written.field("values")).cast(pa.large_string()).dictionary_encode()
        times = written.field("counts").to_numpy(zero_copy_only=False)
        known = pc.is_valid(texts).to_numpy(zero_copy_only=False)
        places = texts.indices.drop_null().to_numpy(zero_copy_only=False)
        self.texts: pa.LargeStringArray = texts.dictionary
        self.counts: Int64s = np.zeros(len(self.texts), dtype=np.int64)
        np.add.at(self.counts, places, times[known])
        self.num_present = int(self.counts.sum())
        self.num_missing = len(array) - self.num_present

    def without(self, missing: tuple[str, ...], *, of_numbers: bool) -> Values:
        """Return the values that are left if these texts mean missing; see `features.missing`.

        Examples
        --------
        >>> values = Values(pa.array(["1", "NA", " na", "2"]))
        >>> values.without(("NA",), of_numbers=True).texts.to_pylist()
        ['1', '2']
        >>> values.without(("NA",), of_numbers=False).texts.to_pylist()
        ['1', ' na', '2']
        """
        if of_numbers:
            gone = is_missing(self.texts, missing).to_numpy(zero_copy_only=False)
            gone |= np.isin(parse_text(self.texts)[0], missing_numbers(missing))
        else:
            markers = spelled(pa.array(missing, pa.large_string()))
            gone = pc.is_in(self.texts, value_set=markers).to_numpy(zero_copy_only=False)
        if not gone.any():
            return self
        rest = object.__new__(Values)
        rest.texts, rest.counts = self.texts.filter(pa.array(~gone)), self.counts[~gone]
        rest.num_present = int(rest.counts.sum())
        rest.num_missing = self.num_missing + self.num_present - rest.num_present
        return rest

    @property
    def num_distinct(self) -> int:
        """Distinct values."""
        return len(self.texts)

    @cached_property
    def numbers(self) -> Float64s | None:
        """(num_distinct,): the values as finite numbers; None where one is not."""
        numbers, bad = parse_text(self.texts)
        return None if bad.any() or not len(numbers) else numbers

    @cached_property
    def whole_numbers(self) -> Float64s | None:
        """(num_distinct,): the values as whole numbers; None where one is not."""
        numbers = self.numbers
        return numbers if numbers is not None and bool((numbers == np.floor(numbers)).all()) else None

    @cached_property
    def min_count(self) -> int:
        """The `min_count` of a category: 2 where most of a large vocabulary would be values of a single example.

        Values that occur once make a model overfit and take memory; they are more useful to train the *unseen* feature.
        """
        num_once = int(np.count_nonzero(self.counts == 1))
        long_tail = self.num_distinct > _LONG_TAIL and 2 * num_once > self.num_distinct
        return 2 if long_tail or self.num_distinct > _HIGH_CARDINALITY else 1

    def all_match(self, pattern: str) -> bool:
        """Whether every value matches a regular expression."""
        return bool(pc.all(pc.match_substring_regex(self.texts, pattern)).as_py())

    def any_matches(self, pattern: str) -> bool:
        """Whether a value matches a regular expression."""
        return bool(pc.any(pc.match_substring_regex(self.texts, pattern)).as_py())

    def example(self) -> str:
        """Return the most frequent value, fit to stand in a line."""
        text: str = self.texts[int(np.argmax(self.counts))].as_py()
        return repr(text if len(text) <= 40 else text[:40] + "...")


def _utf8(text: pa.Array) -> pa.Array:
    """Return the text with bytes that are none, as binary columns may hold, written out."""
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        cells = text.cast(pa.large_binary()).to_pylist()
        cells = [None if cell is None else cell.decode(errors="backslashreplace") for cell in cells]
        return pa.array(cells, pa.large_string())
    return text
