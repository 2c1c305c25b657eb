"""The settings that identify a run, and how those of two runs differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from fieldwise.config import Config
from fieldwise.errors import ConfigError
from fieldwise.models.config import ModelConfig

__all__ = ["plain_config", "refuse_difference", "update_settings"]

_OF_UPDATES = ("update", "gate", "guards")


def plain_config(config: Config) -> dict[str, Any]:
    """Return the settings that identify a run: all but the base folder, memory, threads and device, and those of daily
    updates, which may change from day to day.
    """
    if config.model.kind == "lr":  # the other keys of [model] say nothing of it
        config = msgspec.structs.replace(config, model=ModelConfig(kind="lr"))
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(config))
    del (
        plain["base"],
        plain["train"]["threads"],
        plain["train"]["device"],
        plain["data"]["memory"],
        plain["data"]["max_rejects"],
    )
    if not config.data.labels:  # as runs of versions that knew one label have it
        del plain["data"]["labels"], plain["model"]["labels"]
    if config.train.trees == "none":  # as runs of versions without trees have it
        del plain["train"]["trees"]
    for name in _OF_UPDATES:
        del plain[name]
    return plain


def update_settings(config: Config) -> dict[str, Any]:
    """Return the settings of daily updates, which may change from day to day."""
    return {name: msgspec.to_builtins(getattr(config, name)) for name in _OF_UPDATES}


def refuse_difference(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise ConfigError if two configurations differ, naming the keys in which they do."""
    differences = [f"{key}: {old!r} there, {new!r} now" for key, old, new in _differences(before, now)]
    if differences:
        raise ConfigError(
            "the run folder belongs to another configuration",
            where=folder,
            got="; ".join(differences),
            fix="choose another folder, or use --overwrite to replace the run",
        )


def _differences(before: Any, now: Any, key: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(now, dict):
        names = list(dict.fromkeys([*before, *now]))
        return [
            found
            for name in names
            for found in _differences(before.get(name), now.get(name), f"{key}.{name}" if key else name)
        ]
    return [] if before == now else [(key, before, now)]
