"""What the first pass over a log puts aside, so that the second need not read and parse the log again.

::

    record  := for each part of a chunk: its draft (features.drafts) and the numbers of its rows
    bytes   := length of the header, header (msgpack), arrays one after the other, each at a multiple of 8

The file has no name: it is gone with the process, however it ends, and is never taken for a result. It is written and
not synced, and read through a map, so it costs no anonymous memory. Values are numbered, not written: most take one or
two bytes, as in the cache. Where the disk has no room for it besides the cache, it is given up, and the log is read
again: what is written in the end is the same.
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.features.columns import Reject
from fieldwise.features.drafts import ChunkDraft
from fieldwise.features.fields import Draft, narrow

__all__ = ["PartDraft", "Record", "Spool", "most_aside"]

_ALIGNMENT = 8
_JUDGED_BYTES = 1 << 26
"""Written before it is judged whether the whole log will fit."""
_WITH_OFFSETS, _WITH_WEIGHTS = 1, 2


def most_aside(free: int) -> int:
    """Return how many of the bytes that are free may lie aside: the cache takes about as much."""
    return free // 2


class PartDraft(NamedTuple):
    """The rows of a chunk that belong to one part of the log: their file, their numbers in it, and their draft."""

    path: str
    file: int
    rows: npt.NDArray[np.int64]
    draft: ChunkDraft


class Record(NamedTuple):
    """A chunk: its number of rows, the lines of the rejects file that are known, and its parts."""

    num_rows: int
    lines: list[dict[str, Any]]
    parts: dict[str, PartDraft]


class Spool:
    """Records in a file; `write` and `read` may be called from several threads.

    Parameters
    ----------
    folder
        Where the file is made.
    num_rows
        That are to be expected.

    Attributes
    ----------
    places
        Of the records, in the order of the log: kept by whoever writes them.
    is_open
        False once it was given up.
    """

    def __init__(self, folder: Path, num_rows: int) -> None:
        self.places: list[tuple[int, int]] = []
        self._num_rows = max(num_rows, 1)
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            self._file = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._file)  # threads that write or read hold this object
        self._limit = most_aside(shutil.disk_usage(folder).free)
        self._lock = threading.Lock()
        self._end = self._rows_written = 0
        self._map: mmap.mmap | None = None
        self.is_open = True

    @property
    def num_bytes(self) -> int:
        """Of all records so far."""
        return self._end

    def write(self, record: Record) -> tuple[int, int]:
        """Write a record, and return its place; does nothing once the spool is given up."""
        data = _packed(record)
        with self._lock:
            place = self._end
            self._end += len(data)
            self._rows_written += record.num_rows
            expected = self._end * max(self._num_rows / self._rows_written, 1.0)
            if self._end > self._limit or (self._end > _JUDGED_BYTES and expected > self._limit):
                self._give_up()
        try:
            rest = memoryview(data)
            while self.is_open and rest:
                rest = rest[os.pwrite(self._file, rest, place + len(data) - len(rest)) :]
        except OSError:  # the disk is full
            with self._lock:
                self._give_up()
        return place, len(data)

    def read(self, place: tuple[int, int]) -> Record:
        """Read the record at a place; nothing may be written any more."""
        with self._lock:
            if self._map is None:
                self._map = mmap.mmap(self._file, self._end, prot=mmap.PROT_READ)
        begin, length = place
        return _unpacked(memoryview(self._map)[begin : begin + length])

    def close(self) -> None:
        """Forget everything; arrays that were read stay."""
        with self._lock:
            self.is_open = False
            if self._map is None:
                self._give_up()
            self._map = None  # the last array that looks into it takes it along, and the file goes with this object

    def _give_up(self) -> None:
        self.is_open = False
        os.ftruncate(self._file, 0)


class _Part(msgspec.Struct, array_like=True):
    """What the header says of a part; its arrays follow those of the parts before it."""

    name: str
    path: str
    file: int
    first_row: int
    num_rows: int
    rejects: list[Reject]
    forms: list[int]
    with_weights: bool
    with_groups: bool


class _Header(msgspec.Struct, array_like=True):
    num_rows: int
    lines: list[dict[str, Any]]
    parts: list[_Part]
    arrays: list[tuple[str, int]]


def _packed(record: Record) -> bytes:
    parts: list[_Part] = []
    arrays: list[npt.NDArray[Any]] = []
    for name, (path, file, rows, draft) in record.parts.items():
        forms = []
        arrays.append(np.frombuffer(_ipc(draft.label), dtype=np.uint8))
        arrays.append(_steps(rows))
        arrays.append(narrow(draft.accepted) if draft.rejects else np.zeros(0, dtype=np.uint8))
        arrays += [column for column in (draft.weights, draft.groups) if column is not None]
        for values, offsets, weights in draft.fields:
            forms.append(_WITH_OFFSETS * (offsets is not None) + _WITH_WEIGHTS * (weights is not None))
            arrays.append(values)
            arrays += [] if offsets is None else [narrow(np.diff(offsets))]
            arrays += [] if weights is None else [weights]
        parts.append(
            _Part(
                name,
                path,
                file,
                int(rows[0]) if len(rows) else 0,
                len(rows),
                draft.rejects,
                forms,
                draft.weights is not None,
                draft.groups is not None,
            )
        )
    described: list[tuple[str, int]] = [(array.dtype.char, len(array)) for array in arrays]
    header = msgspec.msgpack.encode(_Header(record.num_rows, record.lines, parts, described))
    pieces: list[Any] = [len(header).to_bytes(8, "little"), header, _padding(len(header))]
    for array in arrays:
        pieces += [np.ascontiguousarray(array).data, _padding(array.nbytes)]
    return b"".join(pieces)


def _unpacked(data: memoryview) -> Record:
    end = 8 + int.from_bytes(data[:8], "little")
    header = msgspec.msgpack.decode(data[8:end], type=_Header)
    arrays: list[npt.NDArray[Any]] = []
    for char, length in header.arrays:
        end += -end % _ALIGNMENT
        dtype = np.dtype(char)
        arrays.append(np.frombuffer(data, dtype, length, end) if length else np.zeros(0, dtype=dtype))
        end += length * dtype.itemsize
    following = iter(arrays)
    return Record(header.num_rows, header.lines, {part.name: _part(part, following) for part in header.parts})


def _part(part: _Part, following: Iterator[npt.NDArray[Any]]) -> PartDraft:
    label = pa.ipc.open_stream(pa.py_buffer(next(following))).read_next_batch().column(0)
    steps, accepted = next(following), next(following)
    rows = part.first_row + (steps.astype(np.int64) if len(steps) else np.arange(part.num_rows))
    accepted = accepted.astype(np.int64) if part.rejects else np.arange(part.num_rows)
    weights = next(following) if part.with_weights else None
    groups = next(following) if part.with_groups else None
    fields = [
        Draft(
            next(following),
            np.concatenate([[0], np.cumsum(next(following), dtype=np.int64)]) if form & _WITH_OFFSETS else None,
            next(following) if form & _WITH_WEIGHTS else None,
        )
        for form in part.forms
    ]
    return PartDraft(part.path, part.file, rows, ChunkDraft(fields, label, weights, groups, part.rejects, accepted))


def _steps(rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Return the distances of rows from the first; nothing where they follow one another."""
    if not len(rows) or rows[-1] - rows[0] == len(rows) - 1:
        return np.zeros(0, dtype=np.uint8)
    return narrow(rows - rows[0])


def _padding(num_bytes: int) -> bytes:
    return bytes(-num_bytes % _ALIGNMENT)


def _ipc(column: pa.Array) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    batch = pa.record_batch([column], names=[""])
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()
