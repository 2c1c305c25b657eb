"""The classes of a label: how many there are, which of them a probability is of, and what can be no class.

Which texts mean one class is the matter of `features.labels`.

Of two classes one is *positive*: the class whose probability a model gives, the second of the two. It is evident of
flags, of two numbers (the greater), of words and their negation (``clicked`` and ``not clicked``, ``click`` and
``noclick``) and of the `_PAIRS`. Of any other two words the configuration has to say it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from fieldwise.counted import counted
from fieldwise.errors import DataError, did_you_mean
from fieldwise.features.labels import SIDES, Spelling, fold, merge_spellings

__all__ = [
    "ONE_CLASS",
    "Classes",
    "decide_classes",
    "guess_positive",
    "is_number",
    "one_class",
]

ONE_CLASS = "the training rows hold one class only"

_PAIRS = frozenset([("impression", "click"), ("impression", "clicked"), ("failure", "success")])
"""Negative, positive: pairs of words that no negation tells."""

_LIKELY = frozenset(
    re.findall(
        "[a-z]+",
        "accepted bought buy churn churned click clicked conversion convert converted enrolled fraud install installed "
        "like liked opened order ordered paid purchase purchased registered renewed responded response sale signup "
        "sold spam subscribed success true win won yes",
    )
)
"""Words of classes that people ask the probability of: a guess to be read over, never taken without being asked."""

_STRAY_SHARE = 0.01
_RARE_SHARE = 0.001
_MOST_NUMBERS = 100
_SHOWN = 6


class Classes(NamedTuple):
    """The classes in the model's order; of two, the second is positive. `notes` are for people."""

    texts: tuple[str, ...]
    notes: tuple[str, ...] = ()


def decide_classes(counts: Mapping[str, int], column: str, positive: str | None = None) -> Classes:
    """Say which classes a label has, of the rows of each of its texts.

    Parameters
    ----------
    counts
        Rows of each text, canonical and tidy; without missing ones.
    column
        Of the label, for messages.
    positive
        ``data.positive``: a spelling of the positive class.

    Raises
    ------
    DataError
        Fewer than two classes; two words of which none is known to be the positive one; a `positive` that is not met
        or is one of more than two; more than two classes of which two make up nearly everything; numbers that are no
        classes.

    Examples
    --------
    >>> decide_classes({"clicked": 10, "not clicked": 90}, "outcome").texts
    ('not clicked', 'clicked')
    >>> decide_classes({"skipped": 90, "bought": 10}, "outcome", "bought").texts
    ('skipped', 'bought')
    """
    rows = merge_spellings(counts)
    if len(rows) < 2:
        raise one_class(counts, column)
    if positive is not None and Spelling(tuple(rows)).place(positive) < 0:
        raise DataError(
            "the positive class does not occur in the training rows",
            where=f"data.positive, column {column}",
            expected=f"one of {_listed(rows)}",
            got=positive,
            fix=did_you_mean(positive, rows) or "name one of the classes, or correct the label",
        )
    if len(rows) == 2:
        return Classes(_two(rows, column, positive))
    return _several(counts, rows, column, positive)


def one_class(counts: Mapping[str, int], column: str) -> DataError:
    """Return the error where labels mean one class, or none."""
    return DataError(
        ONE_CLASS if counts else "there is no example to learn from",
        where=f"column {column}",
        expected="two classes or more",
        got=", ".join(sorted(counts)) or None,
        fix="take rows of every class into the training part" if counts else None,
    )


def _two(rows: Mapping[str, int], column: str, positive: str | None) -> tuple[str, str]:
    first, second = rows
    if positive is not None:
        chosen = (first, second)[Spelling((first, second)).place(positive)]
    else:
        chosen, is_evident = guess_positive(rows)
        if not is_evident:
            raise DataError(
                "it is not known which of two classes is the positive one",
                where=f"column {column}",
                expected="0 and 1, false and true, no and yes or the like, or data.positive",
                got=_listed(rows),
                fix=f"name the class in [data]: positive = {_quoted(chosen)} (or {_quoted(_other(rows, chosen))})",
            )
    return _other(rows, chosen), chosen


def _other(rows: Mapping[str, int], chosen: str) -> str:
    return next(text for text in rows if text != chosen)


def guess_positive(rows: Mapping[str, int]) -> tuple[str, bool]:
    """Return the positive one of two classes, and whether it is evident; else a guess: a likely word, or the rarer.

    Examples
    --------
    >>> guess_positive({"0": 5, "1": 9}), guess_positive({"noclick": 5, "click": 9})
    (('1', True), ('click', True))
    >>> guess_positive({"skipped": 90, "bought": 10}), guess_positive({"A": 90, "B": 10})
    (('bought', False), ('B', False))
    """
    first, second = sorted(rows)
    folded = fold(first), fold(second)
    sides = [SIDES.get(word) for word in folded]
    if sides in ([0, 1], [1, 0]):
        return (first, second)[sides.index(1)], True
    numbers = [_number(word) for word in folded]
    if numbers[0] is not None and numbers[1] is not None and numbers[0] != numbers[1]:
        return (second if numbers[1] > numbers[0] else first), True
    for positive, negative, text in ((folded[0], folded[1], first), (folded[1], folded[0], second)):
        if (negative, positive) in _PAIRS or _negates(negative, positive):
            return text, True
    likely = [text for text in (first, second) if _LIKELY.intersection(re.findall(r"[^\W_]+", fold(text)))]
    if len(likely) == 1:
        return likely[0], False
    return min((second, first), key=lambda text: rows[text]), False


