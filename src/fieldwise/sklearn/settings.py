"""Settings from Python, as the nested tables that a configuration file would have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from fieldwise.config import FieldConfig
from fieldwise.config.overrides import split_override

__all__ = ["Settings", "Tree", "merge", "nested", "plain", "plain_field"]

Settings = Mapping[str, Any]
Tree = dict[str, Any]


def plain_field(field: Any) -> Any:
    """Return what a field states, without the keys that it leaves to inference."""
    if not isinstance(field, (FieldConfig, Mapping)):
        return field  # the configuration refuses it, with its name
    stated = msgspec.structs.asdict(field) if isinstance(field, FieldConfig) else field
    return {key: value for key, value in stated.items() if value is not None}


def nested(key: str, value: Any) -> Tree:
    """Return the tables of a dotted key.

    Examples
    --------
    >>> nested("train.table.l2", 0.1)
    {'train': {'table': {'l2': 0.1}}}
    >>> nested("fields.price.usd.bins", 5)
    {'fields': {'price.usd': {'bins': 5}}}
    """
    for name in reversed(split_override(f"{key}=")[0]):
        value = {name: value}
    return dict(value)


def merge(tree: Tree, more: Mapping[str, Any]) -> None:
    """Add settings to nested tables, in place of those that they have; None leaves a default."""
    for key, value in more.items():
        if isinstance(value, Mapping):
            merge(tree.setdefault(key, {}), value)
        elif value is not None:
            tree[key] = value


def plain(value: Any) -> Any:
    """Return nested settings without numpy's scalars and arrays, which searches over parameters bring."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value
