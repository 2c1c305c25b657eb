"""The labels of rows as texts: which of them mean one class, and which mean none.

========================  ==============================================================================================
spelling                  is
========================  ==============================================================================================
blanks around it, ``+1``  left out: `` 1 ``, ``+1`` and ``1.0`` are the class 1
letter case               passed over, unless two classes differ in nothing else
flags                     ``0 false f no n off - neg negative`` and ``1 true t yes y on + pos positive``, where all
                          values of the label are among them: two classes, however many spellings; and yes and no in
                          a dozen languages
missing                   the empty cell, null, NaN and the texts of `MISSING_LABELS`, or those of ``data.missing`` in
                          their place: no class, unless the configuration names it as one
========================  ==============================================================================================
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.features.columns import Columns, reading, shown
from fieldwise.features.missing import IN_TEXTS
from fieldwise.features.spelling import spelled

__all__ = [
    "MISSING_LABELS",
    "SIDES",
    "Labels",
    "Spelling",
    "count_labels",
    "fold",
    "merge_spellings",
    "read_labels",
    "tidy",
]

MISSING_LABELS = frozenset(
    ["NULL", "Null", "null", "\\N", "NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "(null)", "<null>", "None", "nan", "NaN",
     "NAN", "NaT"]
)  # fmt: skip
"""Texts that databases and data frames write for a missing value."""

_FLAG_PAIRS = (
    ("0", "1"), ("false", "true"), ("f", "t"), ("no", "yes"), ("n", "y"), ("off", "on"), ("-", "+"), ("neg", "pos"),
    ("negative", "positive"), ("nein", "ja"), ("nee", "ja"), ("nej", "ja"), ("non", "oui"), ("no", "sí"), ("no", "si"),
    ("no", "sì"), ("não", "sim"), ("nao", "sim"), ("nie", "tak"), ("hayır", "evet"), ("нет", "да"), ("否", "是"),
    ("いいえ", "はい"),
)  # fmt: skip
SIDES = {word: side for pair in _FLAG_PAIRS for side, word in enumerate(pair)}


def tidy(text: str) -> str:
    """Return the text of a label without blanks around it, and without the plus of a number.

    Examples
    --------
    >>> tidy(" +1 "), tidy("+")
    ('1', '+')
    """
    text = text.strip()
    return text[1:] if re.fullmatch(r"\+[0-9.]+", text) else text


def fold(text: str) -> str:
    """Return what spellings of one class have in common: letter case does not count, nor the width of ``１``."""
    text = tidy(text)
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


class Spelling:
    """Which class a text means.

    Examples
    --------
    >>> spelling = Spelling(("0", "1"))
    >>> [spelling.place(text) for text in ("1", "TRUE", "no", "2")]
    [1, 1, 0, -1]
    >>> [Spelling(("Skipped", "Bought")).place(text) for text in ("bought", "yes")]
    [1, -1]
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._exact = {text: place for place, text in enumerate(classes)}
        folded = Counter(map(fold, classes))
        self._folded = {fold(text): place for place, text in enumerate(classes) if folded[fold(text)] == 1}
        sides = [SIDES.get(fold(text)) for text in classes]
        self._flags = (
            {side: place for place, side in enumerate(sides)} if set(sides) == {0, 1} == {*range(len(sides))} else {}
        )

    def place(self, text: str) -> int:
        """Return the place of a text's class; -1 where it means none."""
        if text in self._exact:
            return self._exact[text]
        folded = fold(text)
        if folded in self._folded:
            return self._folded[folded]
        return self._flags.get(SIDES.get(folded), -1)


