"""The logs of a configuration, and how their rows are dealt to the parts: train, valid and test."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa

from fieldwise.config import Config
from fieldwise.data.chunk import MAX_CHUNK_BYTES, Chunk
from fieldwise.data.log import Log, open_log
from fieldwise.data.split import PARTS, Split, SplitByColumn, SplitByShare
from fieldwise.schema import Schema

__all__ = ["NOWHERE", "SplitLog", "deal", "log_columns", "open_sources"]

NOWHERE = ""
"""The part of rows that could not be read, or belong to no part."""


class SplitLog(NamedTuple):
    """A log and how its rows are dealt.

    Attributes
    ----------
    log
        The rows.
    split
        Says the part of each row; None where all belong to `part`.
    part
        ``train``, ``valid`` or ``test``.
    """

    log: Log
    split: Split | None
    part: str


def open_sources(config: Config, chunk_bytes: int = MAX_CHUNK_BYTES) -> list[SplitLog]:
    """Open the log of every part, to be read in chunks of about so many bytes; the training log comes first."""
    data = config.data

    def log_of(part: str) -> Log:
        return open_log(config.paths(part), format=data.format, csv=data.csv, chunk_bytes=chunk_bytes)

    shares = {part: share for part in ("valid", "test") if isinstance(share := getattr(data, part), float)}
    split: Split | None = None
    if data.split is not None:
        split = SplitByColumn(data.split)
    elif shares:
        split = SplitByShare(**shares, seed=data.seed)
    sources = [SplitLog(log_of("train"), split, "train")]
    return sources + [SplitLog(log_of(part), None, part) for part in ("valid", "test") if config.paths(part)]


def log_columns(schema: Schema) -> list[str]:
    """Return the columns that preparing reads, each once."""
    extra = (schema.label, schema.weight, schema.group, schema.split)
    return list(dict.fromkeys([*schema.columns, *(name for name in extra if name is not None)]))


def deal(source: SplitLog, chunk: Chunk) -> dict[str, Chunk]:
    """Return the rows of a chunk by part; those that could not be read or dealt as rejects of `NOWHERE`."""
    if source.split is None:
        dealt = {source.part: chunk._replace(rejects=[])}
        astray = chunk.rejects
    else:
        parts, rejects = source.split.parts(chunk)
        astray = [*chunk.rejects, *rejects]
        dealt = {
            part: chunk._replace(table=chunk.table.filter(pa.array(chosen)), rows=chunk.rows[chosen], rejects=[])
            for number, part in enumerate(PARTS)
            if (chosen := parts == number).any()
        }
    return {**dealt, NOWHERE: chunk._replace(table=chunk.table.slice(0, 0), rows=chunk.rows[:0], rejects=astray)}
