"""All that is wrong with a configuration file, as far as it can be told without its log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

import msgspec

from fieldwise.config import Config, find_problems, parse_config, read_text
from fieldwise.errors import ConfigError
from fieldwise.jobs.init.one_field import make_field
from fieldwise.reference.lines import line_of
from fieldwise.schema import FieldType

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
    return list(_field_problems(parse_config(text, where=where, overrides=overrides), text, where))


def _field_problems(config: Config, text: str, where: str) -> Iterator[ConfigError]:
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
            make_field({**column, **stated, "name": name, "type": kind, "parts": parts}).check()
        except ConfigError as error:
            line = line_of(text, ["fields", name])
            place = f"{where}, [fields.{name}]" if line is None else f"{where}, line {line}, [fields.{name}]"
            yield ConfigError(error.what, where=place, expected=error.expected, got=error.got, fix=error.fix)
