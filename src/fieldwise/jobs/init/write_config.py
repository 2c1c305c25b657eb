"""A configuration as TOML, to be read again by `config.load_config`."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from fieldwise.config import Config, FieldConfig

__all__ = ["config_toml", "toml", "toml_key"]


def config_toml(config: Config, folder: Path) -> str:
    r"""Return TOML text that gives the same configuration when it is read from a file in `folder`.

    Defaults are left out; paths are made relative to `folder`, the prepared log included, so that it is not prepared
    again.

    Examples
    --------
    >>> from fieldwise.config import parse_config
    >>> text = '[data]\ntrain = "log.csv"\nlabel = "click"\n[model]\nunits = 4'
    >>> config = parse_config(text, base="/logs")
    >>> print(config_toml(config, Path("/logs")), end="")
    [data]
    train = ["log.csv"]
    label = "click"
    cache = ".fieldwise"
    <BLANKLINE>
    [model]
    units = 4
    """
    tree: dict[str, Any] = {
        key: _changes(value, default)
        for key, value in msgspec.to_builtins(config).items()
        if key != "base" and (default := _defaults().get(key)) is not None
    }
    data = {"train": None, "label": None, **tree["data"]}
    for part in ("train", "valid", "test"):
        if paths := config.paths(part):
            data[part] = [path if "://" in path else os.path.relpath(path, folder) for path in paths]
    data["cache"] = os.path.relpath(str(Path(config.base) / (config.data.cache or ".fieldwise")), folder)
    usual = msgspec.to_builtins(FieldConfig())
    fields = {name: _changes(field, usual) for name, field in msgspec.to_builtins(config.fields).items()}
    sections = {"data": data, **{f"fields.{toml_key(name)}": field for name, field in fields.items()}}
    sections |= {name: tree[name] for name in ("model", "train", "pretrain")}
    lines: list[str] = []
    for name, table in sections.items():
        if table or name.startswith("fields."):
            lines += ["", *_table(name, table)] if lines else _table(name, table)
    return "\n".join(lines) + "\n"


def _defaults() -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(msgspec.convert({"data": {"train": "", "label": ""}}, Config))
    return plain


def _changes(value: Any, default: Any) -> dict[str, Any]:
    """Return what differs from the defaults, tables inside included."""
    found: dict[str, Any] = {}
    for key, own in value.items():
        usual = default.get(key)
        if isinstance(own, dict) and isinstance(usual, dict):
            if inner := _changes(own, usual):
                found[key] = inner
        elif own != usual and own is not None:
            found[key] = own
    return found


def _table(name: str, table: Mapping[str, Any]) -> list[str]:
    """Return the lines of a table; tables inside it come after it."""
    own = [f"{toml_key(key)} = {toml(value)}" for key, value in table.items() if not isinstance(value, Mapping)]
    lines = [f"[{name}]", *own] if own or name.startswith("fields.") else []
    for key, value in table.items():
        if isinstance(value, Mapping):
            lines += _table(f"{name}.{toml_key(key)}", value)
    return lines


def toml_key(name: str) -> str:
    """Write a name as a key of TOML."""
    return name if re.fullmatch("[A-Za-z0-9_-]+", name) else toml(name)


def toml(value: Any) -> str:
    """Write a value as TOML."""
    match value:
        case dict():
            return f"{{ {', '.join(f'{toml_key(key)} = {toml(item)}' for key, item in value.items())} }}"
        case list() | tuple():
            return f"[{', '.join(map(toml, value))}]"
        case _:  # JSON's strings, numbers and truth values are TOML's too, but for one character
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
