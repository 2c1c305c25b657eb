r"""The texts that mean missing: ``NULL`` in a dump of a database, ``\N`` of Hive and MySQL, ``NA`` of R.

A field has a list of them (`schema.Field.missing`). In numbers and times they are found without regard to case and to
spaces around them; in categories and bags a text has to be the same, because ``NA`` may be Namibia and ``None`` a name.
A list may hold numbers too, such as ``-999``, which then mean missing however they are written. Null, NaN and the empty
text are missing always, and a field without a list, as saved by older versions, knows no more than these.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from fieldwise.features.spelling import spelled

__all__ = ["IN_NUMBERS", "IN_TEXTS", "ZERO_DATES", "MissingTexts", "is_missing", "missing_numbers", "without_missing"]

IN_TEXTS = ("NULL", r"\N")
"""Of categories and bags, unless the configuration says otherwise."""
ZERO_DATES = ("0000-00-00", "0000-00-00 00:00:00")
"""What MySQL writes for a date that there is not."""
IN_NUMBERS = (
    "NULL", r"\N", "NA", "N/A", "None", "NaN", "-NaN", "NaT", "nil", "undefined", "(null)", "<null>", "<NA>", "#N/A",
    "#NA", "-", "--", "?", ".", "#DIV/0!", "#VALUE!", "#REF!", "#NUM!", "#NAME?", "#NULL!", *ZERO_DATES,
)  # fmt: skip
"""Of numbers and times, and of categories whose other values are all numbers or times."""

_LOW_BITS = 12


class MissingTexts:
    """The texts that mean missing in one field, by their fingerprints: a look at 12 bits passes over nearly all cells.

    Parameters
    ----------
    texts
        As the configuration has them.
    seed
        Of the field's fingerprints.
    """

    def __init__(self, texts: Sequence[str], seed: int) -> None:
        # As `fingerprints` does, by another implementation: for a few texts, one that need not be compiled.
        found = [xxhash.xxh64_intdigest(text.encode(), seed) or 1 for text in _spelled_once(tuple(texts))]
        self.fingerprints = np.array(found, dtype=np.uint64)
        self._low = np.zeros(1 << _LOW_BITS, dtype=np.bool_)
        self._low[self._low_bits(self.fingerprints)] = True

    def drop_from(self, found: npt.NDArray[np.uint64]) -> None:
        """Put 0 for those of the fingerprints, (N,), whose texts mean missing."""
        if len(self.fingerprints):
            suspects = np.flatnonzero(self._low[self._low_bits(found)])
            found[suspects[np.isin(found[suspects], self.fingerprints)]] = 0

    @staticmethod
    def _low_bits(found: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        return (found & np.uint64((1 << _LOW_BITS) - 1)).view(np.int64)


@lru_cache(maxsize=1024)
def _spelled_once(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Return the canonical texts; a thousand fields have the same, and each took a millisecond for them."""
    return tuple(spelled(pa.array(texts, pa.large_string())).drop_null().to_pylist())


def without_missing(text: pa.Array, missing: tuple[str, ...]) -> pa.Array:
    """Return texts of numbers or times, null for those that mean missing and are written in a usual case.

    Examples
    --------
    >>> without_missing(pa.array(["1", "NA", "na", "nA"]), ("NA",)).to_pylist()
    ['1', None, None, 'nA']
    """
    found = pc.is_in(text, value_set=pa.array(_usual_cases(missing), text.type))
    return pc.if_else(found, pa.scalar(None, text.type), text) if pc.any(found).as_py() else text


def is_missing(text: pa.Array, missing: tuple[str, ...]) -> pa.Array:
    """Return which texts of numbers or times mean missing, in any case, with spaces around them or without.

    Examples
    --------
    >>> is_missing(pa.array(["1", " nA ", None]), ("NA",)).to_pylist()
    [False, True, False]
    """
    bare = pc.ascii_lower(pc.ascii_trim_whitespace(text))
    return pc.is_in(bare, value_set=pa.array([marker.strip().lower() for marker in missing], text.type))


@lru_cache(maxsize=1024)
def missing_numbers(missing: tuple[str, ...]) -> tuple[float, ...]:
    """Return those of the texts that are numbers, such as ``-999``.

    Examples
    --------
    >>> missing_numbers(("NA", "-999", "1_000"))
    (-999.0,)
    """
    numbers = []
    for text in missing:
        if not text.isascii() or "_" in text:  # which are numbers to Python alone
            continue
        try:
            numbers.append(float(text))
        except ValueError:
            continue
    return tuple(number for number in numbers if np.isfinite(number))


@lru_cache(maxsize=1024)
def _usual_cases(missing: tuple[str, ...]) -> list[str]:
    cases = (str, str.lower, str.upper, str.capitalize)
    return sorted({case(text) for text in missing for case in cases})
