"""All columns that are read from a log, and what they mean together."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import msgspec

from fieldwise.errors import ConfigError, did_you_mean
from fieldwise.schema.field import Default, Field
from fieldwise.schema.labels import NUM_STATES, Label, check_labels

__all__ = ["Schema"]


class Schema(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The columns that are read from a log, and their meaning.

    Attributes
    ----------
    fields
        The fields in the order of the model's input; crosses follow the fields that they combine.
    label
        The column with the class of each example.
    classes
        The canonical texts of the classes, in order; empty until the encoder is fitted, unless configured.
    positive
        The positive class of two; after fitting, the second of `classes`.
    weight, group, id, split
        Columns with the weight of each example, its group for GAUC, its identifier (copied to predictions), and its
        part of the data (``train``, ``valid`` or ``test``); None if there is none.
    time
        The column of times that the parts are cut by, and how they are written; None if there is none.
    missing
        Texts that mean missing in the label, weight and group columns; see `Field`.
    labels
        The labels that are learned together, 2 to 4 of them; `label`, `classes` and `positive` are then those of the
        first. Empty where there is one label.
    """

    fields: tuple[Field, ...]
    label: str
    classes: tuple[str, ...] = ()
    positive: str | None = None
    weight: str | None = None
    group: str | None = None
    id: str | None = None
    split: str | None = None
    time: Field | None = None
    missing: tuple[str, ...] = ()
    labels: tuple[Label, ...] = ()

    def check(self) -> None:
        """Raise ConfigError if fields are inconsistent, or if the label is used as an input."""
        names = [field.name for field in self.fields]
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise ConfigError("duplicate field names", where="[fields]", got=", ".join(twice))
        check_labels([(label.label, label.among) for label in self.labels])
        if self.classes and (len(set(self.classes)) < max(len(self.classes), 2) or not all(self.classes)):
            raise ConfigError(
                "classes must be two or more distinct values of the label",
                where="data.classes",
                got=["" if text is None else text for text in self.classes],
                fix="an empty cell cannot be a class; if it means no click, replace it with 0"
                if not all(self.classes)
                else None,
            )
        if self.positive is not None and len(self.classes) > 2:
            raise ConfigError(
                "positive requires exactly two classes",
                where="data.positive",
                got=f"{self.positive}; data.classes = {list(self.classes)}",
                fix="remove positive; with more than two classes the model predicts the probability of each",
            )
        for role, column in (
            *((role, getattr(self, role)) for role in ("weight", "group", "split")),
            ("time", self.time and self.time.column),
        ):
            if column in self.label_columns:
                raise ConfigError(
                    f"the label cannot be the {role}", where=f"data.{role}", got=column, fix="choose another column"
                )
        if self.id is not None and (self.id == "probability" or self.id.startswith("probability_")):
            raise ConfigError(
                "the name of the id column is reserved for predictions",
                where="data.id",
                got=self.id,
                fix="rename the column, or remove data.id to number the rows",
            )
        if not names:
            raise ConfigError("there are no fields", where="[fields]", fix="use at least one column as a field")
        seen: dict[str, Field] = {}
        for field in self.fields:
            field.check()
            if labels := set(self.label_columns).intersection(field.columns):
                raise ConfigError(
                    "the label cannot be a field",
                    where=f"[fields.{field.name}]",
                    got=f"column = {', '.join(sorted(labels))}",
                    fix="remove the field",
                )
            for part in field.parts:
                if part not in seen:
                    raise ConfigError(
                        "a cross must combine fields defined before it",
                        where=f"[fields.{field.name}]",
                        got=part,
                        fix=did_you_mean(part, seen),
                    )
                if seen[part].type == "vector":
                    raise ConfigError("a cross cannot combine vectors", where=f"[fields.{field.name}]", got=part)
                if seen[part].numeric and not seen[part].discretised:
                    raise ConfigError(
                        "a cross cannot combine numbers without bins",
                        where=f"[fields.{field.name}]",
                        got=part,
                        fix=f"give [fields.{part}] bins or edges",
                    )
            seen[field.name] = field
        self._check_served()

    def _check_served(self) -> None:
        for field in self.fields:
            if field.serve_as is None or field.column is None:
                continue
            if field.type == "number" and (isinstance(field.serve_as, bool) or not _is_number(field.serve_as)):
                raise ConfigError("the value of a number must be a number", where=f"[fields.{field.name}]",
                                  got=f"serve_as = {field.serve_as!r}")  # fmt: skip
            others = [other for other in self.fields if field.column in other.columns]
            apart = [other.name for other in others if other.serve_as != field.serve_as]
            if apart:
                raise ConfigError(
                    "the fields of one column must be served alike",
                    where=f"[fields.{apart[0]}]",
                    expected=f"serve_as = {field.serve_as!r}, as [fields.{field.name}]",
                )

    @property
    def served(self) -> dict[str, Default]:
        """The columns with a fixed value when a model answers, and the values."""
        return {
            field.column: field.serve_as
            for field in self.fields
            if field.serve_as is not None and field.column is not None
        }

    @property
    def has_inputs(self) -> bool:
        """Whether some field has (`Field.has_inputs`)."""
        return any(field.has_inputs for field in self.fields)

    @property
    def label_columns(self) -> tuple[str, ...]:
        """The column of the label, or of each of several."""
        return tuple(label.label for label in self.labels) or (self.label,)

    @property
    def num_label_codes(self) -> int:
        """How many different things an example may say of its label, or of all of several; 0 before that is known."""
        return NUM_STATES ** len(self.labels) if self.labels else len(self.classes)

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the columns of a matrix of probabilities are called: several labels, or more than two classes; empty
        where a model answers with one probability for each example.
        """
        if self.labels:
            return self.label_columns
        return self.classes if len(self.classes) > 2 else ()

    @property
    def positive_class(self) -> str | None:
        """The positive class, i.e. the second of two; None for more classes, for several labels, and before the classes
        are known.
        """
        return self.classes[1] if len(self.classes) == 2 and not self.labels else None

    @property
    def of_label(self) -> dict[str, Any]:
        """The attributes ``label``, ``classes``, ``positive`` and ``labels`` of results."""
        found = {"label": self.label, "classes": list(self.classes), "positive": self.positive_class}
        return {**found, "labels": [label.label for label in self.labels]}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the fields read, without duplicates, in order."""
        return tuple(dict.fromkeys(name for field in self.fields for name in field.columns))


def _is_number(value: Default) -> bool:
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False
