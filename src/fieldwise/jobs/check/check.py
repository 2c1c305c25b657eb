"""``fieldwise check``: profile a raw log before training.

The log is read in one pass. If it has more rows than requested, each row is sampled with the same probability by a hash
of its position, so the sample is spread evenly over all files and always the same. What is computed for each column is
described in `profile.survey`.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.config import Config
from fieldwise.data.chunk import Chunk, naming
from fieldwise.data.split import NO_PART, PARTS, SplitByShare, SplitLog
from fieldwise.errors import ConfigError
from fieldwise.events import Listener, Preparing, ignore
from fieldwise.features.columns import Columns, Reject
from fieldwise.features.labels import read_labels
from fieldwise.jobs.check.columns import columns_to_survey
from fieldwise.jobs.check.counts import Counts, ReadChunk
from fieldwise.jobs.init.inference import infer_from
from fieldwise.jobs.prepare.logs import open_sources, with_tables
from fieldwise.profile.survey.cells import HELD_OUT, PART_OF_SET, TRAIN
from fieldwise.profile.survey.column import ReadColumn
from fieldwise.profile.survey.result import Survey

__all__ = ["DEFAULT_ROWS", "check"]

DEFAULT_ROWS = 1_000_000
_CHUNK_BYTES = 1 << 24
_CHOICE_SEED, _HALVES_SEED = 0x5EED_C0DE, 0x5EED_4A1F  # other than that of any split


def check(config: Config, *, data: Any = None, rows: int | None = DEFAULT_ROWS, listen: Listener = ignore) -> Survey:
    """Profile the log of a configuration, and warn of problems such as leaks, row numbers, duplicates and drift.

    Memory is bounded: a few chunks of rows, and counts of at most 8 million distinct values of all columns together.
    Beyond that, values are sampled (`profile.survey.values`) and statistics that are not marked as exact are estimates.
    Crosses are not profiled, only the fields that they combine.

    Parameters
    ----------
    config
        Its ``[data]`` and ``[fields]`` are used; missing settings are inferred.
    data
        Rows in memory to use instead of the configured files: a pyarrow, pandas or polars table, a dict of columns, a
        list of dicts, or a numpy structured array; or ``{"train": rows, "valid": rows, "test": rows}``. They are stored
        in the folder of prepared logs (`jobs.prepare.logs`).
    rows
        Approximate number of rows to sample; None for all. The whole log is read in any case.
    listen
        Called with `events.Preparing` events.

    Returns
    -------
    Survey
        Statistics of every column, and the warnings.

    Raises
    ------
    DataError
        A file or column is missing or invalid, or no row can be used.
    ConfigError
        The configuration is invalid, or `rows` is less than 1.

    Examples
    --------
    >>> import fieldwise as fw
    >>> config = fw.Config(data=fw.DataConfig(train="clicks.parquet", label="click"))
    >>> for warning in fw.check(config).warnings:  # doctest: +SKIP
    ...     print(warning.where, warning.what)
    """
    if rows is not None and rows < 1:
        raise ConfigError("rows must be positive", where="rows", expected="1 or more", got=rows)
    config = with_tables(config, data)
    sources = open_sources(config, _CHUNK_BYTES)
    inferred, sample = infer_from(config, [source.log for source in sources])
    surveyed = list(columns_to_survey(inferred, sample))
    expected_rows = max(sum(source.log.count_rows()[0] for source in sources), 1)
    share = 1.0 if rows is None or rows >= expected_rows else rows / expected_rows
    counts = Counts(inferred.schema, surveyed, inferred.left_out, sample)
    tally = _Tally(listen, expected_rows)
    for source in sources:
        for found in source.log.map(partial(_read, source, counts, share)):
            counts.add(found)
            tally.add(found.num_rows)
    return msgspec.structs.replace(
        counts.finish(sources, share, tally.num_rows),
        files_left_out={path: reason for source in sources for path, reason in source.log.left_out.items()},
        columns_left_out={
            name: reason for name, reason in inferred.left_out.items() if name not in sample.column_names
        },
    )


def _read(source: SplitLog, counts: Counts, share: float, chunk: Chunk) -> ReadChunk:
    schema = counts.schema
    num_rows = chunk.table.num_rows + len(chunk.rejects)
    if share < 1:
        chunk = _chosen(chunk, share)
    parts = np.full(len(chunk.rows), PARTS.index(source.part), dtype=np.uint8)
    astray = list(chunk.rejects)
    if source.split is not None:
        parts, of_no_part = source.split.parts(chunk)
        astray += of_no_part
    with naming(chunk.path):
        texts, _, at = read_labels(Columns(chunk.table), schema.label, counts.stated, schema.missing)
    place_of: dict[str, int] = {}
    of_text = np.full(len(texts), -1, dtype=np.int64)
    for number, text in enumerate(texts):
        if isinstance(text, str) and (label := counts.class_of(text)) is not None:
            of_text[number] = place_of.setdefault(label, len(place_of))
    classes = of_text[at]
    labelled = np.array([text is not None for text in texts])[at]
    known = classes >= 0
    usable = known & (parts != NO_PART)
    of_label = Columns(chunk.table)
    rejects = [
        of_label.reject(row, schema.label, f"the label is {'not a class' if labelled[row] else 'missing'}")
        for row in np.flatnonzero(~known & (parts != NO_PART)).tolist()
    ]
    lines = chunk._replace(rejects=astray).reject_lines(rejects)
    num_chosen = chunk.table.num_rows + len(chunk.rejects)
    if not usable.all():
        kept = pa.array(usable)
        chunk = chunk._replace(table=chunk.table.filter(kept), rows=chunk.rows[usable])
        classes, parts = classes[usable], parts[usable]
    columns = Columns(chunk.table)
    with naming(chunk.path):
        read = [counter.read(columns) for counter in counts.columns]
    bad = _unusable(counts, read)
    if bad:
        lines += chunk._replace(rejects=[]).reject_lines(list(bad.values()))
        usable = np.ones(len(chunk.rows), dtype=np.bool_)
        usable[list(bad)] = False
        kept = pa.array(usable)
        chunk = chunk._replace(table=chunk.table.filter(kept), rows=chunk.rows[usable])
        classes, parts, columns = classes[usable], parts[usable], Columns(chunk.table)
        again = [counter.read(columns) for counter in counts.columns]
        read = [new._replace(not_numbers=old.not_numbers) for new, old in zip(again, read, strict=True)]
    return ReadChunk(
        num_rows=num_rows,
        num_chosen=num_chosen,
        rejects=sorted(lines, key=lambda line: int(line["row"])),
        path=chunk.path,
        labels=list(place_of),
        classes=classes,
        sets=_sets(chunk, parts),
        columns=read,
        zero_weights=sum(
            int(np.count_nonzero(column.numbers == 0))
            for counter, column in zip(counts.columns, read, strict=True)
            if counter.surveyed.role == "weight" and column.numbers is not None
        ),
    )


def _unusable(counts: Counts, read: list[ReadColumn]) -> dict[int, Reject]:
    """Return the rows that `prepare` rejects because of a field, each with the first reason."""
    found: dict[int, Reject] = {}
    for counter, column in zip(counts.columns, read, strict=True):
        for reject in column.rejects if counter.surveyed.role == "field" else ():
            found.setdefault(reject.row, reject)
    return found


def _chosen(chunk: Chunk, share: float) -> Chunk:
    """Return the sampled rows of a chunk; rows are sampled independently of each other."""
    chooser = SplitByShare(test=1 - share, seed=_CHOICE_SEED)
    kept = chooser.parts(chunk)[0] == PARTS.index("train")
    unread = np.array([reject.row for reject in chunk.rejects], dtype=np.int64)
    kept_unread = chooser.parts(chunk._replace(rows=unread))[0] == PARTS.index("train")
    rejects = [reject for reject, keep in zip(chunk.rejects, kept_unread, strict=True) if keep]
    return chunk._replace(table=chunk.table.filter(pa.array(kept)), rows=chunk.rows[kept], rejects=rejects)


def _sets(chunk: Chunk, parts: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    halves, _ = SplitByShare(test=0.5, seed=_HALVES_SEED).parts(chunk)
    set_of_part = np.array([PART_OF_SET.index(part) for part in PARTS], dtype=np.int64)
    sets = set_of_part[parts]
    sets[(sets == TRAIN) & (halves == PARTS.index("test"))] = HELD_OUT
    return sets


class _Tally:
    """Counts the rows read, and reports progress."""

    def __init__(self, listen: Listener, expected_rows: int) -> None:
        self.num_rows = 0
        self._listen, self._expected = listen, expected_rows
        self._started = time.perf_counter()

    def add(self, num_rows: int) -> None:
        """Count the rows of a chunk."""
        self.num_rows += num_rows
        total = max(self._expected, self.num_rows)
        self._listen(Preparing("check", self.num_rows, total, time.perf_counter() - self._started))
