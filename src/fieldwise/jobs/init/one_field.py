"""The field of one column, or one cross: configured settings, completed by inferred ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from fieldwise.config import FieldConfig
from fieldwise.errors import DataError
from fieldwise.features.bags import measure_bags, split_cells
from fieldwise.features.columns import Columns, reading
from fieldwise.features.field_types import convert
from fieldwise.features.missing import IN_TEXTS
from fieldwise.profile.infer.guess import guess_column
from fieldwise.profile.infer.meaning import Guess
from fieldwise.schema import CustomType, Field, FieldType

__all__ = ["column_field", "cross_fields", "custom_field", "with_limits"]

_LARGEST_WEIGHT = 10.0
"""Of the weights of a bag that enter as they are."""
_LEAST_LENGTH, _TIMES_LONGEST = 100, 4
"""What the longest cell to come may hold, and how many times what the longest of the sample does: a cell of 100,000
values would settle a probability by their number alone."""


def column_field(name: str, column: str, entry: FieldConfig, guess: Guess, of_numbers: tuple[str, ...]) -> Field:
    """Return the field of a column: configured settings, completed by inferred ones."""
    stated = _stated(entry)
    type_ = cast("FieldType | None", entry.type) or _implied_type(stated, guess)
    guessed: dict[str, Any] = {}
    if type_ == "number" and {"bins", "edges", "scale"}.isdisjoint(stated):
        guessed = {"bins": 0}
    elif type_ == "time" and {"unit", "format"}.isdisjoint(stated):
        guessed = {"format": guess.format}
    elif type_ in ("category", "bag") and entry.buckets is None:
        guessed = {"min_count": guess.min_count}
    if type_ == "number" and {"decimal", "symbol"}.isdisjoint(stated):
        guessed |= {"decimal": guess.decimal, "symbol": guess.symbol}
    guessed |= {"missing": of_numbers if type_ in ("number", "time", "vector") else guess.missing}
    if type_ == "bag":
        guessed |= {"norm": "sqrt"}
    if type_ == "bag" and guess.type == "bag":
        guessed |= {"weighted": guess.weighted and entry.weights is None}
    if type_ == "vector":
        guessed |= {"length": guess.length}
    if type_ in ("bag", "vector") and guess.separator is not None:
        guessed |= {"separator": guess.separator, "brackets": guess.brackets}
    return msgspec.convert({**guessed, **stated, "name": name, "column": column, "type": type_}, Field)


def custom_field(
    name: str,
    column: str,
    entry: FieldConfig,
    custom: CustomType,
    type_: FieldType,
    columns: Columns,
    missing: tuple[str, ...] | None,
) -> Field:
    """Return a field of a type of one's own: configured settings, and what the converted texts of the sample imply."""
    settings = {**_stated(entry), "name": name, "column": column, "type": type_, "custom": msgspec.to_builtins(custom)}
    settings = {"missing": IN_TEXTS if missing is None else missing} | settings
    field = msgspec.convert({"norm": "sqrt"} | settings if type_ == "bag" else settings, Field)
    with reading(column):
        texts = convert(field, columns.text(column))
    if entry.buckets is None and entry.min_count is None:
        texts = texts.flatten() if type_ == "bag" else texts
        field = msgspec.structs.replace(field, min_count=guess_column(name, texts, missing).min_count)
    return field


def with_limits(field: Field, given: Mapping[str, FieldConfig], columns: Columns) -> Field:
    """Limit the length of a bag, and scale large weights, unless the configuration sets max_length and weight_scale;
    find the length that most vectors have.
    """
    if field.type == "vector" and field.length is None:
        lengths, _ = split_cells(columns, field.columns[0], field)
        most = Counter(lengths[lengths > 0].tolist()).most_common(1)
        return msgspec.structs.replace(field, length=most[0][0]) if most else field
    if field.type != "bag":
        return field
    entry = given.get(field.name, FieldConfig())
    try:
        longest, largest = measure_bags(columns, field)
    except DataError:  # will be reported when the encoder is fitted
        return field
    if entry.max_length is None:
        field = msgspec.structs.replace(field, max_length=max(_LEAST_LENGTH, _TIMES_LONGEST * longest))
    is_large = (field.weighted or field.weights) and largest > _LARGEST_WEIGHT
    if entry.weight_scale is None and is_large:
        field = msgspec.structs.replace(field, weight_scale="log")
    return field


def _stated(entry: FieldConfig) -> dict[str, Any]:
    settings = msgspec.structs.asdict(entry)
    return {key: value for key, value in settings.items() if value is not None and key != "exclude"}


_NOT_OF_VECTORS = {
    *("bins", "edges", "decimal", "symbol", "weighted", "weights", "weight_scale", "norm", "max_length"),
    *("min_count", "max_features", "buckets"),
}


def _implied_type(stated: dict[str, Any], guess: Guess) -> FieldType:
    """Return the type implied by the configured settings, or else the inferred one; a time as a whole is a category."""
    if not {"part", "since", "unit", "format", "timezone"}.isdisjoint(stated):
        return "time"
    if "length" in stated or (guess.type == "vector" and _NOT_OF_VECTORS.isdisjoint(stated)):
        return "vector"
    if not {"bins", "edges", "scale", "decimal", "symbol"}.isdisjoint(stated):
        return "number"
    if not {"separator", "brackets", "weighted", "weights", "weight_scale", "norm", "max_length"}.isdisjoint(stated):
        return "bag"
    if guess.type == "number" and not {"min_count", "max_features", "buckets"}.isdisjoint(stated):
        return "category"
    return "category" if guess.type == "time" else guess.type


def cross_fields(entries: dict[str, FieldConfig], known: set[str]) -> list[Field]:
    """Return the crosses, each after its parts; those with unknown parts come last, for rejection by `Schema.check`."""
    crosses: list[Field] = []
    waiting = dict(entries)
    while waiting:
        ready = [name for name, entry in waiting.items() if known.issuperset(entry.cross or ())] or list(waiting)
        for name in ready:
            stated = _stated(waiting.pop(name))
            parts = stated.pop("cross")
            crosses.append(msgspec.convert({**stated, "name": name, "type": "cross", "parts": parts}, Field))
        known = known | set(ready)
    return crosses