def _negates(negative: str, positive: str) -> bool:
    """Whether one is the other behind ``not``, ``no``, ``non`` or ``un-``; these can be written in one word, but un."""
    begin = re.escape(positive)
    if re.fullmatch(rf"(not|no|non|un)[\s_\-]+(a[\s_\-]+)?{begin}", negative):
        return True
    return len(positive) > 2 and negative in {f"not{positive}", f"no{positive}", f"non{positive}"}


def is_number(text: str) -> bool:
    """Whether the text of a class is a number."""
    return _number(text) is not None


def _number(text: str) -> float | None:
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def _several(counts: Mapping[str, int], rows: Mapping[str, int], column: str, positive: str | None) -> Classes:
    """Decide on more than two classes."""
    numbers = {text: _number(text) for text in rows}
    sizes = {text: number for text, number in numbers.items() if number is not None}
    frequent = sorted(rows, key=lambda text: (-rows[text], text))
    total = sum(rows.values())
    strays = frequent[2:]
    num_strays = sum(rows[text] for text in strays)
    flags = {fold(text) for text in frequent[:2]} in ({"0", "1"}, {"-1", "1"}, {"false", "true"})
    unlike = flags and not any(text in sizes for text in strays)
    if num_strays < _STRAY_SHARE * total or unlike:
        chosen = _likely_of(rows, frequent, positive)
        pair = (frequent[1] if chosen == frequent[0] else frequent[0], chosen)
        every = f"data.classes = {_list([*pair, *strays])}" if len(rows) <= _SHOWN else "data.classes with all of them"
        raise DataError(
            f"the label has {len(rows):,} values, but {total - num_strays:,} of {total:,} rows hold two of them",
            where=f"column {column}",
            expected="two classes, or data.classes",
            got=_listed(rows),
            fix=f"data.classes = {_list(pair)} rejects the rows of the others; {every} makes each a class",
        )
    if positive is not None:
        pair = (_first_other(frequent, positive), positive)
        raise DataError(
            "a positive class requires two classes, and the label has more",
            where=f"data.positive, column {column}",
            got=_listed(rows),
            fix=f"name two classes, the positive one last, as in data.classes = {_list(pair)}: the rows of others are "
            "rejected; or remove data.positive: a model of all classes gives the probability of each",
        )
    all_numbers = len(sizes) == len(rows)
    if all_numbers and (len(rows) > _MOST_NUMBERS or any(size != math.floor(size) for size in sizes.values())):
        raise DataError(
            "the label holds numbers that are not classes",
            where=f"column {column}",
            expected=f"0 and 1, or whole numbers, at most {_MOST_NUMBERS} of them",
            got=f"{len(rows):,} values: {_listed(rows)}",
            fix="make a column of 0 and 1 by a threshold, as in rating >= 4; or name the values in data.classes",
        )
    cased = [text for text in counts if text not in rows]
    if cased:
        raise DataError(
            "values of the label differ only in letter case or spaces",
            where=f"column {column}",
            got=", ".join(_quoted(text) for text in sorted(cased, key=fold)[:_SHOWN]),
            fix="name the classes in data.classes: any case of a class is that class, unless both are named",
        )
    return Classes(_ordered(rows, sizes), tuple(_notes(rows, column, all_numbers)))


def _likely_of(rows: Mapping[str, int], frequent: Sequence[str], positive: str | None) -> str:
    """Return the positive one of the two most frequent classes, as far as can be told."""
    pair = {text: rows[text] for text in frequent[:2]}
    place = Spelling(tuple(pair)).place(positive) if positive is not None else -1
    return tuple(pair)[place] if place >= 0 else guess_positive(pair)[0]


def _first_other(frequent: Sequence[str], positive: str) -> str:
    place = Spelling(tuple(frequent)).place(positive)
    return next(text for at, text in enumerate(frequent) if at != place)


def _ordered(rows: Iterable[str], sizes: Mapping[str, float]) -> tuple[str, ...]:
    texts = sorted(rows)
    return tuple(sorted(texts, key=sizes.__getitem__) if len(sizes) == len(texts) else texts)


def _notes(rows: Mapping[str, int], column: str, all_numbers: bool) -> Iterable[str]:
    total = sum(rows.values())
    rare = [text for text in rows if rows[text] < _RARE_SHARE * total]
    if rare:
        shown = ", ".join(_with_rows(text, rows[text]) for text in rare[:_SHOWN])
        yield (
            f"column {column} has classes that occur only a few times in {total:,} rows: {shown}; "
            "data.classes, where it names the others, rejects the rows of these"
        )
    if all_numbers:
        yield (
            f"the numbers in column {column} are taken for {len(rows):,} classes without an order; for the probability "
            "of a high one, make a column of 0 and 1 by a threshold"
        )


def _listed(rows: Mapping[str, int]) -> str:
    frequent = sorted(rows, key=lambda text: (-rows[text], text))
    shown = ", ".join(_with_rows(text, rows[text]) for text in frequent[:_SHOWN])
    return shown + (f" and {len(rows) - _SHOWN:,} more" if len(rows) > _SHOWN else "")


def _with_rows(text: str, count: int) -> str:
    return f"{_quoted(text)} in {counted(count, 'row')}"


def _list(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(_quoted, texts))}]"


def _quoted(text: str) -> str:
    text = text if len(text) <= 40 else text[:40] + "..."
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
