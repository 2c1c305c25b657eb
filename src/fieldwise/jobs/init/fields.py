"""Completing a schema: configured settings are kept, missing ones are inferred from a sample of the log."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import msgspec
import pyarrow as pa

from fieldwise.config import Config, FieldConfig, LabelConfig
from fieldwise.data.log_columns import near_column
from fieldwise.errors import ConfigError, DataError, did_you_mean
from fieldwise.features.columns import Columns
from fieldwise.features.field_types import custom_type
from fieldwise.features.labels import Spelling, tidy
from fieldwise.features.missing import IN_NUMBERS, IN_TEXTS
from fieldwise.features.spelling import spelled
from fieldwise.jobs.init.one_field import column_field, cross_fields, custom_field, with_limits
from fieldwise.profile.infer.evidence import label_of
from fieldwise.profile.infer.guess import by_label, guess_column
from fieldwise.profile.infer.meaning import Guess
from fieldwise.profile.infer.roles import check_role
from fieldwise.schema import Default, Field, Label, Schema

__all__ = ["Inferred", "columns_excluded", "columns_named", "complete_schema", "infer_schema", "time_field"]

_ROLES = ("label", "weight", "group", "id", "split", "time")
"""The keys of ``[data]`` that name a column."""

_NOTHING: Mapping[str, str] = MappingProxyType({})
_EXCLUDED = "excluded by the configuration"
_NAME_TAKEN = "another field has this name"
_OF_CROSSES = 2
"""Most combinations of two values are met once, and say nothing of the next example."""


class Inferred(NamedTuple):
    """A complete schema with its reasons; every column of the log is used by a field, has a role, or is left out.

    Attributes
    ----------
    schema
        The schema, validated.
    guesses
        The guesses for all columns that were inspected.
    left_out
        Columns that no field reads and that have no role in ``[data]``, with the reason.
    """

    schema: Schema
    guesses: dict[str, Guess]
    left_out: dict[str, str]


def complete_schema(config: Config, sample: pa.Table) -> Schema:
    """Return the complete schema of a log; see `infer_schema`.

    Examples
    --------
    >>> from fieldwise.config import parse_config
    >>> config = parse_config('data = { train = "log.csv", label = "click" }')
    >>> schema = complete_schema(config, pa.table({"click": ["0", "1"], "ad": ["a", "b"], "price": ["1.5", "2"]}))
    >>> [(field.name, field.type, field.bins) for field in schema.fields]
    [('ad', 'category', None), ('price', 'number', 0)]
    """
    return infer_schema(config, sample).schema


def columns_named(config: Config) -> set[str]:
    """Return the columns that a configuration refers to; some of them may be names of fields, not columns."""
    entries = {name: entry for name, entry in config.fields.items() if not entry.exclude} | _listed(config)
    named = {entry.column or name for name, entry in entries.items() if entry.cross is None}
    named |= {part for entry in entries.values() for part in entry.cross or ()}
    named |= {column for entry in entries.values() for column in (entry.since, entry.weights) if column is not None}
    return named | {column for role in _ROLES if (column := getattr(config.data, role)) is not None}


def columns_excluded(config: Config) -> set[str]:
    """Return the columns that a configuration excludes."""
    return {*config.data.exclude, *(entry.column or name for name, entry in config.fields.items() if entry.exclude)}


def infer_schema(config: Config, sample: pa.Table, absent: Mapping[str, str] = _NOTHING) -> Inferred:
    """Complete the schema of a log: by default, every useful column without a role in ``[data]`` becomes a field.

    The group column is also a field, since a user id, for instance, is informative. A column of whole numbers becomes
    two fields, COLUMN and COLUMN_bins, if the label depends both on the values and on their order. A column of points
    in time becomes COLUMN_hour and COLUMN_weekday. None of these is created if its name is taken. The weights of a bag
    are not a field.

    A ``[fields.NAME]`` table, or a cross that names the column, turns any column but the label into a field. Settings
    of the table are kept and missing ones inferred; a number without bins, edges or scale gets bins. Fields are in the
    order of the columns of the log, followed by crosses, each after its parts.

    Parameters
    ----------
    config
        Its ``[data]`` and ``[fields]`` are used.
    sample
        The first tens of thousands of rows of the training log, with all columns; those of text files as strings.
    absent
        Columns that are missing in the sample because they are missing or unreadable in some files, with the reason.
        They are left out.

    Raises
    ------
    DataError
        The log has no rows, duplicate columns, no column of a configured name, or no usable field.
    ConfigError
        The settings of a field are inconsistent.
    """
    _check_names(config, sample.column_names, absent)
    if not sample.num_rows:
        raise DataError("the log has no rows", where="[data] train", fix="use a log with examples")
    roles = _roles(config)
    for role, column in roles:
        if column is not None and column in sample.column_names:
            check_role(role, column, sample.schema.field(column).type)
    entries = {name: entry for name, entry in config.fields.items() if not entry.exclude} | _listed(config)
    crosses = {field: entry for field, entry in entries.items() if entry.cross is not None}
    parts = {part for entry in crosses.values() for part in entry.cross or ()}
    readers: dict[str, dict[str, FieldConfig]] = {name: {} for name in sample.column_names}
    for field, entry in entries.items():
        if entry.cross is None:
            readers[entry.column or field][field] = entry
    references = {column for entry in entries.values() for column in (entry.since, entry.weights)}
    of_bags = {entry.weights for entry in entries.values()}
    taken = {*config.fields, *sample.column_names}
    in_role = {column for _, column in roles}
    no_field = {column for role, column in roles if role not in ("group", "time")}
    excluded = set(config.data.exclude)
    columns = Columns(sample)
    label = label_of(columns.array(config.data.label)) if config.data.label in sample.column_names else None
    of_numbers = IN_NUMBERS if config.data.missing is None else config.data.missing
    fields: list[Field] = []
    guesses: dict[str, Guess] = {}
    left_out: dict[str, str] = {}
    for name, settings in readers.items():
        unspoken = name not in config.fields and name not in no_field | excluded | of_bags
        if settings or unspoken:
            guess = guess_column(name, columns.array(name), config.data.missing)
            guesses[name] = by_label(guess, columns.array(name), label)
        if unspoken and name == config.data.time and guesses[name].type != "time":
            continue  # a number that grows without end, and says nothing of rows to come
        if unspoken:
            settings = {**_unspoken(name, guesses[name], taken, name in parts), **settings}
        for field, entry in settings.items():
            custom = None if entry.type is None else custom_type(entry.type, f"[fields.{field}.type]")
            if custom is None:
                fields.append(column_field(field, name, entry, guesses[name], of_numbers))
            else:
                fields.append(custom_field(field, name, entry, *custom, columns, config.data.missing))
        if not settings and name not in in_role and name not in references:
            left_out[name] = _why(name, guesses[name] if unspoken else None, config.fields)
    left_out |= {name: _EXCLUDED if name in columns_excluded(config) else why for name, why in absent.items()}
    fields = [with_limits(field, config.fields, columns) for field in fields]
    fields += cross_fields(crosses, {field.name for field in fields})
    return Inferred(_checked_schema(config, fields, left_out), guesses, left_out)


def _roles(config: Config) -> list[tuple[str, str | None]]:
    """Return the keys of ``[data]`` that name a column, with the column; one for each of several labels."""
    others = [("label", column) for column in config.data.label_columns[1:]]
    return [*((role, getattr(config.data, role)) for role in _ROLES), *others]


def _listed(config: Config) -> dict[str, FieldConfig]:
    """Return the fields that ``data.crosses`` lists, but for those that have a table of their own."""
    if isinstance(config.data.crosses, str):
        return {}
    listed = {"_x_".join(parts): parts for parts in config.data.crosses}
    return {
        name: FieldConfig(cross=parts, min_count=_OF_CROSSES, linear=True)
        for name, parts in listed.items()
        if name not in config.fields
    }


def _why(column: str, guess: Guess | None, given: Mapping[str, FieldConfig]) -> str:
    """Return the reason why a column makes no field; `guess` is None if the configuration names the column."""
    if guess is not None and guess.left_out:
        return guess.reason
    names = [column] if guess is None else _names_of_times(column, guess)
    if any(name in given and not given[name].exclude for name in names) or not set(names) <= {column, *given}:
        return _NAME_TAKEN if guess is None else f"the names of its fields are taken: {', '.join(names)}"
    return _EXCLUDED


def _names_of_times(column: str, guess: Guess) -> list[str]:
    return [f"{column}_{part}" for part in guess.parts]


def _unspoken(column: str, guess: Guess, taken: set[str], in_cross: bool) -> dict[str, FieldConfig]:
    """Return the fields of a column without a table: one, none, or COLUMN_hour and COLUMN_weekday for a time."""
    if in_cross:
        return {column: FieldConfig()}
    if guess.type == "time":
        names = _names_of_times(column, guess)
        named = {name: FieldConfig(type="time", part=part) for name, part in zip(names, guess.parts, strict=True)}
        return {field: entry for field, entry in named.items() if field not in taken}
    if guess.is_both and f"{column}_bins" not in taken:
        return {column: FieldConfig(type="category"), f"{column}_bins": FieldConfig(type="number")}
    return {} if guess.left_out else {column: FieldConfig()}


def _check_names(config: Config, names: list[str], absent: Mapping[str, str]) -> None:
    """Raise if the log lacks a configured column, has duplicate columns, or a column is both excluded and a field."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError("duplicate column names", got=", ".join(twice), fix="rename one of them")
    asked: list[tuple[str, str | None]] = [(f"[data] {role}", column) for role, column in _roles(config)]
    asked += [("[data] exclude", name) for name in config.data.exclude]
    for name, entry in config.fields.items():
        of_time = entry.exclude and re.sub("_(hour|weekday)$", "", name) in names  # that column's field is not wanted
        if entry.cross is None and not (of_time and entry.column is None):
            asked.append((f"[fields.{name}]", entry.column or name))
        asked += [(f"[fields.{name}] {key}", getattr(entry, key)) for key in ("since", "weights")]
        if name in config.data.exclude and not entry.exclude and entry.column in (None, name):
            raise ConfigError(
                "a column is both excluded and a field", where=f"[fields.{name}]", fix="remove it from [data] exclude"
            )
    excluded = columns_excluded(config)
    for where, column in asked:
        if column is not None and column not in names and not (column in absent and column in excluded):
            raise DataError("the log has no such column", where=where, got=column, fix=near_column(column, names))


