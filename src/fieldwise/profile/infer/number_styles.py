"""Whether texts are numbers with separators or signs of currencies, and in which of two ways they are written."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

from fieldwise.features.numerals import Style, bare_numbers, well_written
from fieldwise.profile.infer.values import Values

__all__ = ["find_style", "may_be_numbers"]

_SYMBOLS = frozenset(
    ("$", "€", "£", "¥", "₹", "₽", "₺", "₩", "₫", "₴", "%", "‰", "US$", "A$", "C$", "R$", "USD", "EUR", "GBP", "CHF")
)
_OF_NUMBERS = r"[0-9.,\s'’_()+\u2212-]"
_LONG_GROUPS = r"^[+-]?[1-9][0-9]?([.][0-9]{3}){2,}|^[+-]?[1-9][0-9]?(,[0-9]{3}){2,}"
"""Groups behind a short one: lists of numbers of three digits have none."""
_TUPLE = r"^\(.*\)$"
_DOTTED = r"^[0-9]{1,3}([.][0-9]{3}){2,}$"
_OF_NUMBERS_ALONE = "[\u00a0\u202f'’]"
"""Between digits, spaces that do not break and apostrophes stand in numbers only."""
_GROUPS_ALONE = r"[0-9](,[0-9]{3}){2,}$|[0-9]([.][0-9]{3}){2,}$|[0-9] [0-9]{3}$"


def find_style(values: Values) -> Style | None:
    """Return the style in which all values are numbers, where it is certain and not the plain one.

    1,234 may be a thousand or a little more than one, so there has to be a value that only one of the two styles has:
    1,234.50, 0,5, 3,14. Signs are those of currencies and percent, the same in all values. Points between equally many
    groups in all values, two or more, are those of addresses and versions: amounts differ in length.

    Examples
    --------
    >>> find_style(Values(pa.array(["1,234.50", "7"])))
    Style(decimal='.', symbol=None)
    >>> find_style(Values(pa.array(["3,14 €", "1.200,00 €"])))
    Style(decimal=',', symbol='€')
    >>> find_style(Values(pa.array(["1,234", "5,678"]))), find_style(Values(pa.array(["10.168.100", "10.168.200"])))
    (None, None)
    """
    american, other, texts, symbol = _fits(values)
    if american == other:  # neither; or both, which is the same if there are no separators
        certain = american and not _any(texts, "[.,]") and (symbol is not None or _any(texts, _OF_NUMBERS_ALONE))
        return Style(".", symbol) if certain else None
    if symbol is None and _are_addresses(texts):
        return None
    if symbol is None and _any(texts, _GROUPS_ALONE) and not _any(texts, _LONG_GROUPS):
        only_groups = not _any(texts, r"[.,][0-9]{1,2}$|[.,][0-9]{4,}$|[.].*,|,.*[.]")
        return None if only_groups else Style("." if american else ",")
    return Style("." if american else ",", symbol)


def may_be_numbers(values: Values) -> bool:
    """Whether all values are numbers in both styles, but not the same ones: 1,234; or amounts as much as addresses."""
    american, other, texts, _ = _fits(values)
    return other and _any(texts, "[.,]") and (american or _are_addresses(texts))


def _are_addresses(texts: pa.Array) -> bool:
    of_groups = bool(pc.all(pc.match_substring_regex(texts, _DOTTED)).as_py())
    return of_groups and len(pc.unique(pc.count_substring(texts, "."))) == 1


def _fits(values: Values) -> tuple[bool, bool, pa.Array, str | None]:
    """Return whether the values have either style, decimal points and commas; their bare texts; and their symbol."""
    if values.numbers is not None or not values.num_distinct:
        return False, False, values.texts, None
    around = re.sub(_OF_NUMBERS, "", values.texts[0].as_py())
    symbol = around if around in _SYMBOLS else None
    if pc.all(pc.match_substring_regex(values.texts, _TUPLE)).as_py():  # brackets mean minus, but not in every row
        return False, False, values.texts, symbol
    texts, has_symbol = bare_numbers(values.texts, symbol)
    if not pc.all(has_symbol).as_py():
        return False, False, texts, symbol
    american, other = (bool(pc.all(well_written(texts, decimal)).as_py()) for decimal in (".", ","))
    return american, other, texts, symbol


def _any(texts: pa.Array, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(texts, pattern)).as_py())
