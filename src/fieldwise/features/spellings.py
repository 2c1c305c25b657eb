"""The spellings of a label: which texts mean one class, and which mean none.

========================  ==============================================================================================
spelling                  is
========================  ==============================================================================================
blanks around it, ``+1``  left out: `` 1 ``, ``+1`` and ``1.0`` are the class 1
letter case               passed over, unless two classes differ in nothing else
flags                     ``0 false f no n off - neg negative`` and ``1 true t yes y on + pos positive``, where all
                          values of the label are among them: two classes, however many spellings
missing                   the empty cell, null, NaN and the texts of `MISSING_LABELS`, or those of ``data.missing`` in
                          their place: no class, unless the configuration names it as one
========================  ==============================================================================================
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

__all__ = ["MISSING_LABELS", "SIDES", "Spelling", "fold", "merge_spellings", "tidy"]

MISSING_LABELS = frozenset(
    [
        "NULL",
        "Null",
        "null",
        "\\N",
        "NA",
        "N/A",
        "n/a",
        "#N/A",
        "#NA",
        "<NA>",
        "(null)",
        "<null>",
        "None",
        "nan",
        "NaN",
        "NAN",
        "NaT",
    ]
)
"""Texts that databases and data frames write for a missing value."""

_FLAG_PAIRS = (
    ("0", "1"), ("false", "true"), ("f", "t"), ("no", "yes"), ("n", "y"), ("off", "on"), ("-", "+"), ("neg", "pos"),
    ("negative", "positive"),
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
    """Return what spellings of one class have in common."""
    return tidy(text).casefold()


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
