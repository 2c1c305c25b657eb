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

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.errors import ConfigError
from fieldwise.jobs.update.labels import CONTRADICTORY, NONE, LateLabels, places_of, read_late_labels
from fieldwise.jobs.update.late_rows import (
    CLOSED,
    OUTLIVED,
    PASSED,
    READY,
    REPEATED,
    WAITING,
    KnownRows,
    LateRows,
    Look,
)
from fieldwise.jobs.update.result import LabelCounts, WaitingCounts
from fieldwise.jobs.update.sources import DayRows, RowSource
from fieldwise.jobs.update.waiting import Ledger, WaitingRows, WaitingState
from fieldwise.schema import Schema
from fieldwise.training.interrupt import Interrupt
from fieldwise.training.update_config import UpdateConfig

__all__ = ["Gathered", "gather"]

_DAY = 86_400
_REMEMBERED = 2
"""Windows for which the ledger knows rows."""


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
    job = LateRows(source, schema, before, interrupt)
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
    unlabelled = (status == READY) & (classes == NONE) & (rows.keys != 0)
    classes[unlabelled] = 0
    files, early = job.write(status, classes, rows, late, is_early, share, folder, look)
    is_done = (status == READY) | (status == CLOSED) | (status == OUTLIVED)
    horizon = max(now - _REMEMBERED * window, -np.inf if state.horizon is None else state.horizon)
    new_state = state
    if is_done.any() or files.waiting != state.files:
        parts = [tuple(ledger), (rows.keys[is_done], rows.moments[is_done], classes[is_done])]
        kept = Ledger.of(parts, horizon)
        name = WaitingRows(folder / "waiting").write_ledger(kept) if len(kept.keys) else None
        new_state = WaitingState(files=files.waiting, ledger=name, horizon=horizon if np.isfinite(horizon) else None)
    found = late.counted(rows.keys[(status != REPEATED) & (status != PASSED)], ledger)
    found = msgspec.structs.replace(
        found, used=found.used - num_refused, contradictory=found.contradictory + num_refused
    )
    of = {name: int((status == code).sum()) for name, code in _NAMES.items()}
    of["passed"] += source.num_passed
    counts = WaitingCounts(
        read=int(rows.new.sum()) + source.num_passed,
        waited=int((~rows.new).sum()),
        early=early,
        unidentified=int(((status == READY) & (rows.keys == 0)).sum()),
        **of,
    )
    return Gathered(files.ready, new_state, folder / "waiting", counts, found, _warnings(counts, found))


_NAMES = {
    "ready": READY,
    "waiting": WAITING,
    "closed": CLOSED,
    "outlived": OUTLIVED,
    "repeated": REPEATED,
    "passed": PASSED,
}


def _no_labels() -> LateLabels:
    return LateLabels(np.zeros(0, np.uint64), np.zeros(0, np.int8), pa.table({}), LabelCounts())


def _joined(rows: KnownRows, late: LateLabels, num_classes: int) -> tuple[npt.NDArray[np.int8], int]:
    """Return the class of every row, and how many labels contradict one that was known and is no late click."""
    came = late.of(rows.keys)
    is_late_click = (rows.classes == 0) & (came == 1) & (num_classes == 2)
    refused = (rows.classes >= 0) & (came >= 0) & (rows.classes != came) & ~is_late_click
    classes = np.where(came == NONE, rows.classes, came)
    return np.where(refused, CONTRADICTORY, classes).astype(np.int8), int(refused.sum())


def _status(
    rows: KnownRows,
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
    status = np.full(len(rows.keys), WAITING, dtype=np.int8)
    status[plain & settled] = READY
    if not taken_as_negative:
        status[plain & closed & ~labelled] = OUTLIVED
    status[plain & (lost | (classes == CONTRADICTORY))] = READY
    status[rows.early & closed] = CLOSED
    status[rows.early & (classes == 1)] = READY
    status[is_known] = REPEATED
    if horizon is not None:
        status[rows.new & (rows.moments < horizon)] = PASSED
    return status


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
