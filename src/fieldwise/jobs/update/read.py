"""Reading a day: once to look at it and learn its values, once more to encode what is learned from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.data.cache import Cache
from fieldwise.data.cache_writer import CacheWriter
from fieldwise.data.chunk import naming
from fieldwise.data.log import Log, encode_log
from fieldwise.data.read_report import RejectTally
from fieldwise.features.columns import Columns
from fieldwise.features.encoder import Encoder
from fieldwise.features.moments import read_moments
from fieldwise.features.row_digests import row_digests
from fieldwise.jobs.prepare.logs import log_columns
from fieldwise.jobs.update.day import DaySummarizer, DaySummary
from fieldwise.jobs.update.holdout import content_columns
from fieldwise.schema import Schema
from fieldwise.training.interrupt import Interrupt

__all__ = ["ReadDay", "encode_day", "read_day"]

_HOUR, _HOURS = 3600, 24


class ReadDay(NamedTuple):
    """A day that was looked at.

    Attributes
    ----------
    summary
        Its rows in figures.
    learns
        Of every row that could be read, in order, whether it is learned from.
    held
        The rows that are held out; None where there are none.
    content
        The columns that make up a row's content.
    rejects
        Rows that cannot be used.
    """

    summary: DaySummary
    learns: npt.NDArray[np.bool_]
    held: pa.Table | None
    content: list[str]
    rejects: RejectTally


def read_day(
    log: Log, encoder: Encoder, growing: Encoder, earlier: list[pa.Table], share: float, interrupt: Interrupt
) -> ReadDay:
    """Look at the rows of a log, and let an encoder learn from those that are not held out.

    Parameters
    ----------
    encoder, growing
        Of the version in use; and one that goes on from it (`Encoder.growing`), which is not finished here.
    earlier
        Rows that were held out on earlier days.
    share
        Of the rows that are held out.

    Raises
    ------
    Interrupted
        On request.
    """
    content = content_columns(encoder.schema, log.columns)
    digests = [row_digests(rows, [name for name in content if name in rows.column_names]) for rows in earlier]
    summarizer = DaySummarizer(encoder, np.concatenate(digests) if digests else None, share)
    learns, held, rejects = [], [], RejectTally()
    chunks = encode_log(log, encoder, labelled=True, extra=_columns(encoder.schema, log, content))
    for chunk, encoded in interrupt.watch(chunks):
        rejects.add(chunk.reject_lines(encoded.rejects))
        is_held = summarizer.add(chunk, encoded)
        of_chunk = np.zeros(chunk.table.num_rows, dtype=np.bool_)
        of_chunk[encoded.accepted[~is_held]] = True
        learns.append(of_chunk)
        if is_held.any():
            held.append(chunk.table.take(pa.array(encoded.accepted[is_held])))
        with naming(chunk.path):
            growing.fit_chunk(chunk.table.filter(pa.array(of_chunk)))
    rows = pa.concat_tables(held, promote_options="permissive") if held else None
    return ReadDay(
        summarizer.compute(), np.concatenate(learns) if learns else np.zeros(0, bool), rows, content, rejects
    )


def encode_day(
    log: Log, encoder: Encoder, day: ReadDay, before: list[pa.Table], folder: Path, interrupt: Interrupt
) -> tuple[Cache, npt.NDArray[np.int64] | None]:
    """Encode the rows of a day that are learned from, after those that were held out until now.

    Returns
    -------
    The examples; and the hour of each, -1 for those that come from before or have no time, None where the model knows
    of no time.

    Raises
    ------
    Interrupted
        On request.
    """
    time = encoder.schema.time
    hours: list[npt.NDArray[np.int64]] = []
    done = 0
    schema = encoder.schema
    classes, weighted, grouped = len(schema.classes), schema.weight is not None, schema.group is not None
    with CacheWriter(folder, encoder.layout, num_classes=classes, weights=weighted, groups=grouped) as writer:
        for rows in before:
            encoded = encoder.transform(rows)
            writer.add(encoded.examples)
            hours.append(np.full(len(encoded.accepted), -1))
        for chunk in interrupt.watch(log.chunks(_columns(encoder.schema, log))):
            of_chunk = day.learns[done : done + chunk.table.num_rows]
            done += chunk.table.num_rows
            table = chunk.table.filter(pa.array(of_chunk))
            with naming(chunk.path):
                encoded = encoder.transform(table)
            writer.add(encoded.examples)
            if time is not None and time.column is not None:
                seconds = read_moments(Columns(table.select([time.column])), time.column, time)[0][encoded.accepted]
                hours.append(np.where(np.isnan(seconds), -1, np.nan_to_num(seconds) // _HOUR % _HOURS).astype(np.int64))
    if "table" not in log.formats:
        log.refuse_change()
    return Cache.open(folder), np.concatenate(hours) if time is not None and hours else None


def _columns(schema: Schema, log: Log, more: Sequence[str] = ()) -> list[str]:
    """Return the columns that learning needs, and those of `more`; without those of splits and times where a day has
    none.
    """
    optional = {schema.split, None if schema.time is None else schema.time.column} - {*schema.columns}
    wanted = dict.fromkeys([*log_columns(schema), *more])
    return [name for name in wanted if name not in optional or name in log.columns]
