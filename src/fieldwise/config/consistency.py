"""What single values of a configuration cannot show: names that nobody has registered, keys that exclude each other."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from fieldwise.config.labels import label_problems
from fieldwise.config.origin import Origin
from fieldwise.config.tables import Config
from fieldwise.errors import ConfigError, did_you_mean
from fieldwise.features.field_types import custom_type
from fieldwise.metrics.own import stop_metrics
from fieldwise.models.registry import refuse_unknown

__all__ = ["contradictions", "unknown_names"]


def unknown_names(config: Config, origin: Origin) -> Iterator[ConfigError]:
    """Yield an error for each model, part, metric and field type that nobody has registered."""
    for path, kind, deep in (
        (("model", "kind"), config.model.kind, "none"),
        (("model", "deep"), "auto", config.model.deep),
    ):
        try:
            refuse_unknown(kind, deep)
        except ConfigError as error:
            yield error.at(origin.at(*path))
    metric = config.train.stop_on.partition(":")[0]
    if metric not in stop_metrics():
        yield ConfigError(
            "unknown metric",
            where=origin.at("train", "stop_on"),
            got=config.train.stop_on,
            fix=did_you_mean(metric, stop_metrics()),
        )
    for name, field in config.fields.items():
        try:
            custom_type(field.type or "category")
        except ConfigError as error:
            yield error.at(origin.at("fields", name, "type"))


def contradictions(config: Config, origin: Origin) -> Iterator[ConfigError]:
    """Yield an error for keys that exclude each other."""
    data = config.data
    yield from label_problems(config, origin)
    yield from _infinite(config, origin)
    yield from _crosses(config, origin)
    others = [name for name in ("valid", "test", "split") if getattr(data, name) is not None]
    if data.folds is not None and others:
        yield ConfigError(
            "folds already say which rows are valid and test",
            where=origin.at("data", "folds", shown="data"),
            got=", ".join(others),
            fix=f"remove {', '.join(others)}, or remove folds",
        )
    if data.fold is not None and data.fold >= (data.folds or 0):
        yield ConfigError(
            "there is no such fold",
            where=origin.at("data", "fold"),
            expected="0 to data.folds - 1",
            got=data.fold,
        )
    if data.split is not None and (data.valid is not None or data.test is not None):
        yield ConfigError(
            "split already says which rows are valid and test",
            where=origin.at("data", "split", shown="data"),
            fix="remove valid and test, or remove split",
        )
    if data.split is not None and data.time is not None:
        yield ConfigError(
            "split already says which rows are valid and test",
            where=origin.at("data", "split", shown="data"),
            fix="remove time, or remove split",
        )
    has_share = isinstance(data.valid, float) or isinstance(data.test, float)
    if data.time is not None and data.folds is None and not has_share:
        yield ConfigError(
            "time cuts valid and test from the end of the log, and neither is given as a share",
            where=origin.at("data", "time"),
            got=f"valid = {data.valid}, test = {data.test}",
            fix="give valid or test as a share, as in valid = 0.1, or folds, or remove time",
        )
    if config.train.half_life is not None and data.time is None:
        yield ConfigError(
            "half_life weighs examples by their age, and no column says how old they are",
            where=origin.at("train", "half_life"),
            fix='name the column of times, as in data.time = "shown_at"',
        )
    if isinstance(data.valid, float) and isinstance(data.test, float) and data.valid + data.test >= 1:
        yield ConfigError(
            "valid and test leave nothing to train on",
            where=origin.at("data", "valid", shown="data"),
            got=f"{data.valid} + {data.test}",
        )
    for name, field in config.fields.items():
        if field.cross is not None and field.type not in (None, "cross"):
            yield ConfigError(
                "cross makes a field of type cross",
                where=origin.at("fields", name, "type", shown=f"fields.{name}"),
                got=field.type,
            )


_NO_LIMIT = ("minutes", "checkpoint_minutes", "half_life")
"""Keys of ``[train]`` of which infinity says something: never."""


def _infinite(config: Config, origin: Origin) -> Iterator[ConfigError]:
    """Yield an error for each rate, penalty or weight that is infinite: what is computed with it is not a number."""

    def search(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        if isinstance(value, dict):
            for name, each in value.items():
                yield from search(each, (*path, name))
        elif isinstance(value, float) and math.isinf(value) and path[-1] not in _NO_LIMIT:
            yield path

    for table in ("model", "train", "pretrain", "update"):
        for path in search(msgspec.to_builtins(getattr(config, table)), (table,)):
            if path[:2] != ("model", "options"):
                yield ConfigError("invalid value", where=origin.at(*path), expected="a finite number", got="inf")
    for label in config.data.labels:
        if not isinstance(label, str) and math.isinf(label.weight):
            yield ConfigError("invalid value", where=origin.at("data", "labels"), expected="a finite weight", got="inf")


def _crosses(config: Config, origin: Origin) -> Iterator[ConfigError]:
    """Yield an error for crosses of fewer than two different fields, and for one that is listed twice."""
    listed = () if isinstance(config.data.crosses, str) else config.data.crosses
    made = [(("fields", name, "cross"), field.cross or ()) for name, field in config.fields.items()]
    for path, parts in (*((("data", "crosses"), each) for each in listed), *made):
        if len(set(parts)) < len(parts) or (
            len(parts) < 2 and path[0] == "data"
        ):  # of the others `Field.check` says it
            yield ConfigError(
                "a cross combines two or more different fields",
                where=origin.at(*path),
                got=", ".join(parts) or "none",
            )
    for parts, count in Counter(tuple(sorted(each)) for each in listed).items():
        if count > 1:
            yield ConfigError("a cross is listed twice", where=origin.at("data", "crosses"), got=", ".join(parts))
