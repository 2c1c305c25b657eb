"""What a log means: its fields, their types, its label and its other columns.

A `Schema` is complete: nothing in it is left to be guessed. It is written from the configuration file (`config`), with
what the file leaves out inferred from the log, and travels inside the cache and the bundle, so that training,
evaluation and serving read a raw row in the same way.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from fieldwise.errors import ConfigError, did_you_mean

__all__ = ["Field", "FieldType", "Scale", "Schema"]

FieldType = Literal["category", "number", "bag", "cross"]
Scale = Literal["standard", "log", "sqrt", "none"]
_Count = Annotated[int, Meta(ge=1)]


class Field(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One field: a column of the log, or a cross of fields.

    Attributes
    ----------
    name
        Unique in the schema; the column's name unless `column` says otherwise.
    type
        ``category``: one feature per value. ``number``: the value itself is the input of the field's one feature, or,
        with `bins` or `edges`, one feature per bin. ``bag``: several features in one cell. ``cross``: one feature per
        combination of the values of the fields in `parts`.
    column
        The column it reads; None for a cross.
    min_count
        Values seen less often in training share the field's *unseen* feature (category, bag, cross; >= 1).
    max_features
        Keep at most this many values, the most frequent ones.
    buckets
        Hash values into this many features in place of a vocabulary; 1 to 2^32 - 3.
    bins
        Number of quantile bins of a number, 2 to 65,534.
    edges
        Inner edges of a number's bins, strictly increasing: bin i holds edges[i-1] <= x < edges[i].
    scale
        How a number enters when it has no bins: ``standard`` (minus mean, over standard deviation), ``log``
        (sign(x) log(1 + abs(x)), then standard), ``sqrt`` (sign(x) sqrt(abs(x)), then standard) or ``none``.
    separator
        What stands between the values of a bag in a text cell.
    weighted
        The values of a bag carry weights, as in ``a:0.5|b:1``.
    parts
        The fields that a cross combines, two or more.
    """

    name: str
    type: FieldType = "category"
    column: str | None = None
    min_count: _Count = 1
    max_features: _Count | None = None
    buckets: Annotated[int, Meta(ge=1, le=2**32 - 3)] | None = None
    bins: Annotated[int, Meta(ge=2, le=65_534)] | None = None
    edges: tuple[float, ...] | None = None
    scale: Scale = "standard"
    separator: Annotated[str, Meta(min_length=1)] = "|"
    weighted: bool = False
    parts: tuple[str, ...] = ()

    @property
    def discretised(self) -> bool:
        """Whether this is a number whose bins are features."""
        return self.type == "number" and (self.bins is not None or self.edges is not None)

    def check(self) -> None:
        """Raise ConfigError where two settings contradict each other."""

        def refuse(what: str, **details: object) -> None:
            raise ConfigError(what, where=f"[fields.{self.name}]", **details)  # type: ignore[arg-type]

        if (self.type == "cross") != bool(self.parts):
            refuse("a cross, and only a cross, combines other fields", expected='type = "cross" with cross = [names]')
        if self.type == "cross" and len(self.parts) < 2:
            refuse("a cross combines two or more fields", got=list(self.parts))
        if self.type != "cross" and not self.column:
            refuse("the field reads no column", expected="column = NAME")
        if self.type != "number" and (self.bins is not None or self.edges is not None):
            refuse("bins and edges belong to numbers", got=f"type = {self.type}", fix='set type = "number"')
        if self.bins is not None and self.edges is not None:
            refuse("bins and edges exclude each other", fix="keep one of the two")
        if self.edges is not None and (
            not self.edges
            or not all(map(math.isfinite, self.edges))
            or any(a >= b for a, b in zip(self.edges, self.edges[1:], strict=False))
        ):
            refuse("edges must be finite and strictly increasing, one or more", got=list(self.edges))
        if self.type == "number" and (self.buckets is not None or self.max_features is not None or self.min_count > 1):
            refuse("min_count, max_features and buckets belong to categories, bags and crosses")
        if self.buckets is not None and (self.max_features is not None or self.min_count > 1):
            refuse("a hashed field has no vocabulary", fix="remove min_count and max_features, or buckets")
        if self.weighted and self.type != "bag":
            refuse("only the values of a bag carry weights", got=f"type = {self.type}")
        if self.weighted and ":" in self.separator:
            refuse(
                "the colon stands before a weight and cannot separate values too", got=f"separator = {self.separator}"
            )
        if self.type == "cross" and self.column:
            refuse("a cross reads no column", got=f"column = {self.column}", fix="remove column")


class Schema(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every column that the library reads, and what it means.

    Attributes
    ----------
    fields
        In the order of the model's input; crosses after the fields they combine.
    label
        The column with the class of an example.
    classes
        The canonical texts of the classes, in order; empty until the encoder is fitted.
    weight, group, id, split
        Columns with the example's weight, its group for GAUC, its identifier carried into predictions, and its part of
        the data (``train``, ``valid`` or ``test``).
    """

    fields: tuple[Field, ...]
    label: str
    classes: tuple[str, ...] = ()
    weight: str | None = None
    group: str | None = None
    id: str | None = None
    split: str | None = None

    def check(self) -> None:
        """Raise ConfigError where fields contradict each other or the label leaks into them."""
        names = [field.name for field in self.fields]
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise ConfigError("two fields have one name", where="[fields]", got=", ".join(twice))
        if not names:
            raise ConfigError("there is no field to learn from", where="[fields]", fix="name at least one column")
        seen: dict[str, Field] = {}
        for field in self.fields:
            field.check()
            if field.column is not None and field.column == self.label:
                raise ConfigError(
                    "the label cannot be a field",
                    where=f"[fields.{field.name}]",
                    got=f"column = {field.column}",
                    fix="remove the field",
                )
            for part in field.parts:
                if part not in seen:
                    raise ConfigError(
                        "a cross combines fields that stand before it",
                        where=f"[fields.{field.name}]",
                        got=part,
                        fix=did_you_mean(part, seen),
                    )
                if seen[part].type == "number" and not seen[part].discretised:
                    raise ConfigError(
                        "a number without bins cannot be crossed",
                        where=f"[fields.{field.name}]",
                        got=part,
                        fix=f"give [fields.{part}] bins or edges",
                    )
            seen[field.name] = field

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the fields, each once, in order."""
        return tuple(dict.fromkeys(field.column for field in self.fields if field.column is not None))
