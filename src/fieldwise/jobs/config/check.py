"""All that is wrong with a configuration file, as far as it can be told without its log."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import get_args

import msgspec

from fieldwise.config import Config, find_problems, parse_config, read_text
from fieldwise.config.origin import Origin
from fieldwise.config.overrides import split_override
from fieldwise.data.sources import check_format, known_encoding
from fieldwise.errors import ConfigError
from fieldwise.jobs.prepare.budget import parse_bytes
from fieldwise.metrics.own import GROUP_METRICS
from fieldwise.schema import Field, FieldType

__all__ = ["check_file"]


def check_file(path: str | Path, overrides: Sequence[str] = ()) -> list[ConfigError]:
    """Return everything that is wrong with a configuration file; its log is not read.

    Raises
    ------
    ConfigError
        The file cannot be read.
    """
    text, where = read_text(Path(path)), str(path)
    problems = find_problems(text, where=where, overrides=overrides)
    if problems:
        return problems
    origin = Origin(where, text, frozenset(tuple(split_override(override)[0]) for override in overrides))
    config = parse_config(text, where=where, overrides=overrides)
    problems = [*_value_problems(config, origin), *_validation_problems(config, origin)]
    return [*problems, *_field_problems(config, origin)]


def _value_problems(config: Config, origin: Origin) -> Iterator[ConfigError]:
    """Yield an error for each text of ``[data]`` that the reader of the log would refuse."""
    data = config.data
    checks: tuple[tuple[tuple[str, ...], Callable[[str], object], str | None], ...] = (
        (("memory",), parse_bytes, data.memory),
        (("format",), check_format, data.format),
        (("csv", "encoding"), known_encoding, data.csv.encoding),
    )
    for path, check, value in checks:
        if value is not None:
            try:
                check(value)
            except ConfigError as error:
                yield error.at(origin.at("data", *path))


def _validation_problems(config: Config, origin: Origin) -> Iterator[ConfigError]:
    """Yield an error for what the validation rows cannot say; rows in memory bring their own."""
    data, metric = config.data, config.train.stop_on.partition(":")[0]
    has_valid = data.valid is not None or data.split is not None or data.folds is not None
    if metric in GROUP_METRICS and has_valid and (data.group is None or len(data.classes) > 2):
        yield ConfigError(
            "the metric to stop on is not defined",
            where=origin.at("train", "stop_on"),
            expected="groups (data.group) and two classes",
            got=f"{config.train.stop_on}, without groups" if data.group is None else f"{len(data.classes)} classes",
            fix='set data.group = "COLUMN", or train.stop_on = "auc"' if data.group is None else 'set stop_on = "auc"',
        )
    if config.train.calibration != "none" and data.valid is None and data.split is None:
        yield ConfigError(
            "a calibration needs validation rows, and there are none",
            where=origin.at("train", "calibration"),
            got=config.train.calibration,
            fix='set data.valid, in place of data.folds if there are some, or calibration = "none"',
        )


def _field_problems(config: Config, origin: Origin) -> Iterator[ConfigError]:
    """Yield what is wrong with fields whose type is stated; that of others is inferred from the log."""
    for name, entry in config.fields.items():
        kind = "cross" if entry.cross else entry.type
        waits_for_log = kind not in get_args(FieldType) or (kind == "time" and entry.part is None)
        if entry.exclude or waits_for_log:
            continue
        stated = {key: value for key, value in msgspec.structs.asdict(entry).items() if value is not None}
        del stated["exclude"]
        parts = stated.pop("cross", ())
        column = {} if kind == "cross" else {"column": name}
        try:
            msgspec.convert({**column, **stated, "name": name, "type": kind, "parts": parts}, Field).check()
        except ConfigError as error:
            yield error.at(origin.at("fields", name))
