"""Which encoder a field has."""

from __future__ import annotations

from collections.abc import Mapping

from fieldwise.features.bags import BagEncoder
from fieldwise.features.cross import CrossEncoder
from fieldwise.features.fields import CategoryEncoder, FieldEncoder
from fieldwise.features.numbers import BinEncoder, ScaleEncoder
from fieldwise.features.scratch import Scratch
from fieldwise.features.times import CalendarEncoder
from fieldwise.schema import Field

__all__ = ["encoder_for"]


def encoder_for(field: Field, before: Mapping[str, FieldEncoder], scratch: Scratch) -> FieldEncoder:
    """Return a new encoder for a field; `before` are those of the fields before it, by name."""
    if field.type == "cross":
        return CrossEncoder(field, [before[part] for part in field.parts], scratch)
    if field.type == "bag":
        return BagEncoder(field, scratch)
    if field.numeric:
        return BinEncoder(field) if field.discretised else ScaleEncoder(field)
    if field.type == "time":
        return CalendarEncoder(field)
    return CategoryEncoder(field, scratch)
