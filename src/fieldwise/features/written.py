r"""Numbers as people and spreadsheets write them: ``1,234.50``, ``1.234,50``, ``$5``, ``(12.00)``, ``7 %``.

=============  =======================================================  ================================================
`decimal`      between thousands, where all groups are whole            before the fraction
=============  =======================================================  ================================================
``.``          comma, space, apostrophe, underscore                     point
``,``          point, space, apostrophe, underscore                     comma
=============  =======================================================  ================================================

Spaces are those that do not break, too. Brackets around a number are a minus, as in accounts. What is written in the
other way, or has no `symbol` where one is stated, is no number: 1.5 is not taken for 15.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from fieldwise.schema import Decimal, Field

__all__ = ["Style", "bare_numbers", "respelled", "style_of", "symbol_of", "well_written"]

_SPACES = r" '’_\x{00a0}\x{202f}"
_BETWEEN = {".": f"[,{_SPACES}]", ",": rf"[.{_SPACES}]"}
_POINT = {".": r"\.", ",": ","}
_PLAIN = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_BY_COMPUTERS = r"^[+-]?[0-9]+(\.0+|(\.[0-9]+)?[eE][+-][0-9]{1,2})$"
"""As programs write whole floats, whatever the style of the column: 5.0, 1.25e+10. No other reading has a sense."""
_IN_BRACKETS = r"^\(([^()+-]*)\)$"
_NO_NUMBER = "no number"
_SYMBOL = re.compile(
    r"[+(-]?([^\w\s.,'’()+-]{1,2}|[A-Z]{3})?[\s+-]*\d[\d.,\s'’_]*?\s*([^\w\s.,'’()+-]{1,2}|[A-Z]{3})?\)?"
)


class Style(NamedTuple):
    """How the numbers of a column are written; see `schema.Field`."""

    decimal: Decimal = "."
    symbol: str | None = None


def style_of(field: Field) -> Style | None:
    """Return the style of a field's numbers; None where they are plain."""
    if field.decimal is None and field.symbol is None:
        return None
    return Style(field.decimal or ".", field.symbol)


def respelled(text: pa.Array, style: Style) -> pa.Array:
    """Return the texts with numbers in plain digits, as a computer writes them; all else as it is, or as no number.

    Examples
    --------
    >>> respelled(pa.array(["1.234,50", "3,14", "1.5", "-7", "NA", None]), Style(",")).to_pylist()
    ['1234.50', '3.14', 'no number', '-7', 'NA', None]
    >>> respelled(pa.array(["$1,234.5", "-$2", "($3)", "4"]), Style(".", "$")).to_pylist()
    ['1234.5', '-2', '-3', 'no number']
    """
    text = pc.utf8_trim_whitespace(text)
    bare, has_symbol = bare_numbers(text, style.symbol)
    good = pc.and_(pc.match_substring_regex(bare, _pattern(style.decimal)), has_symbol)
    plain = pc.replace_substring_regex(bare, _BETWEEN[style.decimal], "")
    if style.decimal == ",":
        plain = pc.replace_substring(plain, ",", ".")
    refused = pc.match_substring_regex(text, _PLAIN)
    if style.symbol is None:
        refused = pc.and_(refused, pc.invert(pc.match_substring_regex(text, _BY_COMPUTERS)))
    otherwise = pc.if_else(refused, pa.scalar(_NO_NUMBER, text.type), text)
    return pc.if_else(good, plain, otherwise)


def bare_numbers(text: pa.Array, symbol: str | None) -> tuple[pa.Array, pa.Array]:
    """Return texts without the symbol, with a plain minus where they have one; and which of them had the symbol.

    Examples
    --------
    >>> [array.to_pylist() for array in bare_numbers(pa.array(["($3)", "5 $", "4"]), "$")]
    [['-3', '5', '4'], [True, True, False]]
    """
    text = pc.utf8_trim_whitespace(text)
    bare = text if symbol is None else _without(text, symbol)
    has_symbol = pc.is_valid(text) if symbol is None else pc.not_equal(bare, text)
    bare = pc.replace_substring(bare, "\u2212", "-")
    return pc.replace_substring_regex(bare, _IN_BRACKETS, r"-\1"), has_symbol


def symbol_of(text: str) -> str | None:
    """Return what may be the symbol of a number.

    Examples
    --------
    >>> symbol_of("$1,234.50"), symbol_of("3,14 EUR"), symbol_of("12b"), symbol_of("5")
    ('$', 'EUR', None, None)
    """
    found = _SYMBOL.fullmatch(text.strip())
    return found and (found[1] or found[2])


def well_written(text: pa.Array, decimal: Decimal) -> pa.Array:
    """Return which texts are numbers in a style, without a symbol."""
    return pc.match_substring_regex(text, _pattern(decimal))


def _pattern(decimal: Decimal) -> str:
    between, point = _BETWEEN[decimal], _POINT[decimal]
    whole = f"([0-9]+|[1-9][0-9]{{0,2}}({between}[0-9]{{2,3}})*{between}[0-9]{{3}})"
    return f"^[+-]?({whole}({point}[0-9]*)?|{point}[0-9]+)([eE][+-]?[0-9]+)?$"


def _without(text: pa.Array, symbol: str) -> pa.Array:
    """Return texts without the symbol before or after the number, and without the spaces between them."""
    literal, space = re.escape(symbol), r"[ \x{00a0}\x{202f}]*"
    before = pc.replace_substring_regex(text, f"^([+(\u2212-]?){space}{literal}{space}", r"\1")
    after = pc.replace_substring_regex(text, f"{space}{literal}{space}(\\)?)$", r"\1")
    return pc.if_else(pc.equal(before, text), after, before)
