"""Overrides of the command line: ``--set section.key=value``."""

from __future__ import annotations

import re
import tomllib
from contextlib import suppress
from typing import Any

import msgspec

from fieldwise.config.tables import FieldConfig
from fieldwise.errors import ConfigError

__all__ = ["apply_override", "split_override"]


def apply_override(tree: dict[str, Any], override: str) -> None:
    """Set one ``section.key=value`` in the tree."""
    keys, equals, value = split_override(override)
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


def split_override(override: str) -> tuple[list[str], str, str]:
    """Return the keys of an override, whether there is an equals sign, and the value.

    What stands between ``fields.`` and a key of a field is the name of a column, whatever it holds.

    Examples
    --------
    >>> split_override("train.epochs=3")
    (['train', 'epochs'], '=', '3')
    >>> split_override("fields.price.usd.bins=5"), split_override('fields."x,y".separator="="')
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
