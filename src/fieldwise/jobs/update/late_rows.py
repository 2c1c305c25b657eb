"""Rows whose labels may come later, read and written: those of a log and those that wait, in one order.

All rows are read twice: their keys and moments to decide by (`late`), then those that are needed whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fieldwise.errors import DataError
from fieldwise.features.columns import Columns
from fieldwise.features.labels import Spelling, read_labels
from fieldwise.features.row_digests import row_digests
from fieldwise.jobs.prepare.logs import log_columns
from fieldwise.jobs.update.holdout import content_columns, held_out
from fieldwise.jobs.update.labels import NONE, LateLabels, places_of
from fieldwise.jobs.update.read import FAKE, KIND, LATE, PLAIN, TWIN
from fieldwise.jobs.update.sources import DayRows, RowSource
from fieldwise.jobs.update.waiting import EARLY, LABEL, MOMENT, WaitingRows, WaitingState, keys_of
from fieldwise.schema import Schema
from fieldwise.training.interrupt import Interrupt

__all__ = [
    "CLOSED",
    "OUTLIVED",
    "PASSED",
    "READY",
    "REPEATED",
    "WAITING",
    "KnownRows",
    "LateFiles",
    "LateRows",
    "Look",
]

READY, WAITING, CLOSED, OUTLIVED, REPEATED, PASSED = range(6)
"""What becomes of a row (`result.WaitingCounts`)."""
_FILE_ROWS = 1 << 18

Look = Callable[[pa.Table], None]


class KnownRows(NamedTuple):
    """All rows, (N,): keys, moments, classes known so far, whether they were learned from early, and are new."""

    keys: npt.NDArray[np.uint64]
    moments: npt.NDArray[np.float64]
    classes: npt.NDArray[np.int8]
    early: npt.NDArray[np.bool_]
    new: npt.NDArray[np.bool_]


class LateFiles(NamedTuple):
    """Files that were written: of rows to learn from, and the names of those of rows that wait."""

    ready: list[Path]
    waiting: list[str]


class LateRows:
    """The rows of a log and those that wait."""

    def __init__(
        self, source: RowSource, schema: Schema, before: tuple[WaitingRows, WaitingState], interrupt: Interrupt
    ) -> None:
        self.source, self.schema, self.interrupt = source, schema, interrupt
        self._waiting, self._state = before
        optional = {schema.split} - {*schema.columns}
        wanted = [*log_columns(schema), *([schema.id] if schema.id is not None else [])]
        self.wanted = [name for name in dict.fromkeys(wanted) if name not in optional and name != schema.label]
        self._content = content_columns(schema, self.wanted)
        self._spelling = Spelling(schema.classes)

    def rows(self) -> KnownRows:
        """Return what is decided by."""
        schema = self.schema
        parts: list[tuple[Any, ...]] = [
            (np.zeros(0, np.uint64), np.zeros(0), np.zeros(0, np.int8), np.zeros(0, bool), np.zeros(0, bool))
        ]
        for table in self._tables_waiting():
            size = table.num_rows
            own = (table[name].to_numpy() for name in (MOMENT, LABEL, EARLY))
            parts.append((keys_of(table, schema, self._content), *own, np.zeros(size, bool)))
        label: list[str] = (
            [schema.label] if schema.label in self.source.columns and isinstance(self.source, DayRows) else []
        )
        keyed = [schema.id] if schema.id is not None else self._content
        if schema.id is not None and schema.id not in self.source.columns and self.source.columns:
            raise DataError(
                "the rows have no identifier",
                where=f"column {schema.id}",
                expected="the identifier of each row, sent with its request",
                got=", ".join(list(self.source.columns)[:10]),
            )
        for table in self.interrupt.watch(self.source.tables([*keyed, *label])):
            size = table.num_rows
            if schema.id is not None and schema.id not in table.column_names:
                table = table.append_column(schema.id, pa.nulls(size, pa.string()))
            classes = np.full(size, NONE, np.int8)
            if label:
                labels = read_labels(Columns(table), schema.label, self._spelling, schema.missing)
                places = [self._spelling.place(text) if isinstance(text, str) else NONE for text in labels.texts]
                classes = np.array(places, np.int8)[labels.places]
            keys = keys_of(table, schema, self._content)
            parts.append((keys, self.source.moments(table), classes, np.zeros(size, bool), np.ones(size, bool)))
        return KnownRows(*map(np.concatenate, zip(*parts, strict=True)))

    def write(
        self,
        status: npt.NDArray[np.int8],
        classes: npt.NDArray[np.int8],
        rows: KnownRows,
        late: LateLabels,
        is_early: bool,
        share: float,
        folder: Path,
        look: Look | None,
    ) -> tuple[LateFiles, int]:
        """Write the rows to learn from and those that wait, and return how many were learned from early, too."""
        ready, waiting = _Ready(folder / "ready"), _Waiting(WaitingRows(folder / "waiting"))
        first, num_early = 0, 0
        for table, is_new in self._tables():
            own = slice(first, first + table.num_rows)
            first += table.num_rows
            state = status[own]
            needed = (state == READY) | (state == WAITING)
            chosen = pa.array(needed)
            if is_new and look is not None:
                look(table.filter(pa.array((state != REPEATED) & (state != PASSED))))
            if not needed.any():
                continue
            part = self._complete(table.filter(chosen), late, rows.keys[own][needed])
            state, of, early = state[needed], classes[own][needed], rows.early[own][needed]
            now = np.zeros(len(state), dtype=np.bool_)
            if is_early:
                now = (state == WAITING) & ~early
                if share and now.any():
                    now &= ~held_out(row_digests(part, self._content), share)
                num_early += int(now.sum())
            is_click = now & (of == 1)
            places, kinds = _learned(state == READY, now, is_click, early)
            is_fake = (kinds == FAKE) | (kinds == TWIN)
            ready.add(self._labelled(part.take(pa.array(places)), np.where(is_fake, 0, of[places]), kinds))
            waits = (state == WAITING) & ~is_click
            waiting.add(_marked(part, of, rows.moments[own][needed], early | now).filter(pa.array(waits)))
            done = np.flatnonzero(needed)[is_click]
            status[own][done] = READY
        return LateFiles(ready.close(), waiting.close()), num_early

    def _tables(self) -> Iterator[tuple[pa.Table, bool]]:
        for table in self._tables_waiting():
            yield table, False
        ours = [getattr(self.source, name, None) for name in ("version", "probability")]
        columns = [*self.wanted, *(name for name in ours if name is not None)]
        for table in self.interrupt.watch(self.source.tables(columns)):
            yield table, True

    def _tables_waiting(self) -> Iterator[pa.Table]:
        return (self._waiting.read(name) for name in self._state.files)

    def _complete(self, table: pa.Table, late: LateLabels, keys: npt.NDArray[np.uint64]) -> pa.Table:
        """Return rows with all columns that learning needs, but the label."""
        places = pa.array(places_of(keys, late.keys), mask=places_of(keys, late.keys) < 0)
        columns, time = {}, self.schema.time
        for name in self.wanted:
            own = table[name] if name in table.column_names else None
            if name in late.others.column_names:
                came = late.others[name].take(places)
                own = came if own is None or own.null_count == len(own) else pc.coalesce(came.cast(own.type), own)
            if own is None and time is not None and name == time.column:
                own = table[self.source.moment]
            if own is None and name in self.schema.served:
                own = pa.repeat(pa.scalar(self.schema.served[name]), table.num_rows)
            if own is None and name in self.schema.columns and name in self.source.columns:
                own = pa.nulls(table.num_rows)  # a version that did not read it
            if own is None:
                raise DataError(
                    "the rows lack a column that learning needs",
                    where=f"column {name}",
                    fix="put it beside the labels, in their file",
                )
            columns[name] = own
        return pa.table(columns)

    def _labelled(self, table: pa.Table, classes: npt.NDArray[np.int8], kinds: npt.NDArray[np.int8]) -> pa.Table:
        texts = pa.array(self.schema.classes, pa.string())
        of = texts.take(pa.array(classes.astype(np.int64), mask=classes < 0))
        return table.append_column(self.schema.label, of).append_column(KIND, pa.array(kinds))


def _learned(
    ready: npt.NDArray[np.bool_],
    now: npt.NDArray[np.bool_],
    is_click: npt.NDArray[np.bool_],
    early: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int8]]:
    """Return which rows are learned from, in order, and as what (`read.KIND`): of those whose window is open `now`, a
    click that is known already comes twice, as every other one does.
    """
    places, twice = np.flatnonzero(ready | now), np.flatnonzero(is_click)
    order = np.argsort(np.concatenate([places, twice]), kind="stable")
    kinds = np.select([is_click, now, early], [TWIN, FAKE, LATE], PLAIN).astype(np.int8)
    kinds = np.concatenate([kinds[places], np.full(len(twice), PLAIN, np.int8)])[order]
    return np.concatenate([places, twice])[order], kinds


def _marked(
    table: pa.Table,
    classes: npt.NDArray[np.int8],
    moments: npt.NDArray[np.float64],
    early: npt.NDArray[np.bool_],
) -> pa.Table:
    """Return rows with what is remembered of them while they wait."""
    for name, column in ((LABEL, classes.astype(np.int8)), (MOMENT, moments), (EARLY, early)):
        table = table.append_column(name, pa.array(column))
    return table


class _Ready:
    """Writes files of rows in order; consecutive rows of one schema lie together."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._held, self._files = folder, list[pa.Table](), list[Path]()

    def add(self, table: pa.Table) -> None:
        """Add rows."""
        if not table.num_rows:
            return
        if self._held and not self._held[0].schema.equals(table.schema):
            self._write()
        self._held.append(table)
        if sum(held.num_rows for held in self._held) >= _FILE_ROWS:
            self._write()

    def close(self) -> list[Path]:
        """Write what is left, and return all files."""
        self._write()
        return self._files

    def _write(self) -> None:
        if self._held:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"{len(self._files):06d}.parquet"
            pq.write_table(pa.concat_tables(self._held), path)
            self._files.append(path)
            self._held = []


class _Waiting:
    """Writes files of rows that wait, those of one schema together."""

    def __init__(self, rows: WaitingRows) -> None:
        self._rows, self._held, self._names = rows, dict[str, list[pa.Table]](), list[str]()

    def add(self, table: pa.Table) -> None:
        """Add rows."""
        if table.num_rows:
            held = self._held.setdefault(table.schema.to_string(), [])
            held.append(table)
            if sum(each.num_rows for each in held) >= _FILE_ROWS:
                self._write(table.schema.to_string())

    def close(self) -> list[str]:
        """Write what is left, and return the names of all files."""
        for schema in list(self._held):
            self._write(schema)
        return self._names

    def _write(self, schema: str) -> None:
        self._names.append(self._rows.write_rows(len(self._names), pa.concat_tables(self._held.pop(schema))))
