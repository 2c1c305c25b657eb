r"""Rows whose labels come after them: which are learned from now, which wait, and what is known too late.

A row that was answered at t has an open window until t + ``update.label_window``. With ``late_labels = "wait"`` a row
without a label waits while its window is open. With ``--labels-until M`` labels are not final before their window
closes at M or earlier, so rows with a label wait too.

Waiting makes a model a window older. With ``late_labels = "fake-negatives"`` a row with an open window is learned from
at once as no click, and once more, as a click, when its click comes (Ktena et al. 2019, *Addressing delayed feedback
for continuous training with neural networks in CTR prediction*, the loss weighted for fake negatives). With p the true
probability and f the model's, rows like this one come p times as a click and each time as no click, so the loss

    - p log f - (1 - g) log (1 - f)        g = f, without a gradient

has the slope p (1 - f) - (1 - f) f in the logit, which is 0 at f = p: negatives have the weight 1 - f, and however late
the clicks come, none is counted as a negative for good. (The paper divides all weights by 1 - b, b = p / (1 + p) the
share of clicks among such rows, which changes the importance of rows and not where the slope is 0.) Without the weight
the loss is least at p / (1 + p).

Rows that the gate holds out wait in both ways: it judges by labels that are final.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fieldwise.errors import ConfigError, DataError
from fieldwise.features.columns import Columns
from fieldwise.features.labels import Spelling, read_labels
from fieldwise.features.row_digests import row_digests
from fieldwise.jobs.prepare.logs import log_columns
from fieldwise.jobs.update.holdout import content_columns, held_out
from fieldwise.jobs.update.labels import CONTRADICTORY, NONE, LateLabels, places_of, read_late_labels
from fieldwise.jobs.update.read import FAKE, KIND, LATE, PLAIN, TWIN
from fieldwise.jobs.update.result import LabelCounts, WaitingCounts
from fieldwise.jobs.update.sources import DayRows, RowSource
from fieldwise.jobs.update.waiting import EARLY, LABEL, MOMENT, Ledger, WaitingRows, WaitingState, keys_of
from fieldwise.schema import Schema
from fieldwise.training.interrupt import Interrupt
from fieldwise.training.update_config import UpdateConfig

__all__ = ["Gathered", "gather"]

_DAY = 86_400
_REMEMBERED = 2
"""Windows for which the ledger knows rows."""
_FILE_ROWS = 1 << 18
_READY, _WAITING, _CLOSED, _OUTLIVED, _REPEATED, _PASSED = range(6)

Look = Callable[[pa.Table], None]


class Gathered(NamedTuple):
    """What there is to learn from, and what waits.

    Attributes
    ----------
    files
        Parquet files of rows to learn from, in order; their column `read.KIND` says which are fake negatives.
    state
        What the record says of waiting rows, when these have been learned from.
    folder
        Of the new files that it names.
    counts, labels
        See there.
    warnings
        What should be known of them.
    """

    files: list[Path]
    state: WaitingState
    folder: Path
    counts: WaitingCounts
    labels: LabelCounts
    warnings: list[str]


class _Rows(NamedTuple):
    """All rows, (N,): keys, moments, classes known so far, whether they were learned from early, and are new."""

    keys: npt.NDArray[np.uint64]
    moments: npt.NDArray[np.float64]
    classes: npt.NDArray[np.int8]
    early: npt.NDArray[np.bool_]
    new: npt.NDArray[np.bool_]


def gather(
    source: RowSource,
    labels: Sequence[str | Path],
    until: float | None,
    schema: Schema,
    settings: UpdateConfig,
    share: float,
    before: tuple[WaitingRows, WaitingState],
    folder: Path,
    interrupt: Interrupt,
    look: Look | None = None,
) -> Gathered:
    """Join rows with their labels, and part those that are learned from from those that wait.

    Parameters
    ----------
    labels
        Files of labels; see `labels`.
    until
        The moment, in seconds since 1970, up to which labels are known. Without it a label is final, and the newest row
        says what time it is.
    share
        Of the rows that are held out.
    before
        The rows that wait from before, and what the record says of them.
    folder
        An empty one, for files.
    look
        Is given the new rows as they are in the source.

    Raises
    ------
    ConfigError
        The model knows of no identifier, but labels are given; or not of two classes, where fake negatives are learned.
    DataError
        A column is missing.
    """
    is_early = settings.late_labels == "fake-negatives"
    if is_early and len(schema.classes) != 2:
        raise ConfigError(
            "fake negatives are for models of two classes",
            where="update.late_labels",
            got=f"{len(schema.classes)} classes",
            fix='set it to "wait"',
        )
    job = _Job(source, schema, before, interrupt)
    needs_labels = bool(labels) or not isinstance(source, DayRows)
    late = read_late_labels(labels, schema, job.wanted) if needs_labels else _no_labels()
    rows = job.rows()
    waiting, state = before
    ledger = waiting.ledger(state)
    classes, num_refused = _joined(rows, late, len(schema.classes))
    window = settings.label_window * _DAY
    known = rows.moments[np.isfinite(rows.moments)]
    now = float(known.max()) if until is None and len(known) else until
    now = -np.inf if now is None else now
    status = _status(rows, classes, ledger, state.horizon, now - window, until is not None, settings)
    unlabelled = (status == _READY) & (classes == NONE) & (rows.keys != 0)
    classes[unlabelled] = 0
    files, early = job.write(status, classes, rows, late, is_early, share, folder, look)
    is_done = (status == _READY) | (status == _CLOSED) | (status == _OUTLIVED)
    horizon = max(now - _REMEMBERED * window, -np.inf if state.horizon is None else state.horizon)
    new_state = state
    if is_done.any() or files.waiting != state.files:
        parts = [tuple(ledger), (rows.keys[is_done], rows.moments[is_done], classes[is_done])]
        kept = Ledger.of(parts, horizon)
        name = WaitingRows(folder / "waiting").write_ledger(kept) if len(kept.keys) else None
        new_state = WaitingState(files=files.waiting, ledger=name, horizon=horizon if np.isfinite(horizon) else None)
    found = late.counted(rows.keys[(status != _REPEATED) & (status != _PASSED)], ledger)
    found = msgspec.structs.replace(
        found, used=found.used - num_refused, contradictory=found.contradictory + num_refused
    )
    of = {name: int((status == code).sum()) for name, code in _NAMES.items()}
    of["passed"] += source.num_passed
    counts = WaitingCounts(
        read=int(rows.new.sum()) + source.num_passed,
        waited=int((~rows.new).sum()),
        early=early,
        unidentified=int(((status == _READY) & (rows.keys == 0)).sum()),
        **of,
    )
    return Gathered(files.ready, new_state, folder / "waiting", counts, found, _warnings(counts, found))


_NAMES = {
    "ready": _READY,
    "waiting": _WAITING,
    "closed": _CLOSED,
    "outlived": _OUTLIVED,
    "repeated": _REPEATED,
    "passed": _PASSED,
}


def _no_labels() -> LateLabels:
    return LateLabels(np.zeros(0, np.uint64), np.zeros(0, np.int8), pa.table({}), LabelCounts())


def _joined(rows: _Rows, late: LateLabels, num_classes: int) -> tuple[npt.NDArray[np.int8], int]:
    """Return the class of every row, and how many labels contradict one that was known and is no late click."""
    came = late.of(rows.keys)
    is_late_click = (rows.classes == 0) & (came == 1) & (num_classes == 2)
    refused = (rows.classes >= 0) & (came >= 0) & (rows.classes != came) & ~is_late_click
    classes = np.where(came == NONE, rows.classes, came)
    return np.where(refused, CONTRADICTORY, classes).astype(np.int8), int(refused.sum())


def _status(
    rows: _Rows,
    classes: npt.NDArray[np.int8],
    ledger: Ledger,
    horizon: float | None,
    closed_before: float,
    are_late: bool,
    settings: UpdateConfig,
) -> npt.NDArray[np.int8]:
    """Return what becomes of each row, (N,)."""
    is_first = np.zeros(len(rows.keys), dtype=np.bool_)
    is_first[np.unique(rows.keys, return_index=True)[1]] = True
    is_known = (rows.keys != 0) & (~is_first | (places_of(rows.keys, ledger.keys) >= 0)) & rows.new
    closed, labelled, plain = rows.moments <= closed_before, classes != NONE, ~rows.early
    settled = closed if are_late or settings.late_labels == "fake-negatives" else closed | labelled
    taken_as_negative = settings.unlabelled == "negative" or settings.late_labels == "fake-negatives"
    lost = (rows.keys == 0) & ~labelled
    status = np.full(len(rows.keys), _WAITING, dtype=np.int8)
    status[plain & settled] = _READY
    if not taken_as_negative:
        status[plain & closed & ~labelled] = _OUTLIVED
    status[plain & (lost | (classes == CONTRADICTORY))] = _READY
    status[rows.early & closed] = _CLOSED
    status[rows.early & (classes == 1)] = _READY
    status[is_known] = _REPEATED
    if horizon is not None:
        status[rows.new & (rows.moments < horizon)] = _PASSED
    return status


class _Files(NamedTuple):
    """Files that were written: of rows to learn from, and the names of those of rows that wait."""

    ready: list[Path]
    waiting: list[str]


class _Job:
    """Reads all rows twice: their keys and moments to decide, then those that are needed whole."""

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

    def rows(self) -> _Rows:
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
        return _Rows(*map(np.concatenate, zip(*parts, strict=True)))

    def write(
        self,
        status: npt.NDArray[np.int8],
        classes: npt.NDArray[np.int8],
        rows: _Rows,
        late: LateLabels,
        is_early: bool,
        share: float,
        folder: Path,
        look: Look | None,
    ) -> tuple[_Files, int]:
        """Write the rows to learn from and those that wait, and return how many were learned from early, too."""
        ready, waiting = _Ready(folder / "ready"), _Waiting(WaitingRows(folder / "waiting"))
        first, num_early = 0, 0
        for table, is_new in self._tables():
            own = slice(first, first + table.num_rows)
            first += table.num_rows
            state = status[own]
            needed = (state == _READY) | (state == _WAITING)
            chosen = pa.array(needed)
            if is_new and look is not None:
                look(table.filter(pa.array((state != _REPEATED) & (state != _PASSED))))
            if not needed.any():
                continue
            part = self._complete(table.filter(chosen), late, rows.keys[own][needed])
            state, of, early = state[needed], classes[own][needed], rows.early[own][needed]
            now = np.zeros(len(state), dtype=np.bool_)
            if is_early:
                now = (state == _WAITING) & ~early
                if share and now.any():
                    now &= ~held_out(row_digests(part, self._content), share)
                num_early += int(now.sum())
            # A click that is known already comes twice, as every other one does.
            is_click = now & (of == 1)
            places, twice = np.flatnonzero((state == _READY) | now), np.flatnonzero(is_click)
            order = np.argsort(np.concatenate([places, twice]), kind="stable")
            kinds = np.select([is_click, now, early], [TWIN, FAKE, LATE], PLAIN).astype(np.int8)
            kinds = np.concatenate([kinds[places], np.full(len(twice), PLAIN, np.int8)])[order]
            places = np.concatenate([places, twice])[order]
            is_fake = (kinds == FAKE) | (kinds == TWIN)
            ready.add(self._labelled(part.take(pa.array(places)), np.where(is_fake, 0, of[places]), kinds))
            waits = (state == _WAITING) & ~is_click
            waiting.add(_marked(part, of, rows.moments[own][needed], early | now).filter(pa.array(waits)))
            done = np.flatnonzero(needed)[is_click]
            status[own][done] = _READY
        return _Files(ready.close(), waiting.close()), num_early

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


def _warnings(counts: WaitingCounts, labels: LabelCounts) -> list[str]:
    """Say what was left out."""
    said = (
        (counts.outlived, "rows are left out: their window closed without a label"),
        (counts.passed, "rows are passed over: they are older than two windows, learned from or too late"),
        (counts.unidentified, "rows have no identifier, so that no label finds them: rejected"),
        (labels.unknown, "labels are of no row that is known"),
        (labels.contradictory, "labels contradict one another, or what was learned: not used"),
        (labels.unreadable, "rows of the labels have no identifier, or none of the model's classes"),
    )
    return [f"{count:,} {text}" for count, text in said if count]
