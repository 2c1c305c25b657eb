"""What a log means: its fields, their types, its label and its other columns.

A `Schema` is complete: nothing in it is left to be guessed. It is written from the configuration file (`config`), with
what the file leaves out inferred from the log, and travels inside the cache and the bundle, so that training,
evaluation and serving read a raw row in the same way.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from fieldwise.errors import ConfigError, did_you_mean

__all__ = ["Decimal", "Default", "Field", "FieldType", "Scale", "Schema", "TimePart", "TimeUnit", "WeightScale"]

FieldType = Literal["category", "number", "bag", "time", "cross"]
Scale = Literal["standard", "log", "sqrt", "none"]
WeightScale = Literal["log", "none"]
Norm = Literal["none", "sqrt", "mean"]
Decimal = Literal[".", ","]
TimePart = Literal["hour", "weekday", "day", "month", "age"]
TimeUnit = Literal["s", "ms", "us", "ns"]
Default = str | bool | int | float
_Count = Annotated[int, Meta(ge=1)]


class Field(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One field: a column of the log, or a cross of fields.

    Attributes
    ----------
    name
        Unique in the schema; the column's name unless `column` says otherwise.
    type
        ``category``: one feature per value. ``number``: the value itself is the input of the field's one feature, or,
        with `bins` or `edges`, one feature per bin. ``bag``: several features in one cell. ``time``: a `part` of a
        point in time. ``cross``: one feature per combination of the values of the fields in `parts`.
    column
        The column it reads; None for a cross.
    default
        What missing cells are read as, in training and afterwards alike: a value of a category; the one value of a bag
        that holds none, with weight 1; a number. What cannot be read is no more accepted than without. Missing is a
        feature of its own unless given.
    missing
        Texts that mean missing, beside null, NaN and the empty cell (`features.missing`): in categories and bags as
        they are written, in numbers and times without regard to case and spaces; also numbers, as in ``-999``.
    min_count
        Values seen less often in training share the field's *unseen* feature (category, bag, cross; >= 1).
    max_features
        Keep at most this many values, the most frequent ones.
    buckets
        Hash values into this many features in place of a vocabulary; 1 to 2^32 - 3.
    decimal
        How numbers in text are written: ``.`` where it stands before the fraction and commas, spaces or apostrophes may
        separate thousands, ``1,234.50``; ``,`` where it stands before the fraction and points, spaces or apostrophes
        may separate thousands, ``1.234,50`` (`features.numerals`). Unless given, 1234.50 alone.
    symbol
        What stands before or after every number and is no part of it: ``$``, ``%``, ``EUR``. A number without it is
        none.
    bins
        Number of quantile bins of a number, 2 to 65,534; 0: as many as its values and their number ask for
        (`features.sketch.Distribution.suitable_bins`). Edges are exact up to 65,536 distinct values. Beyond, each is
        known to one part in 65,536 / p where the values span p powers of two (1 in 4,096 for 16): `features.sketch`.
    edges
        Inner edges of a number's bins, strictly increasing: bin i holds edges[i-1] <= x < edges[i].
    scale
        How a number enters when it has no bins: ``standard`` (minus mean, over standard deviation), ``log``
        (sign(x) log(1 + abs(x)), then standard), ``sqrt`` (sign(x) sqrt(abs(x)), then standard) or ``none``.
    separator
        What stands between the values of a bag in a text cell.
    brackets
        The cells are lists as text, ``["a", "b"]``, ``['a', 'b']``, ``[8, 32]`` or ``{a,b}``: the brackets, the quotes
        and the spaces around values do not belong to these; the separator is mostly a comma (`features.lists`).
    weighted
        The values of a bag carry weights, as in ``a:0.5|b:1``.
    weights
        The column with the weights of a bag's values, written as they are: lists as long, or text with the same
        separator.
    weight_scale
        How the weights of a bag enter: ``none``, as they are, or ``log``: those of at most 1 as they are, larger ones
        as sign(w) (1 + log(abs(w))). Weights in the thousands, as quantities in libsvm are, let training diverge.
    norm
        What the weights of the values in a cell of a bag, 1 where none are given, are divided by: ``sqrt``, the root of
        their number, or of the sum of their squares where weights are given; ``mean``, their number, or the sum of
        their sizes; ``none``. A cell of 40 values then moves a logit no 40 times as far as a cell of one.
    max_length
        Keep at most this many values of a cell of a bag, the first ones, in training and afterwards alike; empty and
        missing values do not count.
    part
        What a time tells: ``hour`` (24 features), ``weekday`` (7), ``day`` of the month (31) or ``month`` (12); or
        ``age``, a number: the days from the time in `since` to the one in `column`, with bins or a scale as any number.
    since
        The column that an age is counted from.
    unit
        Of times written as numbers: ``s``, ``ms``, ``us`` or ``ns`` since 1970; by their size unless given
        (`features.times`).
    format
        How times are written, where neither ISO 8601 nor numbers since 1970: ``%y%m%d%H``, ``%m/%d/%Y %I:%M %p``,
        ``%d/%b/%Y:%H:%M:%S %z``. The directives are %Y, %y, %m, %b, %d, %a, %H, %I, %p, %M, %S, %f and %z
        (`kernels.times.parse_times`).
    timezone
        Whose clock and calendar tell the hour, weekday, day or month: ``Europe/Rome``, ``+05:30``; UTC unless given.
        Times written without a zone are in UTC.
    parts
        The fields that a cross combines, two or more.
    linear
        Whether linear parts of models alone read the field: logistic regression, the wide part, the skip. Networks have
        no part in it, which would overfit what has many rare features, as crosses do.
    """

    name: str
    type: FieldType = "category"
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

    @property
    def numeric(self) -> bool:
        """Whether its cells are numbers: a number, or the age of a time."""
        return self.type == "number" or (self.type == "time" and self.part == "age")

    @property
    def discretised(self) -> bool:
        """Whether this is a number whose bins are features."""
        return self.numeric and (self.bins is not None or self.edges is not None)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return tuple(name for name in (self.column, self.weights, self.since) if name is not None)

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
        if not self.numeric and (self.bins is not None or self.edges is not None):
            refuse("bins and edges belong to numbers and ages", got=f"type = {self.type}", fix='set type = "number"')
        if self.type != "number" and (self.decimal is not None or self.symbol is not None):
            refuse("decimal and symbol belong to numbers", got=f"type = {self.type}", fix='set type = "number"')
        if self.symbol is not None and (self.symbol != self.symbol.strip() or re.search(r"[0-9+\-.,()]", self.symbol)):
            refuse("a symbol is no part of a number", expected="as in $, % or EUR", got=repr(self.symbol))
        if self.bins is not None and self.edges is not None:
            refuse("bins and edges exclude each other", fix="keep one of the two")
        if self.bins == 1:
            refuse("one bin holds every number", expected="2 bins or more, or 0: as many as the values ask for", got=1)
        if self.edges is not None and (
            not self.edges
            or not all(map(math.isfinite, self.edges))
            or any(a >= b for a, b in zip(self.edges, self.edges[1:], strict=False))
        ):
            refuse("edges must be finite and strictly increasing, one or more", got=list(self.edges))
        indexed = self.type in ("category", "bag", "cross")
        if not indexed and (self.buckets is not None or self.max_features is not None or self.min_count > 1):
            refuse("min_count, max_features and buckets belong to categories, bags and crosses")
        if self.buckets is not None and (self.max_features is not None or self.min_count > 1):
            refuse("a hashed field has no vocabulary", fix="remove min_count and max_features, or buckets")
        if self.weighted and self.type != "bag":
            refuse("only the values of a bag carry weights", got=f"type = {self.type}")
        if self.brackets and self.type != "bag":
            refuse("only the cells of a bag are lists", got=f"type = {self.type}", fix='set type = "bag"')
        if self.type != "bag" and (self.max_length is not None or self.weights is not None):
            refuse("only a bag has a max_length or weights", got=f"type = {self.type}")
        if self.weight_scale != "none" and not self.weighted and self.weights is None:
            refuse("the field has no weights to scale", got=f"weight_scale = {self.weight_scale}", fix="remove it")
        if self.norm != "none" and self.type != "bag":
            refuse("only a bag has a norm", got=f"type = {self.type}", fix="remove norm")
        if self.weighted and self.weights is not None:
            refuse("weights stand beside their values or in a column of their own", fix="remove weighted, or weights")
        if self.weighted and ":" in self.separator:
            refuse(
                "the colon stands before a weight and cannot separate values too", got=f"separator = {self.separator}"
            )
        if self.type == "cross" and self.column:
            refuse("a cross reads no column", got=f"column = {self.column}", fix="remove column")
        self._check_default(refuse)
        self._check_time(refuse)

    def _check_default(self, refuse: Callable[..., None]) -> None:
        if self.default is None:
            return
        if not self.numeric and self.type not in ("category", "bag"):
            refuse("a default belongs to categories, bags, numbers and ages", got=f"type = {self.type}")
        is_number = isinstance(self.default, int | float) and not isinstance(self.default, bool)
        if self.numeric and not is_number:
            refuse("the default of a number must be one", got=repr(self.default))
        if (is_number and not math.isfinite(float(self.default))) or self.default in ("", "nan", "NaN"):
            refuse("the default must be a value", got=repr(self.default), fix="remove default: missing is a feature")

    def _check_time(self, refuse: Callable[..., None]) -> None:
        of_time = {key: getattr(self, key) for key in ("part", "since", "unit", "format", "timezone")}
        if self.type != "time":
            if any(value is not None for value in of_time.values()):
                stated = ", ".join(key for key, value in of_time.items() if value is not None)
                refuse(f"only times have this: {stated}", got=f"type = {self.type}", fix='set type = "time"')
            return
        if self.part is None:
            refuse("a time needs a part", expected="part = " + " | ".join(get_args(TimePart)))
        if (self.part == "age") != (self.since is not None):
            refuse("an age, and only an age, counts since another time", expected='part = "age" with since = COLUMN')
        if self.part == "age" and self.timezone is not None:
            refuse("an age does not depend on the time zone", fix="remove timezone")
        if self.unit is not None and self.format is not None:
            refuse("unit and format exclude each other", fix="keep one of the two")
        if self.format is not None:
            has = set(re.findall("%(.)", self.format.replace("%B", "%b")))
            known = re.fullmatch("(%[YymbBdaAHIpMSfz]|[^%])+", self.format) and ("I" in has) == ("p" in has)
            if not known or not (has & {"H", "I"} if self.part == "hour" else has & {"m", "b"} and "d" in has):
                refuse(
                    "the format of times is not understood",
                    expected="%Y or %y, %m or %b, %d, %H or %I with %p, %M, %S, %f, %z, and characters between them, "
                    "as in %Y-%m-%d %H:%M",
                    got=self.format,
                )
        if self.timezone is not None and not _is_timezone(self.timezone):
            refuse(
                "this is no time zone",
                expected="a name such as Europe/Rome, or +05:30",
                got=self.timezone,
                fix="correct the name; where the system has no database of time zones, install the package tzdata",
            )


