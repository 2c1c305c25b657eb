"""The one configuration file: TOML in, frozen dataclasses out, every mistake named with its place and a suggestion.

::

    [data]                        # what the log is, and where
    train = ["clicks/*.parquet"]
    label = "click"
    [fields.user_id]              # what its columns mean; columns not named are inferred
    min_count = 2
    [model]                       # models.config.ModelConfig
    [train]                       # training.config.TrainConfig
    [pretrain]                    # the logistic regression that comes first
    [gate]                        # training.update_config.GateConfig: when a daily update is not published
    [guards]                      # training.update_config.GuardsConfig: which days are not learned from

Relative paths are relative to the file.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from fieldwise.data.csv_dialect import CsvOptions
from fieldwise.errors import ConfigError, did_you_mean
from fieldwise.features.field_types import custom_type
from fieldwise.metrics.own import stop_metrics
from fieldwise.models.config import ModelConfig
from fieldwise.models.former import refuse_former
from fieldwise.models.registry import refuse_unknown
from fieldwise.schema import Decimal, Default, Norm, Scale, TimePart, TimeUnit, WeightScale
from fieldwise.training.config import PretrainConfig, Seed, TrainConfig
from fieldwise.training.update_config import GateConfig, GuardsConfig

__all__ = ["Config", "DataConfig", "FieldConfig", "config_of", "load_config", "parse_config"]

_Share = Annotated[float, Meta(gt=0, lt=1)]
_MAX_CHARACTERS = 1 << 23
_MAX_KEY_PARTS = 100


class DataConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    r"""The ``[data]`` table: the log, its parts and its columns that are no fields.

    Attributes
    ----------
    train
        Files, globs or folders; folders named ``key=value`` are columns (`data.partitions`). May be left out where rows
        are given in memory: ``fieldwise.train(config, out, data=table)``.
    valid
        A share of the training rows (0 to 1, exclusive), or files. Left out with `split`.
    test
        As `valid`; may be left out.
    split
        The column that says ``train``, ``valid`` or ``test`` for each row.
    time
        The column by which `valid` and `test`, as shares, are cut: the last rows in its order are for testing, those
        before them for validation, none at random (`data.split_by_time`). A column of times is two fields, hour and
        weekday, unless it is excluded; any other is none. Its `unit` and `format` are those of ``[fields.NAME]``.
    label, weight, group, id
        See `schema.Schema`. The column of `group` is a field, too, unless it is excluded.
    classes
        The values of the label, two or more, in the model's order; any other is a rejected row. Those that the training
        rows hold unless given. See `features.classes` for the spellings that mean one class.
    positive
        The one of two classes that the probability is of. Needed where it is not evident: 1 of 0 and 1, ``true``,
        ``yes``, ``clicked`` of ``clicked`` and ``not clicked``, the greater of two numbers. Of `classes` it is the
        second unless given.
    missing
        Texts that mean missing in every column, in place of the usual ones: ``NULL`` and ``\N``, and in columns that
        are otherwise numbers or times, and in the label, also ``NA``, ``N/A``, ``None``, ``nan`` and their like; of
        numbers and times ``-`` too (`features.missing`). The empty cell always does. ``[fields.NAME] missing`` is for
        one field.
    exclude
        Columns that are no fields.
    crosses
        Pairs and triples of fields to combine: ``auto`` looks for those that say more than their fields
        (`profile.crosses`), ``none`` does not, or a list, as in ``[["user_id", "item_id"]]``. Values that occur once
        train the unseen one, and the linear parts of models alone read them. ``[fields.NAME] cross = [...]`` makes one
        with other settings.
    format
        ``csv``, ``tsv``, ``parquet``, ``libsvm`` or ``libffm``, where the file names do not tell.
    csv
        See `data.csv_dialect.CsvOptions`.
    cache
        The folder for the encoded log; ``.fieldwise`` beside the configuration file unless given.
    seed
        Of the split by share; 0 to 2,147,483,647.
    memory
        What `prepare` may take, as in ``2GB``; half of what is free unless given.
    max_rejects
        Stop where more rows cannot be used: a number of rows, or a share below 1.
    """

    train: str | tuple[str, ...] = ()
    label: str
    classes: tuple[Default, ...] = ()
    positive: Default | None = None
    valid: _Share | str | tuple[str, ...] | None = None
    test: _Share | str | tuple[str, ...] | None = None
    split: str | None = None
    time: str | None = None
    weight: str | None = None
    group: str | None = None
    id: str | None = None
    missing: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    crosses: Literal["auto", "none"] | tuple[tuple[str, ...], ...] = "none"
    format: str | None = None
    csv: CsvOptions = CsvOptions()
    cache: str | None = None
    seed: Seed = 0
    memory: str | None = None
    max_rejects: Annotated[float, Meta(ge=0)] | None = None


class FieldConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[fields.NAME]`` table: what `schema.Field` says, with what is left out inferred.

    `cross` names the fields that a cross combines; `exclude` leaves the column out.
    """

    type: str | None = None
    column: str | None = None
    default: Default | None = None
    missing: tuple[str, ...] | None = None
    min_count: Annotated[int, Meta(ge=1)] | None = None
    max_features: Annotated[int, Meta(ge=1)] | None = None
    buckets: Annotated[int, Meta(ge=1)] | None = None
    decimal: Decimal | None = None
    symbol: str | None = None
    bins: Annotated[int, Meta(ge=0)] | None = None
    edges: tuple[float, ...] | None = None
    scale: Scale | None = None
    separator: str | None = None
    brackets: bool | None = None
    weighted: bool | None = None
    weights: str | None = None
    weight_scale: WeightScale | None = None
    norm: Norm | None = None
    max_length: Annotated[int, Meta(ge=1)] | None = None
    part: TimePart | None = None
    since: str | None = None
    unit: TimeUnit | None = None
    format: str | None = None
    timezone: str | None = None
    cross: tuple[str, ...] | None = None
    linear: bool | None = None
    serve_as: Default | None = None
    exclude: bool = False


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole configuration; `base` is the folder that relative paths are relative to."""

    data: DataConfig
    fields: dict[str, FieldConfig] = {}
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    pretrain: PretrainConfig = PretrainConfig()
    gate: GateConfig = GateConfig()
    guards: GuardsConfig = GuardsConfig()
    base: str = "."

    @property
    def weighted(self) -> bool:
        """Whether training examples have weights."""
        return self.data.weight is not None or self.train.half_life is not None

    def paths(self, which: str) -> tuple[str, ...]:
        """Return the files of ``train``, ``valid`` or ``test``, made absolute; none where it is a share or left out."""
        value = getattr(self.data, which)
        if value is None or isinstance(value, float):
            return ()
        listed = (value,) if isinstance(value, str) else value
        return tuple(path if "://" in path else str(Path(self.base) / path) for path in listed)


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration file.

    Parameters
    ----------
    path
        A TOML file.
    overrides
        ``section.key=value`` each, the value in TOML or else plain text: ``train.epochs=3``, ``model.kind=lr``,
        ``fields.price.usd.bins=5``, ``fields."price.usd".bins=5``.

    Raises
    ------
    ConfigError
        With the file, the key, what was expected and the nearest known key.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ConfigError("the configuration cannot be read", where=path, got=error.strerror or error) from None
    except UnicodeDecodeError:
        raise ConfigError(
            "the configuration is not a text file",
            where=path,
            expected="TOML in UTF-8",
            fix="name the .toml file, not the log",
        ) from None
    return parse_config(text, where=str(path), base=path.parent.resolve(), overrides=overrides)


def parse_config(
    text: str, *, where: str = "configuration", base: str | Path = ".", overrides: Sequence[str] = ()
) -> Config:
    """Read a configuration from TOML text.

    Examples
    --------
    >>> config = parse_config('data = { train = "log.csv", label = "click" }', overrides=["train.epochs=3"])
    >>> config.train.epochs, config.model.kind
    (3, 'auto')
    """
    if len(text) > _MAX_CHARACTERS:
        raise ConfigError(
            "the configuration is too long", where=where, expected=f"at most {_MAX_CHARACTERS:,} characters"
        )
    if _deepest_key(text) > _MAX_KEY_PARTS:
        raise ConfigError("a key has too many parts", where=where, expected=f"at most {_MAX_KEY_PARTS}, as in a.b.c")
    try:
        tree = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # of numbers with thousands of digits tomllib lets Python's own out
        raise ConfigError("the configuration is not valid TOML", where=where, got=error) from None
    for override in overrides:
        _apply(tree, override)
    config = config_of(tree, where=where, base=base)
    if not config.data.train:
        raise _explain("Object missing required field `train` - at `$.data`", tree, where)
    return config


def config_of(tree: Mapping[str, Any], *, where: str = "configuration", base: str | Path = ".") -> Config:
    """Return the configuration that nested tables mean, as `tomllib` reads them; ``data.train`` may be left out.

    Examples
    --------
    >>> config_of({"data": {"label": "click"}, "train": {"epochs": 3}}).train.epochs
    3
    """
    tree = {section: settings for section, settings in tree.items() if section != "base"}
    refuse_former(tree, where)
    try:
        config = msgspec.convert({**tree, "base": str(base)}, Config, strict=True)
    except msgspec.ValidationError as error:
        raise _explain(str(error), tree, where) from None
    _check(config, where)
    return config


def _deepest_key(text: str) -> int:
    """Return an upper bound of the parts of a dotted key: tomllib takes time and memory with the square of them."""
    bare = re.sub(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*', "x", text)
    return 1 + max((run.count(".") for run in re.split(r"[^\w\-. \t]", bare)), default=0)


def _apply(tree: dict[str, Any], override: str) -> None:
    """Set one ``section.key=value`` in the tree."""
    keys, equals, value = _split_override(override)
    if not equals or not all(keys) or len(keys) < 2:
        raise ConfigError("invalid override", where="--set", expected="section.key=value", got=override)
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        parsed = value.strip()
    table = tree
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise ConfigError("the override names a key inside a value", where="--set", got=override)
    table[keys[-1]] = parsed


_QUOTED_KEY = r"""\s*(?:"(?:[^"\\]|\\.)*"|'[^']*')\s*"""