def merge_spellings(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the rows of each class, the spellings that mean one class put together under the most frequent of them.

    Examples
    --------
    >>> merge_spellings({"0": 60, "1": 30, "true": 5, "false": 8}), merge_spellings({"yes": 5, "Yes": 1, "perhaps": 2})
    ({'0': 68, '1': 35}, {'yes': 6, 'perhaps': 2})
    """
    if counts and all(fold(text) in SIDES for text in counts):
        kinds: Counter[int] = Counter()
        for text, rows in counts.items():
            kinds[_kind(fold(text))] += rows
        # Of one pair, where one has both: 0 and 1 rather than 0 and true.
        first = sorted(kinds, key=lambda kind: (len(_words_of(kind, counts)) < 2, -kinds[kind], kind))
        by_side: dict[int, list[str]] = {}
        for text in sorted(counts, key=lambda text: (first.index(_kind(fold(text))), -counts[text], text)):
            by_side.setdefault(SIDES[fold(text)], []).append(text)
        return {texts[0]: sum(counts[text] for text in texts) for _, texts in sorted(by_side.items())}
    groups: dict[str, list[str]] = {}
    for text in sorted(counts, key=lambda text: (-counts[text], text)):
        groups.setdefault(fold(text), []).append(text)
    return {texts[0]: sum(counts[text] for text in texts) for texts in groups.values()}


def _kind(word: str) -> int:
    return next(number for number, pair in enumerate(_FLAG_PAIRS) if word in pair)


def _words_of(kind: int, counts: Iterable[str]) -> set[str]:
    return {fold(text) for text in counts if _kind(fold(text)) == kind}


class Labels(NamedTuple):
    """The labels of R rows, as texts.

    Attributes
    ----------
    texts
        Of each value: canonical and tidy (`tidy`), bytes where it is not UTF-8, None where it is missing.
        The last is that of a null.
    written
        Of each value: the cell as people see it.
    places
        (R,): which of them a row has.
    """

    texts: list[str | bytes | None]
    written: list[str]
    places: npt.NDArray[np.integer[Any]]

    def counts(self, chosen: npt.NDArray[np.int64] | slice = slice(None)) -> dict[str, int]:
        """Return how many of the rows, or of some of them, have each text; those that have none are passed over."""
        found: Counter[str] = Counter()
        for text, rows in zip(self.texts, np.bincount(self.places[chosen], minlength=len(self.texts)), strict=True):
            if isinstance(text, str) and rows:
                found[text] += int(rows)
        return dict(found)


def read_labels(columns: Columns, name: str, stated: Spelling, missing: Sequence[str] = ()) -> Labels:
    """Read the column of the label.

    Parameters
    ----------
    columns, name
        Where it is.
    stated
        Values that mean no missing label, whatever they look like.
    missing
        Texts that mean a missing one: `schema.Schema.missing`. In place of the usual ones, where they are others.
    """
    of_missing = MISSING_LABELS if tuple(missing) in ((), IN_TEXTS) else frozenset(missing)
    found = columns.coded(name)
    with reading(name):
        texts = _decoded(spelled(found.dictionary))
    texts = [text if isinstance(text, str) and stated.place(text) >= 0 else _tidied(text, of_missing) for text in texts]
    places = found.indices.cast(pa.int64()).fill_null(len(texts)).to_numpy(zero_copy_only=False)
    return Labels([*texts, None], [*map(shown, found.dictionary), ""], places)


def count_labels(table: pa.Table, name: str, stated: Sequence[str] = (), missing: Sequence[str] = ()) -> dict[str, int]:
    """Return the rows of each label of a table; see `read_labels`."""
    return read_labels(Columns(table), name, Spelling(stated), missing).counts()


def _tidied(text: str | bytes | None, missing: frozenset[str]) -> str | bytes | None:
    if not isinstance(text, str):
        return text
    tidied: str | None = text
    if (shorter := tidy(text)) != text:
        [tidied] = spelled(pa.array([shorter])).to_pylist()
    return None if tidied in missing else tidied


def _decoded(texts: pa.Array) -> list[str | bytes | None]:
    """Return texts, and those that are not UTF-8 as bytes."""
    try:
        decoded: list[str | bytes | None] = texts.to_pylist()
    except UnicodeDecodeError:
        decoded = texts.cast(pa.large_binary()).to_pylist()
        for at, content in enumerate(decoded):
            with suppress(UnicodeDecodeError):
                decoded[at] = content.decode() if isinstance(content, bytes) else content
    return decoded