def _is_timezone(name: str) -> bool:
    if re.fullmatch(r"[+-]([01][0-9]|2[0-3]):[0-5][0-9]", name):
        return True
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; no path of the database; a folder of it
        return False
    return True


class Schema(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every column that the library reads, and what it means.

    Attributes
    ----------
    fields
        In the order of the model's input; crosses after the fields they combine.
    label
        The column with the class of an example.
    classes
        The canonical texts of the classes, in order; where they are not stated, empty until the encoder is fitted.
    positive
        The one of two classes that a probability is of; once the encoder is fitted, the second of `classes`.
    weight, group, id, split
        Columns with the example's weight, its group for GAUC, its identifier carried into predictions, and its part of
        the data (``train``, ``valid`` or ``test``).
    missing
        Texts that mean missing in label, weight and group; see `Field`.
    """

    fields: tuple[Field, ...]
    label: str
    classes: tuple[str, ...] = ()
    positive: str | None = None
    weight: str | None = None
    group: str | None = None
    id: str | None = None
    split: str | None = None
    missing: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise ConfigError where fields contradict each other or the label leaks into them."""
        names = [field.name for field in self.fields]
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise ConfigError("two fields have one name", where="[fields]", got=", ".join(twice))
        if self.classes and (len(set(self.classes)) < max(len(self.classes), 2) or not all(self.classes)):
            raise ConfigError(
                "classes are two or more values of the label, each once",
                where="data.classes",
                got=["" if text is None else text for text in self.classes],
                fix="an empty cell is no class: where it means one, as no click, write 0 into it"
                if not all(self.classes)
                else None,
            )
        if self.positive is not None and len(self.classes) > 2:
            raise ConfigError(
                "a positive class is one of two",
                where="data.positive",
                got=f"{self.positive}; data.classes = {list(self.classes)}",
                fix="remove positive: a model of more classes gives the probability of each",
            )
        for role in ("weight", "group", "split"):
            if getattr(self, role) == self.label:
                raise ConfigError(
                    f"the label is no {role}", where=f"data.{role}", got=self.label, fix="name another column"
                )
        if self.id is not None and (self.id == "probability" or self.id.startswith("probability_")):
            raise ConfigError(
                "the identifier has the name of a column of predictions",
                where="data.id",
                got=self.id,
                fix="rename the column, or leave data.id out: then rows are numbered",
            )
        if not names:
            raise ConfigError("there is no field to learn from", where="[fields]", fix="name at least one column")
        seen: dict[str, Field] = {}
        for field in self.fields:
            field.check()
            if self.label in field.columns:
                raise ConfigError(
                    "the label cannot be a field",
                    where=f"[fields.{field.name}]",
                    got=f"column = {self.label}",
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
                if seen[part].numeric and not seen[part].discretised:
                    raise ConfigError(
                        "a number without bins cannot be crossed",
                        where=f"[fields.{field.name}]",
                        got=part,
                        fix=f"give [fields.{part}] bins or edges",
                    )
            seen[field.name] = field

    @property
    def positive_class(self) -> str | None:
        """The class that a probability is of, the second of two; None of more, and before they are known."""
        return self.classes[1] if len(self.classes) == 2 else None

    @property
    def of_label(self) -> dict[str, Any]:
        """What results say of the label: ``label``, ``classes`` and ``positive``."""
        return {"label": self.label, "classes": list(self.classes), "positive": self.positive_class}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the fields, each once, in order."""
        return tuple(dict.fromkeys(name for field in self.fields for name in field.columns))
