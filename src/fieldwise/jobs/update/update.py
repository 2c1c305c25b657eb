"""``fieldwise update``: learn from a day, and publish what came of it where it does no harm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import torch

from fieldwise.config import with_overrides
from fieldwise.distributed.group import Workers
from fieldwise.distributed.world import World
from fieldwise.errors import ConfigError, Stopped
from fieldwise.events import Listener, ignore
from fieldwise.io.stores import local_path
from fieldwise.jobs.predict.rows import named_by
from fieldwise.jobs.run import holding_run, read_config
from fieldwise.jobs.train.team import giving_way, world_of
from fieldwise.jobs.update.head import Head
from fieldwise.jobs.update.job import WORK_NAME, Day, DayJob
from fieldwise.jobs.update.lesson import Lesson
from fieldwise.jobs.update.model import write_state
from fieldwise.jobs.update.result import UpdateResult
from fieldwise.jobs.update.sources import moment_of
from fieldwise.jobs.update.versions import Versions
from fieldwise.training.interrupt import Interrupt, Interrupted, noting_signals

__all__ = ["rollback", "update"]

_SECONDS_FOR_OTHERS = 60.0
"""Workers of a start before this one hold the run until they see that they are left."""
_Made = TypeVar("_Made")


def update(
    run: str | Path,
    data: Any = None,
    *,
    served: Sequence[str | Path] | str | Path = (),
    labels: Sequence[str | Path] | str | Path = (),
    labels_until: str | None = None,
    format: str | None = None,
    gate: bool = True,
    again: bool = False,
    overrides: Sequence[str] = (),
    listen: Listener = ignore,
    workers: Workers | None = None,
) -> UpdateResult:
    """Let the model of a run learn from the log of a day, and publish the new version if it does no harm.

    A day that was given before, under whatever name, changes nothing. If the process is killed at any moment, the same
    call starts again and ends with the same result.

    Parameters
    ----------
    run
        A finished run of `train`.
    data
        Files, globs or folders, or a table in memory (see `Predictor.predict`), with the columns of the fields and of
        the label. The order of the rows is that in which they are learned from.
    served
        In place of `data`: what ``fieldwise serve --log`` wrote, a folder or several, of one model. Rows are joined
        with `labels`; those without one wait in the run while their window, ``update.label_window``, is open.
    labels
        Files with the column of the identifier, ``data.id``, and that of the label, for rows served or waiting.
    labels_until
        The moment up to which labels are known, as ``2026-11-30T04:00``: rows whose window is open then wait.
    format
        File format; by default inferred from the file names, or else that of the training log.
    gate
        Whether rows are held out to judge by, and days and versions may be refused.
    again
        Whether to learn once more from a day whose version was refused or rolled back.
    overrides
        Settings of ``[update]``, ``[gate]`` and ``[guards]`` in place of the run's, as in ``update.keep_days=7``.
    listen
        Called with every event.
    workers
        The processes that learn together, each calling this with the same arguments; the run lies where all of them see
        it. The first one reads the day and decides, and all return the same.

    Returns
    -------
    UpdateResult
        ``record`` has the rows, metrics, and whether the version was published, with the reasons if not.

    Raises
    ------
    ArtefactError
        There is no finished run, or it has no state to continue from.
    ConfigError
        Neither `data` nor `served` is given, or both; another process works in the run; a setting is invalid; or no
        part of the model can learn from a day.
    DataError
        A column is missing, or its field cannot read it.
    Stopped
        SIGTERM or Ctrl-C interrupted the update; nothing has changed.
    WorkerLost
        One of the workers has ended.

    Examples
    --------
    >>> import fieldwise as fw
    >>> fw.update("runs/first", "clicks/2026-11-12.parquet").record.published  # doctest: +SKIP
    True
    """
    folder = local_path(run)
    served, labels = named_by(served), named_by(labels)
    if (data is None) == (not served):
        raise ConfigError(
            "an update learns from the log of a day, or from what a server logged",
            where="--data, --served",
            expected="one of them",
            got="none" if data is None else "both",
        )
    if data is not None and labels and labels_until is None:
        raise ConfigError(
            "late labels are for waiting rows, and rows wait only where it is said up to when labels are known",
            where="--labels",
            fix="add --labels-until, or give the served log",
        )
    if served and again:
        raise ConfigError(
            "served rows are learned from only once",
            where="--again",
            expected="--data",
            fix="to learn from lost rows after all, train again",
        )
    until = moment_of(labels_until) if labels_until is not None else None
    day = Day(data, served, labels, until, format)
    world = world_of(workers)
    # Dropout draws from torch's global generator, whose state is part of what an update goes on from.
    with torch.random.fork_rng(devices=[]), noting_signals() as interrupt, giving_way(interrupt, world):
        try:
            return _together(folder, day, gate, again, overrides, world, interrupt, listen)
        except Interrupted:
            raise Stopped("stopped; nothing was changed, and the same command starts again") from None


def _together(
    run: Path,
    day: Day,
    gate: bool,
    again: bool,
    overrides: Sequence[str],
    world: World,
    interrupt: Interrupt,
    listen: Listener,
) -> UpdateResult:
    """Go through all steps: the first worker decides and writes, and all learn."""
    with ExitStack() as held:
        jobs: list[DayJob] = []

        def begin() -> int | None:
            held.enter_context(holding_run(run, patience=_SECONDS_FOR_OTHERS if world.size > 1 else 0.0))
            config = with_overrides(read_config(run)[0], overrides)
            job = held.enter_context(DayJob.opened(run, config, gate, again, interrupt, listen))
            jobs.append(job)
            lesson = job.read(day)
            if lesson is not None and world.size > 1:
                lesson.tell()
            return None if lesson is None else job.head.version

        def judge() -> tuple[int, str] | None:
            return jobs[0].judge(learned)

        def end() -> UpdateResult:
            return jobs[0].end()

        version = world.first(_stoppable(begin, world, interrupt), int | None)  # type: ignore[arg-type]
        if version is None:
            return world.first(end, UpdateResult)
        if jobs:
            config, head, lesson = jobs[0].config, jobs[0].head, jobs[0].lesson
        else:
            config = with_overrides(read_config(run)[0], overrides)
            head = Head.open(run, version, Versions(run).bundle(version))
            lesson = Lesson.told(run / WORK_NAME)
        learned = lesson.learn(head, config, world, interrupt)
        kept = world.first(judge, tuple[int, str] | None)  # type: ignore[arg-type]
        if kept is not None:
            number, folder = kept
            memories = {name: each.memory for name, each in lesson.encoder.renewed.items()}
            write_state(run, number, learned.stepper, memories, head.state, Path(folder))
        return world.first(end, UpdateResult)


def _stoppable(make: Callable[[], _Made], world: World, interrupt: Interrupt) -> Callable[[], _Made]:
    """Let the first worker stop by itself, while the others wait for it."""

    def call() -> _Made:
        interrupt.alone = True
        try:
            return make()
        except Interrupted:
            raise Stopped("stopped; nothing was changed, and the same command starts again") from None
        finally:
            interrupt.alone = world.size == 1

    return call


def rollback(run: str | Path, to: int | None = None) -> int:
    """Put an earlier version of a run back into use, at once, and return its number.

    The next update continues from it, without what later versions have learned.

    Parameters
    ----------
    run
        A run that was updated.
    to
        The version, >= 1; by default the one that the newest published version continued from. Once that is in use the
        call, repeated, changes nothing.

    Raises
    ------
    ArtefactError
        There is no finished run.
    ConfigError
        There is no such version, or another process works in the run.

    Examples
    --------
    >>> import fieldwise as fw
    >>> fw.rollback("runs/first")  # doctest: +SKIP
    12
    """
    folder = local_path(run)
    with holding_run(folder):
        versions = Versions(folder)
        return versions.rollback(versions.open(), to).current
