"""msgspec's messages about a configuration, turned into ours: where, expected, got, and the nearest known key."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import msgspec

from fieldwise.config.origin import Origin
from fieldwise.config.tables import Config, FieldConfig
from fieldwise.errors import ConfigError, did_you_mean
from fieldwise.reference.keys import is_table, tables
from fieldwise.reference.words import describe, in_toml

__all__ = ["explain"]

_MAX_SHOWN = 80


def explain(message: str, tree: Mapping[str, Any], origin: Origin) -> tuple[ConfigError, list[str]]:
    """Turn msgspec's message into ours, with the key's place and the nearest known key; and return the key's path."""
    place = re.search(r" - at `\$\.?(.*)`$", message)
    key = place.group(1) if place else ""
    what = message[: place.start()] if place else message
    path = re.sub(r"\[\d+\].*", "", key).split(".") if key else []
    # msgspec says `fields[...]` for any value of a mapping: find the one that it means.
    if key.startswith("fields[...]"):
        name = _guilty_field(tree)
        path = ["fields", name, *key.removeprefix("fields[...]").split(".")[1:]]
        key = key.replace("[...]", f".{name}", 1)
    unknown = re.search(r"unknown field `(.+)`", what)
    if unknown:
        path.append(unknown[1])
        where = origin.at(*path, shown=key) if key else origin.before(path).removesuffix(", ")
        return ConfigError(f"unknown key: {unknown[1]}", where=where, fix=_nearest_key(unknown[1], path[:-1])), path
    missing = re.search(r"missing required field `(.+)`", what)
    if missing:
        where = origin.at(*path) if key else origin.where
        return ConfigError(f"a required key is missing: {missing[1]}", where=where), [*path, missing[1]]
    where = origin.at(*path, shown=key)
    kind, value = _type_at(path), _value_at(tree, path)
    if kind is None or not what.startswith(("Expected", "Invalid")):
        return ConfigError("invalid value", where=where, expected=what.removeprefix("Expected ")), path
    written = in_toml(value)
    got = written if len(written) <= _MAX_SHOWN else f"{written[:_MAX_SHOWN]}..."
    choices = re.findall('"([^"]+)"', describe(kind))
    near = did_you_mean(value, choices) if isinstance(value, str) and choices else ""
    fix = near if near.startswith("did") else None
    return ConfigError("invalid value", where=where, expected=describe(kind), got=got, fix=fix), path


def _guilty_field(tree: Mapping[str, Any]) -> str:
    fields = tree.get("fields")
    for name, value in fields.items() if isinstance(fields, dict) else ():
        try:
            msgspec.convert(value, FieldConfig, strict=True)
        except msgspec.ValidationError:
            return str(name)
    return "..."


def _nearest_key(name: str, path: Sequence[str]) -> str:
    """Return a hint: the table that has a key of this name, or the nearest key of the table at `path`."""
    elsewhere = [
        table.path for table in tables(Config, leave_out=("base",)) if name in {key.name for key in table.keys}
    ]
    if elsewhere:
        return f"{name} is a key of " + " and ".join(f"[{table}]" for table in elsewhere)
    kind = _type_at(path) if path else Config
    names = [field.name for table in _tables_in(kind) for field in msgspec.structs.fields(table)]
    return did_you_mean(name, [known for known in names if path or known != "base"])


def _tables_in(kind: Any) -> list[Any]:
    """Return the tables that a type may stand for, as those of the list ``data.labels``."""
    return [kind] if is_table(kind) else [table for inner in get_args(kind) for table in _tables_in(inner)]


def _type_at(path: Sequence[str]) -> Any:
    """Return the type of a key or table, as in ``train.table``; None where there is none."""
    kind: Any = Config
    for name in path:
        inner = {field.name: field.type for field in msgspec.structs.fields(kind)} if is_table(kind) else {}
        kind = FieldConfig if kind == dict[str, FieldConfig] else inner.get(name)
    return kind


def _value_at(tree: Any, path: Sequence[str]) -> Any:
    for name in path:
        tree = tree[name]
    return tree
