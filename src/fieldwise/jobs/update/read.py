"""Reading a day: once to look at it and learn its values, once more to encode what is learned from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.data.cache import Cache
from fieldwise.data.cache_writer import CacheWriter
from fieldwise.data.chunk import Chunk, naming
from fieldwise.data.log import Log, encode_log
from fieldwise.data.read_report import ReadReport, RejectTally
from fieldwise.features.cells import Encoded
from fieldwise.features.columns import Columns
from fieldwise.features.encoder import Encoder
from fieldwise.features.moments import read_moments
from fieldwise.features.row_digests import row_digests
from fieldwise.jobs.prepare.logs import log_columns
from fieldwise.jobs.update.day import DaySummarizer, DaySummary
from fieldwise.jobs.update.holdout import content_columns
from fieldwise.kernels.layout import Examples
from fieldwise.schema import Schema
from fieldwise.training.interrupt import Interrupt

__all__ = ["FAKE", "KIND", "LATE", "PLAIN", "TWIN", "EncodedDay", "ReadDay", "encode_day", "read_day"]

KIND = "@kind"
"""The column of a log that is learned from before all clicks have come (`jobs.update.late`): what a row is there."""
PLAIN, FAKE, TWIN, LATE = range(4)
"""A row with its label; one whose click may come; the same beside its click, which has come already; and the click of a
row that was learned from before. Each stands once in the figures of its day, and is counted once in vocabularies."""
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
        The rows that are held out, those of one schema together.
    content
        The columns that make up a row's content.
    read
        What of the log was read, and why rows were rejected.
    """

    summary: DaySummary
    learns: npt.NDArray[np.bool_]
    held: list[pa.Table]
    content: list[str]
    read: ReadReport


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
    learns, rejects = [], RejectTally()
    held: dict[str, list[pa.Table]] = {}
    for chunk, encoded, kinds in interrupt.watch(_encoded(log, encoder, content)):
        rejects.add(chunk.reject_lines(encoded.rejects))
        is_held = summarizer.add(chunk, encoded)
        of_chunk = np.zeros(chunk.table.num_rows, dtype=np.bool_)
        of_chunk[encoded.accepted[~is_held]] = True
        if kinds is None:
            learns.append(of_chunk)
        else:
            of_all = kinds == TWIN
            of_all[~of_all] = of_chunk
            learns.append(of_all)
            of_chunk = of_chunk & (kinds[kinds != TWIN] != LATE)
        if is_held.any():
            rows = chunk.table.take(pa.array(encoded.accepted[is_held]))
            held.setdefault(rows.schema.to_string(), []).append(rows)
        with naming(chunk.path):
            growing.fit_chunk(chunk.table.filter(pa.array(of_chunk)))
    summary = summarizer.compute()
    return ReadDay(
        summary,
        np.concatenate(learns) if learns else np.zeros(0, bool),
        [pa.concat_tables(of_schema) for of_schema in held.values()],
        content,
        log.report(rejects, summary.used or 0),
    )


def _encoded(
    log: Log, encoder: Encoder, content: list[str]
) -> Iterator[tuple[Chunk, Encoded, npt.NDArray[np.int8] | None]]:
    """Yield the chunks of a log, each row once, what the encoder makes of them, and the kinds of all their rows."""
    columns = _columns(encoder.schema, log, content)
    if KIND not in log.columns:
        for chunk, encoded in encode_log(log, encoder, labelled=True, extra=columns):
            yield chunk, encoded, None
        return
    for chunk in log.chunks([*columns, KIND]):
        kinds = chunk.table[KIND].to_numpy()
        is_one = kinds != TWIN
        once = chunk._replace(table=chunk.table.filter(pa.array(is_one)).drop_columns(KIND), rows=chunk.rows[is_one])
        with naming(chunk.path):
            yield once, encoder.transform(once.table), kinds


class EncodedDay(NamedTuple):
    """What is learned from.

    Attributes
    ----------
    cache
        The examples.
    hours
        The hour of each, -1 for those that come from before or have no time; None where the model knows of no time.
    fakes
        Which of them are fake negatives; None where there are none.
    """

    cache: Cache
    hours: npt.NDArray[np.int64] | None
    fakes: npt.NDArray[np.bool_] | None


def encode_day(
    log: Log, encoder: Encoder, day: ReadDay, before: list[pa.Table], folder: Path, interrupt: Interrupt
) -> EncodedDay:
    """Encode the rows of a day that are learned from, after those that were held out until now.

    Raises
    ------
    Interrupted
        On request.
    """
    time = encoder.schema.time
    hours: list[npt.NDArray[np.int64]] = []
    fakes: list[npt.NDArray[np.bool_]] = []
    done = 0
    has_kinds = KIND in log.columns
    schema = encoder.schema
    classes, weighted, grouped = len(schema.classes), schema.weight is not None, schema.group is not None

    def weighed(examples: Examples) -> Examples:
        if not has_kinds or examples.weights is not None:
            return examples
        return examples._replace(weights=np.ones(examples.batch.num_examples, np.float32))

    with CacheWriter(
        folder, encoder.layout, num_classes=classes, weights=weighted or has_kinds, groups=grouped
    ) as writer:
        for rows in before:
            encoded = encoder.transform(rows)
            writer.add(weighed(encoded.examples))
            hours.append(np.full(len(encoded.accepted), -1))
            fakes.append(np.zeros(len(encoded.accepted), bool))
        for chunk in interrupt.watch(log.chunks(_columns(encoder.schema, log, [KIND] if has_kinds else []))):
            of_chunk = day.learns[done : done + chunk.table.num_rows]
            done += chunk.table.num_rows
            table = chunk.table.filter(pa.array(of_chunk))
            with naming(chunk.path):
                encoded = encoder.transform(table)
            writer.add(weighed(encoded.examples))
            if has_kinds:
                kinds = table[KIND].to_numpy()[encoded.accepted]
                fakes.append((kinds == FAKE) | (kinds == TWIN))
            if time is not None and time.column is not None:
                seconds = read_moments(Columns(table.select([time.column])), time.column, time)[0][encoded.accepted]
                hours.append(np.where(np.isnan(seconds), -1, np.nan_to_num(seconds) // _HOUR % _HOURS).astype(np.int64))
    if "table" not in log.formats:
        log.refuse_change()
    return EncodedDay(
        Cache.open(folder),
        np.concatenate(hours) if time is not None and hours else None,
        np.concatenate(fakes) if has_kinds and fakes else None,
    )


def _columns(schema: Schema, log: Log, more: Sequence[str] = ()) -> list[str]:
    """Return the columns that learning needs, and those of `more`; without those of splits and times where a day has
    none.
    """
    optional = {schema.split, None if schema.time is None else schema.time.column} - {*schema.columns}
    wanted = dict.fromkeys([*log_columns(schema), *more])
    return [name for name in wanted if name not in optional or name in log.columns]
