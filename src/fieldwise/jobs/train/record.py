"""What happened while a model was trained: a line of JSON for each report of progress, in the run folder.

::

    {"event": "begin", "at": "2026-11-30T08:51:00Z"}                             a process begins, or goes on
    {"event": "train", "seconds": 1.2, "model": "lc-dnn", "memory": 512000000}   a stage begins
    {"event": "progress", "seconds": 2.2, "epoch": 1, "position": 40960, "loss": 0.43, "examples_per_second": 39800.0,
     "auc": 0.71, "memory": 515000000}

Seconds count from the last ``begin``. The file is for people and their reports: nothing is trained by it, so a disk
that is full, or a crash, may cost its last lines and nothing else.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from fieldwise.events import EpochEnd, Event, Listener, Progress, Sampling, StageStart
from fieldwise.io.memory import resident_bytes

__all__ = ["RECORD_NAME", "ProgressLine", "Recorder", "read_record"]

RECORD_NAME = "progress.jsonl"


class ProgressLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the record; of `epoch` and what follows, what the event does not tell is None.

    Attributes
    ----------
    event
        ``begin``, the name of a stage, ``progress``, ``epoch`` or ``sweep``.
    auc
        Of the epoch's examples so far, each answered before it was learned from (`events.Progress`).
    seconds
        Of all processes together.
    memory
        Bytes that the process held (`io.memory.resident_bytes`).
    """

    event: str
    seconds: float = 0.0
    at: str | None = None
    model: str | None = None
    epoch: int | None = None
    position: int | None = None
    loss: float | None = None
    examples_per_second: float | None = None
    auc: float | None = None
    memory: int | None = None


class Recorder:
    """A listener that writes the record, then passes events on.

    Parameters
    ----------
    path
        Lines are added to what is there.
    listen
        Called with every event.
    """

    def __init__(self, path: Path, listen: Listener) -> None:
        self.path, self.listen = path, listen
        self._started = time.monotonic()
        self._write({"event": "begin", "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")})

    def __call__(self, event: Event) -> None:
        """Write an event, and pass it on."""
        told: dict[str, Any] = {}
        if isinstance(event, StageStart):
            told = {"event": event.name, "model": event.model}
        elif isinstance(event, (Progress, EpochEnd)):
            told = {"event": "progress" if isinstance(event, Progress) else "epoch", "epoch": event.epoch}
            told |= {"position": event.position} if isinstance(event, Progress) else {}
            told |= {"loss": event.loss, "examples_per_second": event.examples_per_second}
            told |= {"auc": event.auc} if isinstance(event, Progress) and event.auc is not None else {}
        elif isinstance(event, Sampling):
            told = {"event": "sweep", "epoch": event.sweep}
        if told:
            seconds = round(time.monotonic() - self._started, 3)
            self._write({"seconds": seconds, **told, "memory": resident_bytes()})
        self.listen(event)

    def _write(self, line: dict[str, Any]) -> None:
        try:
            with self.path.open("ab") as file:
                file.write(msgspec.json.encode(line) + b"\n")
        except OSError:  # a record is not worth a training
            pass


def read_record(path: Path) -> list[ProgressLine]:
    """Return the lines of a record, their seconds those of all processes together; broken lines are left out."""
    found: list[ProgressLine] = []
    before = last = 0.0
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            moment = msgspec.json.decode(line, type=ProgressLine)
        except msgspec.MsgspecError:  # the process was killed while it wrote
            continue
        if moment.event == "begin":
            before = last
        last = before + moment.seconds
        found.append(msgspec.structs.replace(moment, seconds=last))
    return found
