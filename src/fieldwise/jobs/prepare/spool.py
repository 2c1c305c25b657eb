"""What the first pass over a log puts aside, so that the second need not read and parse the log again.

::

    record  := for each part of a chunk: the rows as the encoder has read them, and their numbers in their file
    bytes   := length of the header, header (msgpack), arrays one after the other, each at a multiple of 8

The file has no name: it is gone with the process, however it ends, and is never taken for a result. It is written and
not synced, and read through a map, so it costs no anonymous memory. Arrays are written in the narrowest type that holds
them: most values take one or two bytes, as in the cache. Where the disk has no room for it besides the cache, it is
given up, and the log is read again: what is written in the end is the same.
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.data.chunk import Chunk
from fieldwise.features.cells import NO_FINGERPRINTS, Cells, ReadRows
from fieldwise.features.columns import Reject
from fieldwise.features.labels import Labels

__all__ = ["Record", "Spool", "most_aside"]

_ALIGNMENT = 8
_NO_TABLE = pa.table({})
_JUDGED_BYTES = 1 << 26
"""Written before it is judged whether the whole log will fit."""


def most_aside(free: int) -> int:
    """Return how many of the bytes that are free may lie aside: the cache takes about as much."""
    return free // 2


class Record(NamedTuple):
    """A chunk of the log.

    Attributes
    ----------
    num_rows
        How many rows it has.
    lines
        Those of the rejects file that are known.
    parts
        The rows of each part of the log: where they come from, without their table, and as the encoder has read them.
    """

    num_rows: int
    lines: list[dict[str, Any]]
    parts: dict[str, tuple[Chunk, ReadRows]]


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


class _OfPart(msgspec.Struct, array_like=True):
    """What the header says of a part: all that is no array, and the names of its arrays and of those of its fields."""

    path: str
    file: int
    first_number: int
    num_rows: int
    texts: list[Any]  # str | bytes | None, which msgspec does not tell apart
    written: list[str]
    rejects: list[Reject]
    arrays: list[str]
    fields: list[tuple[str, int, list[str]]]


class _Header(msgspec.Struct, array_like=True):
    num_rows: int
    lines: list[dict[str, Any]]
    parts: dict[str, _OfPart]
    arrays: list[tuple[str, int]]


def _packed(record: Record) -> bytes:
    arrays: list[npt.NDArray[Any]] = []

    def put(named: Mapping[str, npt.NDArray[Any] | None]) -> list[str]:
        present = {name: array for name, array in named.items() if array is not None}
        arrays.extend(map(_narrow, present.values()))
        return list(present)

    parts: dict[str, _OfPart] = {}
    for name, (chunk, rows) in record.parts.items():
        assert rows.labels is not None
        numbers = chunk.rows
        first = int(numbers[0]) if len(numbers) else 0
        follow = not len(numbers) or numbers[-1] - first == len(numbers) - 1
        of_rows = {
            "steps": None if follow else numbers - first,
            "places": rows.labels.places,
            "accepted": rows.accepted if rows.rejects else None,
            "weights": rows.weights,
            "groups": rows.groups,
        }
        names = put(of_rows)
        fields = [(field, cells.num_cut, put(_of_cells(cells))) for field, cells in rows.cells.items()]
        texts, written, _ = rows.labels
        parts[name] = _OfPart(chunk.path, chunk.file, first, len(numbers), texts, written, rows.rejects, names, fields)
    described: list[tuple[str, int]] = [(array.dtype.char, len(array)) for array in arrays]
    header = msgspec.msgpack.encode(_Header(record.num_rows, record.lines, parts, described))
    pieces: list[Any] = [len(header).to_bytes(8, "little"), header, _padding(len(header))]
    for array in arrays:
        pieces += [np.ascontiguousarray(array).data, _padding(array.nbytes)]
    return b"".join(pieces)


def _of_cells(cells: Cells) -> dict[str, npt.NDArray[Any] | None]:
    """Return the arrays of a field; the weights of a bag only where they are not all 1."""
    weights = cells.weights
    return {
        "fingerprints": cells.fingerprints if cells.codes is None and cells.numbers is None else None,
        "codes": cells.codes,
        "numbers": cells.numbers,
        "lengths": None if cells.offsets is None else np.diff(cells.offsets),
        "weights": None if weights is None or (weights == 1).all() else weights,
    }


def _narrow(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the same numbers, the whole ones of them 0 or more, in the narrowest type that holds them all."""
    if array.dtype.kind != "f":
        return array.astype(np.min_scalar_type(int(array.max(initial=0))), copy=False)
    with np.errstate(over="ignore"):
        narrower = array.astype(np.float32, copy=False)
    return narrower if np.array_equal(narrower, array, equal_nan=True) else array


def _padding(num_bytes: int) -> bytes:
    return bytes(-num_bytes % _ALIGNMENT)


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
    return Record(header.num_rows, header.lines, {name: _part(of, following) for name, of in header.parts.items()})


def _part(of: _OfPart, following: Iterator[npt.NDArray[Any]]) -> tuple[Chunk, ReadRows]:
    arrays = dict(zip(of.arrays, following, strict=False))
    everything = np.arange(of.num_rows)
    groups = arrays.get("groups")
    rows = ReadRows(
        labels=Labels(of.texts, of.written, arrays["places"]),
        weights=arrays.get("weights"),
        groups=None if groups is None else groups.astype(np.uint64, copy=False),
        rejects=of.rejects,
        accepted=arrays.get("accepted", everything).astype(np.int64, copy=False),
        cells={name: _cells(dict(zip(names, following, strict=False)), cut) for name, cut, names in of.fields},
    )
    numbers = of.first_number + arrays.get("steps", everything).astype(np.int64)
    return Chunk(_NO_TABLE, of.path, of.file, numbers, []), rows


def _cells(arrays: Mapping[str, npt.NDArray[Any]], num_cut: int) -> Cells:
    numbers = arrays.get("numbers")
    found = Cells(
        fingerprints=arrays.get("fingerprints", NO_FINGERPRINTS).astype(np.uint64, copy=False),
        codes=arrays.get("codes"),
        numbers=None if numbers is None else numbers.astype(np.float64, copy=False),
        num_cut=num_cut,
    )
    if "lengths" not in arrays:
        return found
    offsets = np.concatenate([[0], np.cumsum(arrays["lengths"], dtype=np.int64)])
    weights = arrays.get("weights")
    return found._replace(offsets=offsets, weights=np.ones(offsets[-1], np.float32) if weights is None else weights)
