"""The schema of a log: its fields and their types, its label and other columns.

A `Schema` is complete: it is built from the configuration (`config`), with missing settings inferred from the log. It
is stored in the cache and in the bundle, so that training, evaluation and serving read raw rows in the same way.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, get_args
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from fieldwise.errors import ConfigError, did_you_mean

__all__ = [
    "CustomType",
    "Decimal",
    "Default",
    "Field",
    "FieldType",
    "Label",
    "Scale",
    "Schema",
    "TimePart",
    "TimeUnit",
    "WeightScale",
    "check_labels",
]

FieldType = Literal["category", "number", "bag", "time", "cross"]
Scale = Literal["standard", "log", "sqrt", "none"]
WeightScale = Literal["log", "none"]
Norm = Literal["none", "sqrt", "mean"]
Decimal = Literal[".", ","]
TimePart = Literal["hour", "weekday", "day", "month", "age"]
TimeUnit = Literal["s", "ms", "us", "ns"]
Default = str | bool | int | float
_Count = Annotated[int, Meta(ge=1)]
NUM_STATES = 4
"""What an example says of one of several labels takes two bits (`kernels.joint_labels`)."""


class CustomType(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The name and the version of a field type of one's own (`features.field_types.register_field_type`)."""

    name: str
    version: int