def time_field(config: Config) -> Field | None:
    """Return the column of ``data.time`` and how its times are written: as the configuration says of a field of it,
    else as usual; None where there is no such column.
    """
    column = config.data.time
    if column is None:
        return None
    of_column = [field for name, field in config.fields.items() if (field.column or name) == column]
    stated = next((field for field in of_column if field.format or field.unit), next(iter(of_column), FieldConfig()))
    missing = next((texts for texts in (stated.missing, config.data.missing) if texts is not None), IN_NUMBERS)
    return Field(
        name=column, type="time", column=column, part="hour", unit=stated.unit, format=stated.format, missing=missing
    )


def _checked_schema(config: Config, fields: list[Field], left_out: dict[str, str]) -> Schema:
    if not fields:
        raise DataError(
            "no column of the log can be used as a field",
            got="; ".join(f"{name}: {reason}" for name, reason in list(left_out.items())[:5]) or "only the label",
            fix="to use a column anyway, add [fields.NAME]",
        )
    missing = IN_TEXTS if config.data.missing is None else config.data.missing
    roles = {role: getattr(config.data, role) for role in _ROLES} | {"time": time_field(config)}
    schema = Schema(
        fields=tuple(fields), classes=_texts(config.data.classes), missing=missing, labels=_labels(config), **roles
    )
    if config.data.positive is not None:
        schema = _with_positive(schema, *_texts([config.data.positive]))
    schema.check()
    return schema