def _split_override(override: str) -> tuple[list[str], str, str]:
    """Return the keys of an override, whether there is an equals sign, and the value.

    What stands between ``fields.`` and a key of a field is the name of a column, whatever it holds.

    Examples
    --------
    >>> _split_override("train.epochs=3")
    (['train', 'epochs'], '=', '3')
    >>> _split_override("fields.price.usd.bins=5"), _split_override('fields."x,y".separator="="')
    ((['fields', 'price.usd', 'bins'], '=', '5'), (['fields', 'x,y', 'separator'], '=', '"="'))
    """
    known = "|".join(field.name for field in msgspec.structs.fields(FieldConfig))
    found = re.match(rf"(?s)\s*fields\.(?P<name>{_QUOTED_KEY}|.+?)\.\s*(?P<key>{known})\s*=(?P<value>.*)$", override)
    # A key that is not known has to be named as such, and not a part of the column's name.
    found = found or re.match(r"(?s)\s*fields\.(?P<name>[^=]+)\.(?P<key>[^.=]+)=(?P<value>.*)$", override)
    if found is None:
        name, equals, value = override.partition("=")
        return name.strip().split("."), equals, value
    name = found["name"]
    if re.fullmatch(_QUOTED_KEY, name):
        with suppress(ValueError):
            [name] = tomllib.loads(f"{name} = 0")
    return ["fields", name, found["key"].strip()], "=", found["value"]


