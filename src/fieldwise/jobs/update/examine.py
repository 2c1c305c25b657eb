"""What is decided of a day before anything is learned from it: whether it is new, and fit to learn from."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import pyarrow as pa

from fieldwise.bundle import open_bundle
from fieldwise.config import Config
from fieldwise.data.log import Log
from fieldwise.features.encoder import Encoder
from fieldwise.jobs.update.day import summary_of_training
from fieldwise.jobs.update.guards import inspect_day
from fieldwise.jobs.update.head import Head
from fieldwise.jobs.update.holdout import HELD_OUT_NAME, HeldOutDays, HeldOutFile
from fieldwise.jobs.update.judge import auc_of
from fieldwise.jobs.update.read import ReadDay, read_day
from fieldwise.jobs.update.result import UpdateResult
from fieldwise.jobs.update.versions import Record, Versions
from fieldwise.training.interrupt import Interrupt

__all__ = ["Examined", "examine"]


class Examined(NamedTuple):
    """A day that was looked at.

    Attributes
    ----------
    day
        Its rows.
    number
        Its number, were it learned from; days that were count.
    earlier, staying
        The files of rows held out of earlier days: all that wait, and those that the new version is judged by.
    leaving
        Rows that leave the window, and are learned with the day.
    judges
        The rows that the new version is judged by, each table with the number of its day.
    refusals
        Why it is not learned from; empty where it is.
    warnings
        What is unusual about it.
    known
        What became of it, where it was learned from before.
    """

    day: ReadDay
    number: int
    earlier: list[str]
    staying: list[str]
    leaving: list[pa.Table]
    judges: list[tuple[int, pa.Table]]
    refusals: list[str]
    warnings: list[str]
    known: UpdateResult | None = None


def examine(
    log: Log,
    head: Head,
    growing: Encoder,
    versions: Versions,
    record: Record,
    config: Config,
    share: float,
    again: bool,
    interrupt: Interrupt,
) -> Examined:
    """Read a day, let an encoder learn from its rows, and compare it with the days before.

    Parameters
    ----------
    growing
        Goes on from the encoder of `head` (`Head.growing`), and is not finished here.
    share
        Of the rows that are held out.
    again
        Whether a day is learned from whose version is out of use.
    """
    held_days, window = HeldOutDays(versions.run / HELD_OUT_NAME), config.gate.window
    earlier = {name: held_days.read(name) for name in record.held_out}
    day = read_day(log, head.bundle.encoder, growing, [*earlier.values()], share, interrupt)
    learned = record.learned
    number, line = len(learned) + 1, record.line
    same = {n: known for n, known in enumerate(learned, 1) if known.summary.digest == day.summary.digest}
    lost = {n: known for n, known in same.items() if known.version not in line}
    known_before: UpdateResult | None = None
    for known in sorted(same.values(), key=lambda known: known.version not in line):
        is_lost = known.version not in line
        if known.summary.labels == day.summary.labels and not (is_lost and again):
            known_before = UpdateResult(record=known, repeated=True, lost=is_lost)
            return Examined(day, number, [*earlier], [], [], [], [], [], known_before)
    auc = auc_of(head.bundle, day.held) if day.held else None
    day = day._replace(summary=msgspec.structs.replace(day.summary, auc=auc))
    own = {name for name in earlier if HeldOutFile.of(name).day in lost}
    if own:  # of this very day, and judged by once more
        earlier = {name: rows for name, rows in earlier.items() if name not in own}
        day = day._replace(summary=msgspec.structs.replace(day.summary, known=0.0))
    leaving = [earlier[name] for name in held_days.leaving(earlier, number, window)]
    staying = held_days.within(earlier, number, window)
    others = [known for n, known in enumerate(learned, 1) if n not in lost]
    of_training = summary_of_training(open_bundle(versions.bundle(1)).encoder)
    learned_by = {known.summary.digest: known.version for known in others if known.version is not None}
    found = inspect_day(day.summary, [of_training, *(known.summary for known in others)], config.guards, learned_by)
    refusals = [*map(str, found.refusals)]
    if not own and any(known.rows.held_out for known in lost.values()):
        refusals.append("the day has been learned from before, and the rows held out of it are no longer waiting")
    if not refusals and not leaving and not day.learns.any():
        refusals = ["too few rows: all of them are held out, and none is left to learn from"]
    judges = [(HeldOutFile.of(name).day, earlier[name]) for name in staying]
    judges += [(number, rows) for rows in day.held]
    return Examined(day, number, [*earlier], staying, leaving, judges, refusals, [*map(str, found.warnings)])