class Field(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One field: a column of the log, or a cross of fields.

    Attributes
    ----------
    name
        Unique in the schema; by default the name of the column.
    type
        ``category``: one feature per value. ``number``: a single feature whose input is the value or, with `bins` or
        `edges`, one feature per bin. ``bag``: several values in one cell. ``time``: a `part` of a point in time.
        ``cross``: one feature per combination of the values of the fields in `parts`.
    custom
        The type of one's own that makes the texts of a category or bag from those of the column; unset for a built-in
        type.
    column
        The column that it reads; None for a cross.
    default
        Replaces missing cells, in training and prediction alike: a value of a category, the single value (of weight 1)
        of an empty bag, or a number. Invalid cells are still rejected. By default, missing is a feature of its own.
    missing
        Texts that mean missing, in addition to null, NaN and the empty cell (`features.missing`). They match exactly in
        categories and bags, and ignoring case and surrounding spaces in numbers and times; they may be numbers, e.g.
        ``-999``.
    min_count
        Values that occur less often in training share the *unseen* feature of the field (category, bag, cross; >= 1).
    max_features
        Keep at most this many values, the most frequent ones; >= 1.
    buckets
        Hash values into this many features instead of using a vocabulary; 1 to 2^32 - 3.
    decimal
        Decimal separator of numbers in text: with ``.``, thousands may be separated by commas, spaces or apostrophes,
        as in ``1,234.50``; with ``,``, by points, spaces or apostrophes, as in ``1.234,50`` (`features.numerals`). By
        default only numbers like ``1234.50`` are valid.
    symbol
        Unit before or after every number, e.g. ``$``, ``%``, ``EUR``; numbers without it are invalid.
    bins
        Number of quantile bins of a number, 2 to 65,534; 0: chosen from the data
        (`features.sketch.Distribution.suitable_bins`). Edges are exact up to 65,536 distinct values; beyond, their
        relative error is at most p / 65,536 for values that span p powers of two (1 in 4,096 for 16):
        `features.sketch`.
    edges
        Inner edges of a number's bins, strictly increasing: bin i holds edges[i-1] <= x < edges[i].
    scale
        Transformation of a number without bins: ``standard`` ((x - mean) / standard deviation), ``log``
        (sign(x) log(1 + abs(x)), then standard), ``sqrt`` (sign(x) sqrt(abs(x)), then standard) or ``none``.
    separator
        Separator of the values of a bag in a text cell.
    brackets
        Whether the cells of a bag are lists in text form: ``["a", "b"]``, ``['a', 'b']``, ``[8, 32]`` or ``{a,b}``. The
        brackets, and quotes and spaces around values, are removed; the separator is usually a comma (`features.lists`).
    weighted
        Whether the values of a bag have weights in the same cell, as in ``a:0.5|b:1``.
    weights
        The column with the weights of the values of a bag: lists of the same length, or text with the same separator.
    weight_scale
        Transformation of the weights of a bag: ``none``, or ``log``, which replaces w by sign(w) (1 + log(abs(w)))
        where abs(w) > 1. Weights in the thousands, such as quantities in libsvm files, can make training diverge.
    norm
        Divisor of the weights (1 by default) of the values in a cell of a bag: ``sqrt``, the root of the sum of their
        squares; ``mean``, the sum of their absolute values; ``none``, 1. Otherwise a cell of 40 values moves a logit 40
        times as far as a cell of one.
    max_length
        Keep at most this many values per cell of a bag, the first ones, in training and prediction alike; empty and
        missing values do not count.
    part
        The part of a time that is used: ``hour`` (24 features), ``weekday`` (7), ``day`` of the month (31) or ``month``
        (12); or ``age``, the number of days from the time in `since` to the one in `column`, with bins or a scale like
        any number.
    since
        The column with the start of an age.
    unit
        Unit of times written as numbers since 1970: ``s``, ``ms``, ``us`` or ``ns``; by default inferred from their
        magnitude (`features.moments`).
    format
        Format of times that are neither ISO 8601 nor numbers since 1970, e.g. ``%y%m%d%H``, ``%m/%d/%Y %I:%M %p``,
        ``%d/%b/%Y:%H:%M:%S %z``. Supported directives: %Y, %y, %m, %b, %d, %a, %H, %I, %p, %M, %S, %f and %z
        (`kernels.times.parse_times`).
    timezone
        Time zone in which the hour, weekday, day or month is taken, e.g. ``Europe/Rome`` or ``+05:30``; UTC by default.
        Times without a zone are in UTC.
    parts
        The fields that a cross combines, two or more.
    serve_as
        The value of the column in every row that is answered (`fieldwise.Predictor`, ``serve``, ``predict
        --as-served``), for what is known in training alone, such as the position of an ad; requests need not have the
        column. Metrics and plain predictions take the values of the log.
    linear
        Whether only the linear parts of models read the field: logistic regression, the wide part, the skip. Networks
        would overfit fields with many rare features, such as crosses.
    """

    name: str
    type: FieldType = "category"
    custom: CustomType | msgspec.UnsetType = msgspec.UNSET
    column: str | None = None
    default: Default | None = None
    missing: tuple[str, ...] = ()
    min_count: _Count = 1
    max_features: _Count | None = None
    buckets: Annotated[int, Meta(ge=1, le=2**32 - 3)] | None = None
    decimal: Decimal | None = None
    symbol: Annotated[str, Meta(min_length=1)] | None = None
    bins: Annotated[int, Meta(ge=0, le=65_534)] | None = None
    edges: tuple[float, ...] | None = None
    scale: Scale = "standard"
    separator: Annotated[str, Meta(min_length=1)] = "|"
    brackets: bool = False
    weighted: bool = False
    weights: str | None = None
    weight_scale: WeightScale = "none"
    norm: Norm = "none"
    max_length: _Count | None = None
    part: TimePart | None = None
    since: str | None = None
    unit: TimeUnit | None = None
    format: Annotated[str, Meta(min_length=1)] | None = None
    timezone: str | None = None
    parts: tuple[str, ...] = ()
    linear: bool = False
    serve_as: Default | None = None

    @property
    def numeric(self) -> bool:
        """Whether the field is a number, or the age of a time."""
        return self.type == "number" or (self.type == "time" and self.part == "age")

    @property
    def discretised(self) -> bool:
        """Whether the field is a number with bins."""
        return self.numeric and (self.bins is not None or self.edges is not None)

    @property
    def type_name(self) -> str:
        """The type as the configuration names it."""
        return self.custom.name if self.custom else self.type

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the field reads."""
        return tuple(name for name in (self.column, self.weights, self.since) if name is not None)

    def check(self) -> None:
        """Raise ConfigError if settings are inconsistent with the type or with each other."""

        def refuse(what: str, **details: object) -> None:
            raise ConfigError(what, where=f"[fields.{self.name}]", **details)  # type: ignore[arg-type]

        if (self.type == "cross") != bool(self.parts):
            refuse('type = "cross" requires cross, and vice versa', expected='type = "cross" with cross = [names]')
        if self.type == "cross" and len(self.parts) < 2:
            refuse("a cross must combine two or more fields", got=list(self.parts))
        if self.type != "cross" and not self.column:
            refuse("the field has no column", expected="column = NAME")
        if not self.numeric and (self.bins is not None or self.edges is not None):
            refuse(
                "bins and edges are only allowed for numbers and ages",
                got=f"type = {self.type}",
                fix='set type = "number"',
            )
        if self.type != "number" and (self.decimal is not None or self.symbol is not None):
            refuse(
                "decimal and symbol are only allowed for numbers", got=f"type = {self.type}", fix='set type = "number"'
            )
        if self.symbol is not None and (self.symbol != self.symbol.strip() or re.search(r"[0-9+\-.,()]", self.symbol)):
            refuse("invalid symbol", expected="a unit such as $, % or EUR", got=repr(self.symbol))
        if self.bins is not None and self.edges is not None:
            refuse("bins and edges are mutually exclusive", fix="remove one of the two")
        if self.bins == 1:
            refuse("a single bin is useless", expected="2 bins or more, or 0 to choose the number from the data", got=1)
        if self.edges is not None and (
            not self.edges
            or not all(map(math.isfinite, self.edges))
            or any(a >= b for a, b in zip(self.edges, self.edges[1:], strict=False))
        ):
            refuse("edges must be one or more finite, strictly increasing numbers", got=list(self.edges))
        indexed = self.type in ("category", "bag", "cross")
        if not indexed and (self.buckets is not None or self.max_features is not None or self.min_count > 1):
            refuse("min_count, max_features and buckets are only allowed for categories, bags and crosses")
        if self.buckets is not None and (self.max_features is not None or self.min_count > 1):
            refuse("a field with buckets has no vocabulary", fix="remove min_count and max_features, or buckets")
        if self.weighted and self.type != "bag":
            refuse("weighted is only allowed for bags", got=f"type = {self.type}")
        if self.brackets and self.type != "bag":
            refuse("brackets is only allowed for bags", got=f"type = {self.type}", fix='set type = "bag"')
        if self.type != "bag" and (self.max_length is not None or self.weights is not None):
            refuse("max_length and weights are only allowed for bags", got=f"type = {self.type}")
        if self.weight_scale != "none" and not self.weighted and self.weights is None:
            refuse("weight_scale requires weights", got=f"weight_scale = {self.weight_scale}", fix="remove it")
        if self.norm != "none" and self.type != "bag":
            refuse("norm is only allowed for bags", got=f"type = {self.type}", fix="remove norm")
        if self.serve_as is not None and self.type == "cross":
            refuse("a cross has no column", got=f"serve_as = {self.serve_as!r}", fix="set serve_as of its parts")
        if self.weighted and self.weights is not None:
            refuse("weighted and weights are mutually exclusive", fix="remove weighted, or weights")
        if self.weighted and ":" in self.separator:
            refuse(
                "the separator must not contain the colon that precedes weights", got=f"separator = {self.separator}"
            )
        if self.custom and self.type not in ("category", "bag"):
            refuse("a type of your own must be read as a category or bag", got=f"type = {self.type}")
        if self.custom and (self.weighted or self.brackets or self.weights is not None):
            refuse("a type of your own has no weights and no brackets", got=f"type = {self.custom.name}")
        if self.type == "cross" and self.column:
            refuse("column is not allowed for a cross", got=f"column = {self.column}", fix="remove column")
        self._check_default(refuse)
        self._check_time(refuse)

    def _check_default(self, refuse: Callable[..., None]) -> None:
        if self.default is None:
            return
        if not self.numeric and self.type not in ("category", "bag"):
            refuse("a default is only allowed for categories, bags, numbers and ages", got=f"type = {self.type}")
        is_number = isinstance(self.default, int | float) and not isinstance(self.default, bool)
        if self.numeric and not is_number:
            refuse("the default of a number must be a number", got=repr(self.default))
        if (is_number and not math.isfinite(float(self.default))) or self.default in ("", "nan", "NaN"):
            refuse(
                "the default must be a valid value",
                got=repr(self.default),
                fix="remove it; missing is then a feature of its own",
            )

    def _check_time(self, refuse: Callable[..., None]) -> None:
        of_time = {key: getattr(self, key) for key in ("part", "since", "unit", "format", "timezone")}
        if self.type != "time":
            if any(value is not None for value in of_time.values()):
                stated = ", ".join(key for key, value in of_time.items() if value is not None)
                refuse(f"only allowed for times: {stated}", got=f"type = {self.type}", fix='set type = "time"')
            return
        if self.part is None:
            refuse("a time requires a part", expected="part = " + " | ".join(get_args(TimePart)))
        if (self.part == "age") != (self.since is not None):
            refuse('part = "age" requires since, and vice versa', expected='part = "age" with since = COLUMN')
        if self.part == "age" and self.timezone is not None:
            refuse("an age does not depend on the time zone", fix="remove timezone")
        if self.unit is not None and self.format is not None:
            refuse("unit and format are mutually exclusive", fix="remove one of the two")
        if self.format is not None:
            has = set(re.findall("%(.)", self.format.replace("%B", "%b")))
            known = re.fullmatch("(%[YymbBdaAHIpMSfz]|[^%])+", self.format) and ("I" in has) == ("p" in has)
            if not known or not (has & {"H", "I"} if self.part == "hour" else has & {"m", "b"} and "d" in has):
                refuse(
                    "invalid time format",
                    expected="%Y or %y, %m or %b, %d, %H or %I with %p, %M, %S, %f, %z, separated by other characters, "
                    "e.g. %Y-%m-%d %H:%M",
                    got=self.format,
                )
        if self.timezone is not None and not _is_timezone(self.timezone):
            refuse(
                "unknown time zone",
                expected="a name such as Europe/Rome, or +05:30",
                got=self.timezone,
                fix="check the name; if the system has no time zone database, install the package tzdata",
            )


def _is_timezone(name: str) -> bool:
    if re.fullmatch(r"[+-]([01][0-9]|2[0-3]):[0-5][0-9]", name):
        return True
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; no path of the database; a folder of it
        return False
    return True


def _is_number(value: Default) -> bool:
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False


class Label(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of several labels, each of two classes, that one model learns together (docs/labels.md).

    Attributes
    ----------
    label
        The column. An empty cell is an example that says nothing of this label.
    among
        The label, of those before this one, among whose positive examples this one is counted, as a conversion is among
        clicks: ``p(conversion) = p(click) p(conversion | click)`` (Ma et al., Entire Space Multi-Task Model, SIGIR
        2018). None: it is counted among all examples.
    weight
        Of its logloss in the sum that is learned from, > 0.
    classes
        The texts of negative and positive; empty until the encoder is fitted.
    positive
        The positive class; after fitting, the second of `classes`.
    """

    label: str
    among: str | None = None
    weight: Annotated[float, Meta(gt=0)] = 1.0
    classes: tuple[str, ...] = ()
    positive: str | None = None


MAX_LABELS = 4
"""What an example says of all of them together is then one byte of a prepared log."""


def check_labels(labels: Sequence[tuple[str, str | None]]) -> None:
    """Refuse labels, each with the one among whose positive examples it is counted, that cannot be learned together.

    Raises
    ------
    ConfigError
        What is wrong with ``data.labels``, and what would be right.
    """
    columns = [column for column, _ in labels]
    if len(set(columns)) < len(columns) or len(columns) == 1 or len(columns) > MAX_LABELS:
        raise ConfigError(
            "labels that are learned together must be distinct columns",
            where="data.labels",
            expected=f"2 to {MAX_LABELS} of them",
            got=", ".join(columns),
            fix=f'data.label = "{columns[0]}" is for one label' if len(set(columns)) == 1 else None,
        )
    for number, (column, among) in enumerate(labels):
        if among is not None and among not in columns[:number]:
            raise ConfigError(
                "a label is counted among the positive examples of one before it",
                where=f"data.labels, {column}",
                expected=f"among = {' or '.join(columns[:number]) or 'nothing, for the first label'}",
                got=among,
                fix=did_you_mean(among, columns[:number]),
            )


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
