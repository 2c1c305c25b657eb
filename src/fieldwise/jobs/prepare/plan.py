"""What is to be prepared, and where: the folder of a prepared log is named by what it is made from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from fieldwise.config import Config
from fieldwise.data.split import SplitLog
from fieldwise.io import files
from fieldwise.io.stores import local_path
from fieldwise.jobs.init.inference import infer_from
from fieldwise.jobs.prepare.logs import open_sources
from fieldwise.jobs.prepare.prepared import VERSION
from fieldwise.schema import Schema

__all__ = ["PreparationPlan", "cache_root", "look"]

_SUMMARY = 1
"""Raised where a summary says more: a log that was prepared before is prepared again."""


class PreparationPlan(NamedTuple):
    """What is to be prepared, and where.

    Attributes
    ----------
    sources
        The logs.
    schema, left_out
        See `infer_schema`.
    root, key
        Of the `artefact_lock`.
    """

    sources: list[SplitLog]
    schema: Schema
    left_out: dict[str, str]
    root: Path
    key: str


def look(config: Config, without: Mapping[str, str] | None = None) -> PreparationPlan:
    """Look at the first rows of a log; some of its fields are left `without`, each with the reason."""
    sources = open_sources(config)
    (schema, _, left_out), _ = infer_from(config, [source.log for source in sources])
    if without:
        fields = tuple(field for field in schema.fields if field.name not in without)
        gone = {column: why for field in schema.fields if (why := without.get(field.name)) for column in field.columns}
        read = {column for field in fields for column in field.columns}
        schema = msgspec.structs.replace(schema, fields=fields)
        left_out = {**left_out, **{column: why for column, why in gone.items() if column not in read}}
    return PreparationPlan(sources, schema, left_out, cache_root(config), _key(config, schema, sources))


def cache_root(config: Config) -> Path:
    """Return the folder that holds what is made of the logs of a configuration."""
    return Path(config.base) / local_path(config.data.cache or ".fieldwise")


def _key(config: Config, schema: Schema, sources: list[SplitLog]) -> str:
    """Return the name of the folder that holds what is made from these rows and this schema."""
    data = config.data
    content = {
        "version": [VERSION, _SUMMARY],
        "schema": msgspec.to_builtins(schema),
        "read": msgspec.to_builtins([data.valid, data.test, data.split, data.seed, data.format, data.csv]),
        "files": [
            [source.part, name, *version_tag]
            for source in sources
            for name, version_tag in zip(source.log.files, source.log.version_tags, strict=True)
        ],
    }
    if data.fold is not None:
        content["fold"] = [data.folds, data.fold]
    if config.train.half_life is not None:
        content["half_life"] = config.train.half_life
    return files.checksum(msgspec.json.encode(content))[:16]