def _explain(message: str, tree: Mapping[str, Any], where: str) -> ConfigError:
    """Turn msgspec's message into ours, with the key's place and the nearest known key."""
    place = re.search(r" - at `\$\.?(.*)`$", message)
    key = place.group(1) if place else ""
    what = message[: place.start()] if place else message
    # msgspec says `fields[...]` for any value of a mapping: find the one that it means.
    if key.startswith("fields[...]"):
        key = key.replace("fields[...]", f"fields.{_guilty_field(tree)}", 1)
    location = f"{where}, [{key}]" if key else where
    unknown = re.search(r"unknown field `(.+)`", what)
    if unknown:
        known = _known_keys(key)
        return ConfigError(
            f"unknown key: {unknown.group(1)}", where=location, fix=did_you_mean(unknown.group(1), known)
        )
    missing = re.search(r"missing required field `(.+)`", what)
    if missing:
        return ConfigError(f"a required key is missing: {missing.group(1)}", where=location)
    return ConfigError("invalid value", where=location, expected=what.removeprefix("Expected "))


def _guilty_field(tree: Mapping[str, Any]) -> str:
    fields = tree.get("fields")
    for name, value in fields.items() if isinstance(fields, dict) else ():
        try:
            msgspec.convert(value, FieldConfig, strict=True)
        except msgspec.ValidationError:
            return str(name)
    return "..."