def _labels(config: Config) -> tuple[Label, ...]:
    """Return the labels that are learned together; none where there is one."""
    found = []
    for each in config.data.labels:
        given = LabelConfig(label=each) if isinstance(each, str) else each
        [positive] = [None] if given.positive is None else _texts([given.positive])
        found.append(Label(label=given.label, among=given.among, weight=given.weight, positive=positive))
    return tuple(found)


def _texts(labels: Iterable[Default]) -> tuple[str, ...]:
    """Return the canonical texts of labels as the configuration names them."""
    return tuple(spelled(pa.array([tidy(str(label)) for label in labels], pa.string())).to_pylist())


def _with_positive(schema: Schema, positive: str | None) -> Schema:
    """Set the positive class, and make it the second class if the classes are configured."""
    if positive is None:
        raise ConfigError(
            "the positive class must be a value of the label", where="data.positive", got="a missing value"
        )
    classes = schema.classes
    place = Spelling(classes).place(positive)
    if classes and place < 0:
        raise ConfigError(
            "the positive class is not among the classes",
            where="data.positive",
            expected=f"one of {', '.join(classes)}",
            got=positive,
            fix=did_you_mean(positive, classes),
        )
    if len(classes) == 2:
        positive = classes[place]
        classes = (classes[1 - place], positive)
    return msgspec.structs.replace(schema, classes=classes, positive=positive)
