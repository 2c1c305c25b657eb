"""One field of a log: its type and settings, and which of them go together."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Annotated, Literal, get_args
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from fieldwise.errors import ConfigError

__all__ = [
    "LONGEST_VECTOR",
    "Bins",
    "Buckets",
    "Count",
    "CustomType",
    "Decimal",
    "Default",
    "Field",
    "FieldType",
    "Length",
    "Norm",
    "Scale",
    "Text",
    "TimePart",
    "TimeUnit",
    "WeightScale",
]

FieldType = Literal["category", "number", "bag", "time", "cross", "vector"]
Scale = Literal["standard", "log", "sqrt", "none"]
WeightScale = Literal["log", "none"]
Norm = Literal["none", "sqrt", "mean"]
Decimal = Literal[".", ","]
TimePart = Literal["hour", "weekday", "day", "month", "age"]
TimeUnit = Literal["s", "ms", "us", "ns"]
Default = str | bool | int | float
LONGEST_VECTOR = 65_534
"""Numbers of a vector, at most."""
Count = Annotated[int, Meta(ge=1)]
Buckets = Annotated[int, Meta(ge=1, le=2**32 - 3)]
Bins = Annotated[int, Meta(ge=0, le=65_534)]
Length = Annotated[int, Meta(ge=1, le=LONGEST_VECTOR)]
Text = Annotated[str, Meta(min_length=1)]


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
        ``cross``: one feature per combination of the values of the fields in `parts`. ``vector``: a list of `length`
        numbers, such as an embedding, each the scaled input of a feature of its own (`features.vectors`).
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
        (sign(x) log(1 + abs(x)), then standard), ``sqrt`` (sign(x) sqrt(abs(x)), then standard) or ``none``. Of a
        vector, ``standard`` (each of its numbers, divided by the root of the length too) or ``none``.
    length
        How many numbers a vector has, 1 to 65,534.
    separator
        Separator of the values of a bag or vector in a text cell.
    brackets
        Whether the cells of a bag or vector are lists in text form: ``["a", "b"]``, ``['a', 'b']``, ``[8, 32]`` or
        ``{a,b}``. The brackets, and quotes and spaces around values, are removed; the separator is usually a comma
        (`features.lists`).
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
    min_count: Count = 1
    max_features: Count | None = None
    buckets: Buckets | None = None
    decimal: Decimal | None = None
    symbol: Text | None = None
    bins: Bins | None = None
    edges: tuple[float, ...] | None = None
    scale: Scale = "standard"
    length: Length | None = None
    separator: Text = "|"
    brackets: bool = False
    weighted: bool = False
    weights: str | None = None
    weight_scale: WeightScale = "none"
    norm: Norm = "none"
    max_length: Count | None = None
    part: TimePart | None = None
    since: str | None = None
    unit: TimeUnit | None = None
    format: Text | None = None
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
    def has_inputs(self) -> bool:
        """Whether what a cell holds is the input of features, and not which features there are: numbers without bins,
        vectors.
        """
        return self.type == "vector" or (self.numeric and not self.discretised)

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
        if self.brackets and self.type not in ("bag", "vector"):
            refuse("brackets is only allowed for bags and vectors", got=f"type = {self.type}", fix='set type = "bag"')
        if (self.type == "vector") != (self.length is not None):
            refuse('type = "vector" requires length, and vice versa', got=f"type = {self.type}, length = {self.length}")
        if self.type == "vector" and self.scale not in ("standard", "none"):
            refuse("the scale of a vector must be standard or none", got=f"scale = {self.scale}")
        if self.type != "bag" and (self.max_length is not None or self.weights is not None):
            refuse("max_length and weights are only allowed for bags", got=f"type = {self.type}")
        if self.weight_scale != "none" and not self.weighted and self.weights is None:
            refuse("weight_scale requires weights", got=f"weight_scale = {self.weight_scale}", fix="remove it")
        if self.norm != "none" and self.type != "bag":
            refuse("norm is only allowed for bags", got=f"type = {self.type}", fix="remove norm")
        if self.serve_as is not None and self.type == "cross":
            refuse("a cross has no column", got=f"serve_as = {self.serve_as!r}", fix="set serve_as of its parts")
        if self.serve_as is not None and self.type == "vector":
            refuse("a vector has no single value", got=f"serve_as = {self.serve_as!r}", fix="remove serve_as")
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
