"""The versions of a run that is updated, and which of them is in use.

::

    RUN/bundle/                 the model that was trained: version 1
    RUN/versions/1/, 2/, ...    a bundle each, the first the same files as in RUN/bundle
    RUN/versions/current        the number of the version in use; replaced by a rename
    RUN/versions/updates.json   what happened on each day: the one thing that says what has been done
    RUN/refused/7/              a version that was not published, for inspection
    RUN/state/00000002/         what training goes on from after version 2 (`training.kept_state`)

An update writes the bundle and the state of a version and the rows that it keeps, then the record, then the pointer,
then it removes what the record no longer names. Killed before the record is there, it has done nothing that counts;
killed after it, all that is left to do follows from the record. So whoever takes the run makes it first what the record
says (`Versions.open`): an update, a rollback, or a `fieldwise forget`, whatever was killed there.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec

from fieldwise.bundle import CURRENT_NAME, VERSIONS_NAME
from fieldwise.errors import ConfigError
from fieldwise.io.files import discard, explaining, remove_unfinished, sync_folder, write_bytes
from fieldwise.io.manifests import read_manifest, write_manifest
from fieldwise.jobs.update.holdout import HELD_OUT_NAME, HeldOutDays
from fieldwise.jobs.update.result import DayRecord
from fieldwise.jobs.update.waiting import WAITING_NAME, WaitingRows, WaitingState
from fieldwise.training.kept_state import state_folder

__all__ = ["RECORD_NAME", "Record", "Versions", "read_record", "versions_in"]

_FORMAT, _FORMAT_VERSION, RECORD_NAME = "fieldwise-updates", 1, "updates.json"


class Kept(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The versions that are kept: bundles that were published, those that were refused, and states, ascending."""

    published: list[int]
    refused: list[int]
    states: list[int]


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What has been done to a run.

    Attributes
    ----------
    current
        The version in use.
    head
        The version that training goes on from: the one in use, or one that there were too few examples to judge by.
    days
        Each day that was given, in order; those that were refused too.
    held_out
        The files of rows that are held out, and that the version of `head` has not learned from (`holdout`).
    waiting
        The files of rows whose labels have not come (`waiting`).
    kept
        The versions that are kept; None in records of before, where nothing is removed.
    """

    current: int = 1
    head: int = 1
    days: list[DayRecord] = []
    held_out: list[str] = []
    waiting: WaitingState = WaitingState()
    kept: Kept | None = None

    @property
    def learned(self) -> list[DayRecord]:
        """The days that were learned from, in order."""
        return [day for day in self.days if day.version is not None]

    @property
    def newest(self) -> int:
        """The highest version so far, published or not."""
        return max((day.version for day in self.days if day.version is not None), default=1)

    @property
    def line(self) -> set[int]:
        """The version of `head`, that which it went on from, and so on: later updates have learned from their days."""
        bases = {day.version: day.base for day in self.days}
        found, version = set[int](), bases.get(self.head)
        while version is not None:
            found.add(version)
            version = bases.get(version)
        return found | {self.head}

    def has_lost(self, day: DayRecord) -> bool:
        """Whether a version learned from a day that the version of `head` does not go on from."""
        return day.version is not None and day.version not in self.line

    @property
    def published(self) -> list[int]:
        """The versions that were published, ascending."""
        return [1, *(day.version for day in self.days if day.published and day.version is not None)]

    def keeping(self, num_states: int, num_bundles: int) -> Record:
        """Return the record with what is kept of all versions: of the newest `num_states` that were published the state
        and the bundle, of `num_bundles` the bundle; the first, the one in use and the one that is gone on from.
        """
        published, own = self.published, {self.current, self.head}
        bundles = {1, *published[-max(num_states, num_bundles) :], *own}
        kept = Kept(
            published=sorted(bundles & {*published}),
            refused=sorted({self.newest, self.head} - {*published}),
            states=sorted({*published[-num_states:], *own}),
        )
        return msgspec.structs.replace(self, kept=kept)


def read_record(run: Path) -> Record:
    """Return what has been done to a run; nothing before the first update.

    Raises
    ------
    ArtefactError
        The record is damaged.
    """
    path = run / VERSIONS_NAME / RECORD_NAME
    if not path.exists():
        return Record()
    return read_manifest(path, Record, format=_FORMAT, version=_FORMAT_VERSION)[0]


def versions_in(folder: Path) -> list[Path]:
    """Return the folders that are named by a number, ascending; copies under other names are no versions."""
    return sorted((path for path in folder.glob("*") if path.name.isdecimal()), key=lambda path: int(path.name))


class Versions:
    """The versions of the run in a folder that this process holds (`jobs.run.holding_run`)."""

    def __init__(self, run: Path) -> None:
        self.run, self.folder = run, run / VERSIONS_NAME

    def open(self) -> Record:
        """Return what has been done, after the run was made what that says."""
        record = read_record(self.run)
        remove_unfinished(self.run)
        self._settle(record)
        return record

    def _settle(self, record: Record) -> None:
        """Point to the version in use, and remove all that the record does not name."""
        if self.folder.exists():
            self._point(record)
        kept = {} if record.kept is None else msgspec.structs.asdict(record.kept)
        for name, folder in (
            ("published", self.folder),
            ("refused", self.run / "refused"),
            ("states", self.run / "state"),
        ):
            for path in versions_in(folder):
                version = int(path.name)
                if version > record.newest or version not in kept.get(name, [version]):
                    discard(path)
            remove_unfinished(folder)
        WaitingRows(self.run / WAITING_NAME).keep_only(record.waiting.names)
        HeldOutDays(self.run / HELD_OUT_NAME).keep_only(record.held_out)

    def bundle(self, version: int) -> Path:
        """Return the folder of a version's bundle, published or not."""
        own = self.folder / str(version)
        if own.exists():
            return own
        return self.run / "bundle" if version == 1 else self.refused(version)

    def refused(self, version: int) -> Path:
        """Return the folder of a version that was not published."""
        return self.run / "refused" / str(version)

    def begin(self, record: Record) -> None:
        """Say which version is in use before there is another one: who finds several without that takes the highest."""
        self._first()
        self._point(record)

    def commit(self, record: Record) -> None:
        """Make it so: all that it names is there."""
        self._first()
        write_manifest(self.folder / RECORD_NAME, record, format=_FORMAT, version=_FORMAT_VERSION)
        self._settle(record)

    def place(self, temporary: Path, folder: Path) -> None:
        """Give a whole bundle its name."""
        discard(folder)
        with explaining(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            temporary.rename(folder)
            sync_folder(folder.parent)

    def rollback(self, record: Record, to: int | None = None) -> Record:
        """Use an earlier version: `to`, or the one that the newest published version went on from. Without `to` nothing
        changes where the newest is out of use already, so that a call which was killed can be repeated.

        Raises
        ------
        ConfigError
            There is no such version.
        """
        if to is None and record.current != record.published[-1]:
            return record
        kept = [
            version
            for version in record.published
            if (self.folder / str(version)).exists() and state_folder(self.run, version).exists()
        ]
        before = [version for version in kept if version < record.current and version in record.line]
        target = (before[-1] if before else None) if to is None else to
        if target not in kept:
            others = ", ".join(str(version) for version in kept if version != record.current)
            raise ConfigError(
                "there is no such version to go back to",
                where=self.run,
                expected=f"one of {others}" if others else f"another version than {record.current}, which is in use",
                got="none before it" if target is None else target,
                fix=None if others else "an update whose version is published makes one",
            )
        record = msgspec.structs.replace(record, current=target, head=target)
        self.commit(record)
        return record

    def _point(self, record: Record) -> None:
        pointer, text = self.folder / CURRENT_NAME, str(record.current).encode()
        if not pointer.exists() or pointer.read_bytes().strip() != text:
            write_bytes(pointer, text + b"\n")

    def _first(self) -> None:
        """Have version 1 beside the others: the same files, or copies where a file system has no links."""
        first = self.folder / "1"
        if first.exists():
            return
        temporary = self.folder / ".1.tmp"
        with explaining(temporary):
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            for path in (self.run / "bundle").iterdir():
                if path.is_file() and not path.name.startswith("."):
                    try:
                        os.link(path, temporary / path.name)
                    except OSError:
                        shutil.copy2(path, temporary / path.name)
            sync_folder(temporary)
        self.place(temporary, first)
