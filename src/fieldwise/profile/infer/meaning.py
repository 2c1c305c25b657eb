"""What a column is taken for."""

from __future__ import annotations

from typing import Literal, NamedTuple

from fieldwise.features.missing import IN_TEXTS
from fieldwise.schema import Decimal, FieldType, TimePart

__all__ = ["Guess"]


class Guess(NamedTuple):
    """The inferred meaning of a column: the field that it would make, even if it is left out.

    Attributes
    ----------
    reason
        A short explanation for the user.
    left_out
        Whether the column is not used as a field by default.
    role
        Its likely role in ``[data]``; ``time`` if its values are points in time.
    type, separator, brackets, weighted, decimal, symbol, format, min_count, missing, length
        See `schema.Field`; `min_count` and `missing` are those of a category or bag.
    parts
        For a time, the part that each of its fields uses.
    is_open
        Whether the values may be quantities or codes, so that the label has to decide (`by_label`).
    is_both
        Whether the column makes two fields: a category, and a number whose order carries further information.
    """

    reason: str
    type: FieldType = "category"
    left_out: bool = False
    role: Literal["id", "split", "time"] | None = None
    separator: str | None = None
    brackets: bool = False
    weighted: bool = False
    min_count: int = 1
    decimal: Decimal | None = None
    symbol: str | None = None
    parts: tuple[TimePart, ...] = ()
    format: str | None = None
    missing: tuple[str, ...] = IN_TEXTS
    is_open: bool = False
    is_both: bool = False
    length: int | None = None
