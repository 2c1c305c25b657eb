r"""Numbers from columns and texts, strictly: what is no finite number is pointed out, never turned into a null.

They are plain, or as people and spreadsheets write them where a field says so: ``1,234.50``, ``1.234,50``, ``$5``,
``(12.00)``, ``7 %``.

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

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fieldwise.errors import DataError
from fieldwise.features.canonical import is_text, plain
from fieldwise.features.columns import Columns
from fieldwise.features.parse import PLAIN, as_floats, parse_text, parse_written, without_numbers
from fieldwise.schema import Decimal, Field

__all__ = [
    "NOT_A_NUMBER",
    "Style",
    "bare_numbers",
    "read_numbers",
    "respelled",
    "style_of",
    "symbol_of",
    "well_written",
    "why_no_numbers",
    "without_setting",
]

Float64s = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

NOT_A_NUMBER = "not a finite number"
_NUMERIC = re.compile("[0-9]|^[+-]?inf", re.IGNORECASE)
_LOOKED_AT = 100
"""Rejected cells, for the symbols that they have."""

_SPACES = r" '’_\x{00a0}\x{202f}"
_BETWEEN = {".": f"[,{_SPACES}]", ",": rf"[.{_SPACES}]"}
_POINT = {".": r"\.", ",": ","}
_BY_COMPUTERS = r"^[+-]?[0-9]+(\.0+|(\.[0-9]+)?[eE][+-][0-9]{1,2})$"
"""As programs write whole floats, whatever the style of the column: 5.0, 1.25e+10. No other reading has a sense."""
_IN_BRACKETS = r"^\(([^()+-]*)\)$"
_NO_NUMBER = "no number"
_SYMBOL = re.compile(
    r"[+(-]?([^\w\s.,'’()+-]{1,2}|[A-Z]{3})?[\s+-]*\d[\d.,\s'’_]*?\s*([^\w\s.,'’()+-]{1,2}|[A-Z]{3})?\)?"
)


def read_numbers(
    columns: Columns, name: str, missing: tuple[str, ...] = (), style: Style | None = None
) -> tuple[Float64s, Bools]:
    """Read a column as float64.

    Parameters
    ----------
    columns, name
        The column.
    missing
        Texts and numbers that mean missing.
    style
        How numbers in text are written, where not plainly.

    Returns
    -------
    The numbers, (B,), NaN for missing; and which cells are no finite number, (B,).

    Raises
    ------
    DataError
        The column's type is neither a number nor text.
    """
    array = columns.array(name)
    kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    if is_text(kind) and style is not None:  # not canonical text, which takes 1.000 for 1
        return parse_text(respelled(columns.written(name), style), missing)
    if is_text(kind):
        return parse_written(array, missing)
    if pa.types.is_float32(kind):  # 0.1 is the same number in every width, as it is in a CSV
        array = plain(array).cast(pa.string())
    elif not (
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind)
    ):
        raise DataError(
            "a column of this type holds no numbers",
            where=f"column {name}",
            expected="integers, floats, decimals or text",
            got=kind,
            fix="make the field a category, or cast the column",
        )
    numbers = as_floats(plain(array).cast(pa.float64(), safe=False))
    return without_numbers(numbers, missing), np.isinf(numbers)


def why_no_numbers(values: Sequence[str], style: Style | None) -> list[str]:
    """Return the reasons for which cells are rejected as numbers, with the setting of their field that would read them.

    Examples
    --------
    >>> why_no_numbers(["12b", "3,14 €"], None)
    ['not a finite number', 'not a finite number: decimal = ",", symbol = "€" would read it']
    >>> why_no_numbers(["1,234", "1.5", "old"], Style(","))[1:]
    ['not a finite number: decimal = "." would read it', 'not a finite number: if it means missing, name it in missing']
    """
    now = style or Style()
    text = pa.array(values, pa.string())
    reasons = [
        NOT_A_NUMBER if _NUMERIC.search(value) else f"{NOT_A_NUMBER}: if it means missing, name it in missing"
        for value in values
    ]
    decimals: list[Decimal] = [now.decimal, "," if now.decimal == "." else "."]
    for symbol in dict.fromkeys([None, *map(symbol_of, values[:_LOOKED_AT])]):
        for decimal in decimals:
            keys = [f'decimal = "{decimal}"'] * (decimal != now.decimal)
            if symbol != now.symbol:
                keys.append("no symbol" if symbol is None else f"symbol = {json.dumps(symbol, ensure_ascii=False)}")
            numbers, bad = parse_text(respelled(text, Style(decimal, symbol)))
            for at in np.flatnonzero(~bad & ~np.isnan(numbers)).tolist():
                if keys and reasons[at] == NOT_A_NUMBER:
                    reasons[at] += f": {', '.join(keys)} would read it"
    return reasons


def without_setting(reason: str) -> str:
    """Return a reason of `why_no_numbers` without the setting, which is of no use once a model is trained.

    Examples
    --------
    >>> without_setting('not a finite number: decimal = "," would read it')
    'not a finite number'
    """
    what, _, setting = reason.partition(": ")
    return what if setting.endswith(("would read it", "in missing")) else reason


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
    refused = pc.match_substring_regex(text, PLAIN)
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
    bare = text if symbol is None else _without_symbol(text, symbol)
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


def _without_symbol(text: pa.Array, symbol: str) -> pa.Array:
    """Return texts without the symbol before or after the number, and without the spaces between them."""
    literal, space = re.escape(symbol), r"[ \x{00a0}\x{202f}]*"
    before = pc.replace_substring_regex(text, f"^([+(\u2212-]?){space}{literal}{space}", r"\1")
    after = pc.replace_substring_regex(text, f"{space}{literal}{space}(\\)?)$", r"\1")
    return pc.if_else(pc.equal(before, text), after, before)
