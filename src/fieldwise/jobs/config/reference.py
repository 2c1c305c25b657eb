"""Every key of the configuration file: as tables for people, as a schema for editors."""

from __future__ import annotations

from typing import Any

from fieldwise.config import Config, FieldConfig
from fieldwise.errors import ConfigError, did_you_mean
from fieldwise.reference.json_schema import json_schema
from fieldwise.reference.keys import KeyTable, tables
from fieldwise.schema import Field

__all__ = ["describe_config", "schema_of_config"]

_LEFT_OUT = ("base",)
_INFERRED: dict[type, type] = {FieldConfig: Field}


def describe_config(key: str | None = None) -> list[KeyTable]:
    """Return the tables of the configuration file with their keys.

    Parameters
    ----------
    key
        A table or a key that is wanted alone, as in ``train.table`` or ``train.epochs``.

    Raises
    ------
    ConfigError
        There is no such key.

    Examples
    --------
    >>> [table] = describe_config("train.epochs")
    >>> table.keys[0]
    Key(name='epochs', takes='whole number >= 1', default='12', required=False, meaning='Passes at most.')
    """
    known = list(tables(Config, leave_out=_LEFT_OUT, inferred=_INFERRED))
    if key is None:
        return known
    key = key.strip("[]")
    found = [table for table in known if table.path == key or table.path.startswith((f"{key}.", f"{key}["))]
    for table in known:
        alone = tuple(each for each in table.keys if key in (each.name, f"{table.path}.{each.name}"))
        if alone:
            found.append(table._replace(keys=alone))
    if not found:
        names = [f"{table.path}.{each.name}" for table in known for each in table.keys]
        hint = did_you_mean(key, [*(table.path for table in known), *names])
        raise ConfigError("no such key", where="--key", got=key, fix=hint if hint.startswith("did") else None)
    return found


def schema_of_config() -> dict[str, Any]:
    """Return the JSON Schema of the configuration file."""
    return json_schema(Config, title="fieldwise configuration", leave_out=_LEFT_OUT, inferred=_INFERRED)
