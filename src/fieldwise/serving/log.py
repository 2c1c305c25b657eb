"""What was asked and answered, as Parquet: the log that the next day's training reads when the labels come.

A row of the log is a row of a request:

==================  ==========================================================================================
request_id          given by the client, or made here: a text for each request
request_row         the number of the row in its request, from 0
asked_at            when it was answered, in UTC
model_name          the model
model_version       the version that answered
probability         of the positive class; a list of all for more than two classes
the raw columns     as they came, and the schema's identifier where it came
==================  ==========================================================================================

A raw column of one of these names takes it, and ours has ``served_`` before it. Rows are collected and written by a
thread of its own. A file appears under its name when it is whole, or not at all. Where rows come faster than they can
be written, they are dropped and counted: answers do not wait.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from fieldwise.counted import counted
from fieldwise.data.tables import as_table
from fieldwise.io.files import atomic_file
from fieldwise.serving.refusals import one_line
from fieldwise.serving.rows import Reads, Rows

__all__ = ["RequestLog"]

_OURS = ("request_id", "request_row", "asked_at", "model_name", "model_version", "probability")
_FILE_ROWS = 100_000
_FILE_SECONDS = 60.0
_WAITING_ROWS = 500_000


class _Entry(NamedTuple):
    """A request that was answered."""

    id: str
    time_ns: int
    model: str
    version: str
    reads: Reads
    rows: Rows
    probabilities: npt.NDArray[np.floating[Any]]


class RequestLog:
    """Writes what was asked and answered to a folder.

    Parameters
    ----------
    folder
        Made if there is none. Each model has a folder in it, and each file a name of its own, whoever else writes.
    say
        Is given a line when a file cannot be written.
    file_rows, file_seconds
        A file is written when it has so many rows, or when its first row is so old.
    waiting_rows
        Rows that wait to be written at most.

    Attributes
    ----------
    num_written, num_dropped
        Rows.

    Raises
    ------
    ArtefactError
        The folder cannot be made.
    """

    def __init__(
        self,
        folder: str | Path,
        say: Callable[[str], None],
        *,
        file_rows: int = _FILE_ROWS,
        file_seconds: float = _FILE_SECONDS,
        waiting_rows: int = _WAITING_ROWS,
    ) -> None:
        self._folder, self._say = Path(folder), say
        self._file_rows, self._file_seconds, self._waiting_rows = file_rows, file_seconds, waiting_rows
        with atomic_file(self._folder / ".writable") as file:
            file.write(b"")
        (self._folder / ".writable").unlink()
        self.num_written = self.num_dropped = 0
        self._waiting = 0
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._number = 0
        self._prefix = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}"
        self._ids = f"{time.time_ns():x}-{os.getpid():x}"
        self._next_id = 0
        self._thread = threading.Thread(target=self._write, name="fieldwise-log", daemon=True)
        self._thread.start()

    def add(
        self,
        id_: str | None,
        model: str,
        version: str,
        reads: Reads,
        rows: Rows,
        probabilities: npt.NDArray[np.floating[Any]],
    ) -> None:
        """Take the rows of a request to be written soon, or count them as dropped."""
        num_rows = rows.num_rows
        if not num_rows:
            return
        with self._lock:
            if self._waiting + num_rows > self._waiting_rows:
                self.num_dropped += num_rows
                return
            self._waiting += num_rows
            self._next_id += 1
        if id_ is None:
            id_ = f"{self._ids}-{self._next_id:x}"
        self._queue.put(_Entry(id_, time.time_ns(), model, version, reads, rows, probabilities))

    def close(self) -> None:
        """Write what waits, and end."""
        self._queue.put(None)
        self._thread.join()

    def _write(self) -> None:
        """Write files, until the end."""
        held: dict[str, list[_Entry]] = {}
        num_rows, first = 0, time.monotonic()
        while True:
            wait = None if not num_rows else max(first + self._file_seconds - time.monotonic(), 0)
            try:
                entry = self._queue.get(timeout=wait)
            except queue.Empty:
                entry = None
                is_end = False
            else:
                is_end = entry is None
            if entry is not None:
                first = first if num_rows else time.monotonic()
                held.setdefault(entry.model, []).append(entry)
                num_rows += entry.rows.num_rows
            if is_end or num_rows >= self._file_rows or (num_rows and time.monotonic() - first >= self._file_seconds):
                for model, entries in held.items():
                    self._write_file(model, entries)
                held, num_rows = {}, 0
            if is_end:
                return

    def _write_file(self, model: str, entries: Sequence[_Entry]) -> None:
        num_rows = sum(entry.rows.num_rows for entry in entries)
        # Versions may read other columns, and bags are lists or texts: each has files of its own.
        alike: dict[tuple[str, tuple[bool, ...]], list[_Entry]] = {}
        for entry in entries:
            alike.setdefault((entry.version, entry.rows.form), []).append(entry)
        for (version, _), of_version in alike.items():
            self._write_alike(model, version, of_version)
        with self._lock:
            self._waiting -= num_rows

    def _write_alike(self, model: str, version: str, entries: Sequence[_Entry]) -> None:
        """Write a file; where the requests do not go together, one for each, so that none costs the others theirs."""
        rows = sum(entry.rows.num_rows for entry in entries)
        try:
            table = _table(entries)
        except Exception as error:  # whatever a cell has caused, the thread goes on
            if len(entries) > 1:
                for entry in entries:
                    self._write_alike(model, version, [entry])
            else:
                self._lose(rows, error)
            return
        self._number += 1
        path = self._folder / model / f"{self._prefix}-{self._number:06d}-{version}.parquet"
        try:
            with atomic_file(path) as file:
                pq.write_table(table, file)
        except Exception as error:
            self._lose(rows, error)
        else:
            with self._lock:
                self.num_written += rows

    def _lose(self, rows: int, error: Exception) -> None:
        self._say(f"{counted(rows, 'row')} of the log lost: {one_line(error)}")
        with self._lock:
            self.num_dropped += rows


def _table(entries: Sequence[_Entry]) -> pa.Table:
    """Return the rows of requests to one version as a table."""
    reads = entries[0].reads
    sizes = [entry.rows.num_rows for entry in entries]
    raw: dict[str, list[Any]] = {
        name: [cell for entry in entries for cell in entry.rows.columns[place]]
        for place, name in enumerate(reads.names)
    }
    if reads.id is not None and reads.id not in raw:
        raw[reads.id] = [cell for entry in entries for cell in entry.rows.ids or [None] * entry.rows.num_rows]
    probabilities = np.concatenate([entry.probabilities for entry in entries])
    ours = {
        "request_id": pa.array([entry.id for entry, size in zip(entries, sizes, strict=True) for _ in range(size)]),
        "request_row": pa.array(np.concatenate([np.arange(size, dtype=np.int32) for size in sizes])),
        "asked_at": pa.array(np.repeat([entry.time_ns for entry in entries], sizes), pa.timestamp("ns", "UTC")),
        "model_name": pa.array([entries[0].model] * sum(sizes)),
        "model_version": pa.array([entries[0].version] * sum(sizes)),
        "probability": pa.array(probabilities if probabilities.ndim == 1 else list(probabilities)),
    }
    table = as_table(raw, lambda name: True)
    names = [f"served_{name}" if name in raw else name for name in _OURS]
    return pa.Table.from_arrays([*(ours[name] for name in _OURS), *table.columns], names=[*names, *table.column_names])
