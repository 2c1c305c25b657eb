"""The two passes over a log: the encoder learns from the training rows, then every row is encoded into its cache.

The first puts aside what the second needs (`jobs.prepare.spool`), if there is room for it; if not, the log is read
again. Both are a line of three: one thread reads pieces, a pool parses several of them at a time and works on their
rows, and the caller takes the results in order. What is written depends on the rows alone, not on the number of threads
or where chunks begin.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from fieldwise.counted import counted
from fieldwise.data.cache_writer import CacheWriter
from fieldwise.data.chunk import Chunk, naming
from fieldwise.data.csv_quotes import LineEnds
from fieldwise.data.read_report import RejectTally, why_rejected
from fieldwise.data.split import NOWHERE, SplitLog
from fieldwise.data.split_by_time import SplitByTime
from fieldwise.errors import DataError
from fieldwise.events import Listener, Preparing, Warned, ignore
from fieldwise.features.cells import Encoded, ReadRows
from fieldwise.features.classes import ONE_CLASS
from fieldwise.features.encoder import Encoder
from fieldwise.features.target import MISSING
from fieldwise.io.files import atomic_file
from fieldwise.jobs.prepare.logs import log_columns
from fieldwise.jobs.prepare.spool import Record, Spool
from fieldwise.kernels.layout import Examples
from fieldwise.kernels.threads import map_in_order

__all__ = ["REJECTS_NAME", "Counts", "cache_writer", "fit", "learn", "refuse_rejects", "transform"]

REJECTS_NAME = "rejects.jsonl"

Line = dict[str, Any]
"""A line of the rejects file."""

Result = TypeVar("Result")
_Encoded = tuple[int, list[Line], dict[str, Encoded]]
"""Of a chunk: its number of rows, its lines of the rejects file, and its parts."""


class Counts(NamedTuple):
    """What became of the rows of all logs.

    Attributes
    ----------
    rows_read
        Rows of all logs, readable or not.
    parts
        Of each part that has rows: ``read``, ``rejected`` and ``examples``.
    line_ends
        Rows with line ends inside of their cells, of each file that has some.
    """

    rows_read: int
    parts: dict[str, dict[str, int]]
    line_ends: list[LineEnds]


def fit(
    encoder: Encoder,
    source: SplitLog,
    *,
    max_rejects: float | None,
    listen: Listener,
    after_chunk: Callable[[], None],
    spool: Spool | None = None,
) -> int:
    """Let the encoder learn from the training rows of a log, and return how many rows the log has.

    `after_chunk` is called after every chunk; while it runs, others may be learned from. All rows, as they were read in
    the last pass, go to the spool, if there is one.

    Raises
    ------
    DataError
        A column is not what it should be, or there are too many rejects.
    """
    num_rows: int | None = None
    while not encoder.fitted:
        rejects = RejectTally()
        num_rows = learn(
            encoder,
            source,
            num_rows=num_rows,
            max_rejects=max_rejects,
            listen=listen,
            after_chunk=after_chunk,
            spool=spool,
            rejects=rejects,
        )
        with naming(source.log.files[0]):
            try:
                encoder.finish()
            except DataError as error:
                if error.got is None:  # nothing to learn from, perhaps because no row could be used
                    error = DataError(error.what, where=error.where, got=why_rejected(rejects, num_rows), fix=error.fix)
                elif error.what == ONE_CLASS and (why := why_rejected(rejects, num_rows)):
                    got, fix = f"{error.got}; {why}", error.fix
                    if any(reason.reason == MISSING for reason in rejects.reasons):
                        fix = f"if an empty label means a class, such as no click, write 0 instead; otherwise, {fix}"
                    error = DataError(error.what, where=error.where, expected=error.expected, got=got, fix=fix)
                raise error from None
    for note in encoder.notes:
        listen(Warned(note))
    assert num_rows is not None
    return num_rows


def learn(
    encoder: Encoder,
    source: SplitLog,
    *,
    num_rows: int | None,
    max_rejects: float | None,
    listen: Listener,
    after_chunk: Callable[[], None],
    spool: Spool | None = None,
    rejects: RejectTally | None = None,
) -> int:
    """Let the encoder learn in one pass over the training rows, which it does not end; see `fit`.

    Rows that cannot be used are counted in `rejects`, by reason.
    """
    tally = _Tally("fit" if num_rows is None else "fit again", num_rows, max_rejects, listen)
    of_pass = spool if encoder.in_last_pass else None
    for rows_read, lines, place in _read(partial(_learn, encoder, source, of_pass), source, encoder):
        tally.add(rows_read, lines)
        if rejects is not None:
            rejects.add(lines)
        if spool is not None and place is not None:
            spool.places.append(place)
        after_chunk()
    return tally.end()


def transform(
    encoder: Encoder,
    sources: Sequence[SplitLog],
    folder: Path,
    *,
    num_rows: int | None,
    max_rejects: float | None,
    listen: Listener,
    spool: Spool | None = None,
) -> Counts:
    """Encode every row of the logs into caches and a rejects file in `folder`; `num_rows` in all, where known.

    The rows of the first log are those of the spool, if there is one.

    Raises
    ------
    DataError
        A column is not what it should be, or there are too many rejects.
    ResourceError
        The disk is full.
    """
    tally = _Tally("transform", num_rows, max_rejects, listen)
    parts: dict[str, dict[str, int]] = {}
    writers: dict[str, CacheWriter] = {}
    with atomic_file(folder / REJECTS_NAME) as rejects_file, ExitStack() as caches:
        for source in sources:
            chunks: Iterator[_Encoded]
            if spool is not None and source is sources[0]:
                chunks = map_in_order(partial(_encode_record, encoder, spool), spool.places)
            else:
                chunks = _read(partial(_encode, encoder, source), source, encoder)
            for rows_read, rejects, encoded in chunks:
                tally.add(rows_read, rejects)
                rejects_file.writelines(msgspec.json.encode(line) + b"\n" for line in rejects)
                for part, of_part in encoded.items():
                    if part not in writers:
                        writers[part] = caches.enter_context(cache_writer(encoder, folder / part, of_part.examples))
                        parts[part] = {"read": 0, "rejected": 0, "examples": 0}
                    writers[part].add(of_part.examples)
                    num_examples, num_rejects = len(of_part.accepted), len(of_part.rejects)
                    parts[part]["read"] += num_examples + num_rejects
                    parts[part]["rejected"] += num_rejects
                    parts[part]["examples"] += num_examples
    return Counts(tally.end(), parts, [each for source in sources for each in source.log.line_ends])


def _read(function: Callable[[Chunk], Result], source: SplitLog, encoder: Encoder) -> Iterator[Result]:
    """Yield what `function` makes of each chunk of a log, in order."""
    return source.log.map(function, log_columns(encoder.schema))


def _learn(
    encoder: Encoder, source: SplitLog, spool: Spool | None, chunk: Chunk
) -> tuple[int, list[Line], tuple[int, int] | None]:
    dealt = source.deal(chunk)
    num_rows = sum(rows.num_rows for rows in dealt.values())
    astray = dealt.pop(NOWHERE).reject_lines()
    lines = list(astray)
    aside: dict[str, tuple[Chunk, ReadRows]] = {}
    for part, rows in dealt.items():
        with naming(rows.path):
            if spool is not None and spool.is_open:
                read = encoder.condense(_read_rows(encoder, source, part, rows), learn=part == "train")
                aside[part] = rows, read
                rejects = read.rejects
            elif part == "train":
                rejects = encoder.fit_chunk(rows.table)
        lines += rows.reject_lines(rejects) if part == "train" else ()
    complete = spool is not None and len(aside) == len(dealt)
    return num_rows, lines, spool.write(Record(num_rows, astray, aside)) if spool and complete else None


def _read_rows(encoder: Encoder, source: SplitLog, part: str, rows: Chunk) -> ReadRows:
    """Read rows of a part; those to train on count less the older they are, where ``train.half_life`` is set."""
    read = encoder.read(rows.table)
    recency = source.split.recency(rows) if part == "train" and isinstance(source.split, SplitByTime) else None
    if recency is None:
        return read
    own = recency[read.accepted]
    return read._replace(weights=own if read.weights is None else read.weights * own)


def _encode(encoder: Encoder, source: SplitLog, chunk: Chunk) -> _Encoded:
    dealt = source.deal(chunk)
    num_rows = sum(rows.num_rows for rows in dealt.values())
    lines = dealt.pop(NOWHERE).reject_lines()
    encoded: dict[str, Encoded] = {}
    for part, rows in dealt.items():
        with naming(rows.path):
            encoded[part] = encoder.encode(_read_rows(encoder, source, part, rows))
        lines += rows.reject_lines(encoded[part].rejects)
    return num_rows, _in_order(lines), encoded


def _encode_record(encoder: Encoder, spool: Spool, place: tuple[int, int]) -> _Encoded:
    num_rows, lines, parts = spool.read(place)
    encoded: dict[str, Encoded] = {}
    for part, (chunk, rows) in parts.items():
        encoded[part] = encoder.encode(rows)
        lines += chunk.reject_lines(encoded[part].rejects)
    return num_rows, _in_order(lines), encoded


def _in_order(lines: list[Line]) -> list[Line]:
    return sorted(lines, key=lambda line: int(line["row"]))


def cache_writer(encoder: Encoder, folder: Path, like: Examples) -> CacheWriter:
    """Return what writes a cache of encoded examples, with weights if those of `like` have some."""
    schema = encoder.schema
    return CacheWriter(
        folder,
        encoder.layout,
        num_classes=schema.num_label_codes,
        weights=like.weights is not None,
        groups=schema.group is not None,
    )


def refuse_rejects(folder: Path, num_rows: int, num_rejects: int, max_rejects: float | None) -> None:
    """Raise DataError where a log that was prepared before, perhaps with another limit, has too many rejects.

    Parameters
    ----------
    folder
        Holds the rejects file.
    num_rows, num_rejects
        Of the log.
    max_rejects
        As for `transform`.
    """
    tally = _Tally("", None, max_rejects, ignore)
    if num_rejects:
        with (folder / REJECTS_NAME).open("rb") as file:
            tally.first_reject = msgspec.json.decode(file.readline(), type=Line)
    tally.count(num_rows, num_rejects)
    tally.end()


class _Tally:
    """Counts the rows of a pass, reports the progress, and stops where too many rows are rejected."""

    def __init__(self, name: str, total: int | None, max_rejects: float | None, listen: Listener) -> None:
        self.name, self.total, self.max_rejects, self.listen = name, total, max_rejects, listen
        self.num_rows = self.num_rejects = 0
        self.first_reject: Line | None = None
        self.started = time.perf_counter()

    def add(self, num_rows: int, rejects: Sequence[Line]) -> None:
        """Count the rows of a chunk, and those of them that were rejected."""
        if rejects and self.first_reject is None:
            self.first_reject = min(rejects, key=lambda line: int(line["row"]))
        self.count(num_rows, len(rejects))
        self.listen(Preparing(self.name, self.num_rows, self.total, time.perf_counter() - self.started))

    def count(self, num_rows: int, num_rejects: int) -> None:
        """Count rows, after the first reject has been noted."""
        self.num_rows += num_rows
        self.num_rejects += num_rejects
        if self.max_rejects is not None and self.max_rejects >= 1 and self.num_rejects > self.max_rejects:
            self._stop(f"at most {self.max_rejects:,.0f}")

    def end(self) -> int:
        """Check the share of rejects, and return the number of rows."""
        share = self.max_rejects
        if share is not None and share < 1 and self.num_rejects > share * self.num_rows:
            self._stop(f"at most {share:.4%} of the rows")
        return self.num_rows

    def _stop(self, expected: str) -> None:
        assert self.first_reject is not None
        file, row, column, value, reason = (self.first_reject[key] for key in _LINE_KEYS)
        raise DataError(
            "too many rows cannot be used",
            where=f"{file}, row {row}, the first of them" + (f", column {column}" if column else ""),
            expected=expected,
            got=f"{self.num_rejects:,} of {counted(self.num_rows, 'row')} so far; the first: {reason}: {value!r}",
            fix="repair the log, correct [fields], or allow more with max_rejects",
        )


_LINE_KEYS = ("file", "row", "column", "value", "reason")