def _known_keys(key: str) -> list[str]:
    """Return the keys of the table at `key`, as in ``train.table``; none where there is no such table."""
    kind: Any = Config
    names_of_tables = ["fields", key.removeprefix("fields.")] if key.startswith("fields.") else key.split(".")
    for name in names_of_tables if key else ():
        inner = {field.name: field.type for field in msgspec.structs.fields(kind)} if _is_table(kind) else {}
        kind = FieldConfig if kind == dict[str, FieldConfig] else inner.get(name)
    names = [field.name for field in msgspec.structs.fields(kind)] if _is_table(kind) else []
    return [name for name in names if (key, name) != ("", "base")]


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _check(config: Config, where: str) -> None:
    """Refuse what single values cannot show: names that nobody has registered, keys that exclude each other."""
    data = config.data
    refuse_unknown(config.model.kind, config.model.deep, f"{where}, ")
    if config.train.stop_on not in stop_metrics():
        raise ConfigError(
            "unknown metric",
            where=f"{where}, [train.stop_on]",
            got=config.train.stop_on,
            fix=did_you_mean(config.train.stop_on, stop_metrics()),
        )
    if data.split is not None and (data.valid is not None or data.test is not None):
        raise ConfigError(
            "split already says which rows are valid and test",
            where=f"{where}, [data]",
            fix="remove valid and test, or remove split",
        )
    if data.split is not None and data.time is not None:
        raise ConfigError(
            "split already says which rows are valid and test",
            where=f"{where}, [data]",
            fix="remove time, or remove split",
        )
    if data.time is not None and not isinstance(data.valid, float) and not isinstance(data.test, float):
        raise ConfigError(
            "time says where parts are cut, and no part is a share of the log",
            where=f"{where}, [data.time]",
            got=f"valid = {data.valid}, test = {data.test}",
            fix="give valid or test as a share, as in valid = 0.1, or remove time",
        )
    if config.train.half_life is not None and data.time is None:
        raise ConfigError(
            "half_life weighs examples by their age, and no column says how old they are",
            where=f"{where}, [train.half_life]",
            fix='name the column of times, as in data.time = "shown_at"',
        )
    if isinstance(data.valid, float) and isinstance(data.test, float) and data.valid + data.test >= 1:
        raise ConfigError(
            "valid and test leave nothing to train on", where=f"{where}, [data]", got=f"{data.valid} + {data.test}"
        )
    for name, field in config.fields.items():
        if field.cross is not None and field.type not in (None, "cross"):
            raise ConfigError("cross makes a field of type cross", where=f"{where}, [fields.{name}]", got=field.type)
        if field.type is not None:
            custom_type(field.type, f"{where}, [fields.{name}.type]")
