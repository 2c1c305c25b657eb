"""Room beside memory for what fitting holds: counts of rare values, texts, large tables.

With a folder, arrays beyond an allowance lie in files that are mapped into memory, which the system may write out and
drop when memory is short, and `write` goes to a file. The files have no name: they are gone with the process, however
it ends. Without a folder everything is in memory.
"""

from __future__ import annotations

import io
import mmap
import os
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from fieldwise.io.files import explaining

__all__ = ["Scratch"]

_PIECE_BYTES = 1 << 20
_SMALL_BYTES = 1 << 20


class Scratch:
    """Arrays in memory or in files, and a place to put arrays aside; may be used from several threads.

    Parameters
    ----------
    folder
        Where files are made; None for none.
    memory
        Bytes of arrays that may lie in memory before files are used; arrays below 1 MB always do.

    Examples
    --------
    >>> scratch = Scratch()
    >>> place = scratch.write(np.array([1, 2, 3]))
    >>> scratch.read(place + 8, np.int64, 2).tolist()
    [2, 3]
    """

    def __init__(self, folder: str | Path | None = None, memory: int = 0) -> None:
        self._folder = folder
        self._left = memory
        self._lock = threading.Lock()
        self._aside: IO[bytes] | None = None
        self._end = 0

    def zeros(self, shape: int | tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Return an array of zeros.

        Raises
        ------
        ResourceError
            The disk is full.
        """
        num_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        with self._lock:
            in_memory = self._folder is None or num_bytes < _SMALL_BYTES or num_bytes <= self._left
            if in_memory:
                self._left -= num_bytes
        if in_memory:
            return np.zeros(shape, dtype=dtype)
        assert self._folder is not None
        with explaining(self._folder), tempfile.TemporaryFile(dir=self._folder) as file:
            _allocate(file.fileno(), num_bytes)
            mapped = mmap.mmap(file.fileno(), num_bytes)
        return np.frombuffer(mapped, dtype=dtype).reshape(shape)

    def write(self, *arrays: npt.NDArray[Any]) -> int:
        """Put arrays aside, one after the other, and return the place of the first in bytes."""
        with self._lock, explaining(self._folder or "memory"):
            if self._aside is None:
                self._aside = io.BytesIO() if self._folder is None else tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
            place = self._aside.seek(self._end)
            for array in arrays:
                self._aside.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
            self._end = self._aside.tell()
        return place

    def read(self, place: int, dtype: npt.DTypeLike, count: int) -> npt.NDArray[Any]:
        """Return `count` numbers that were put aside at `place`."""
        with self._lock, explaining(self._folder or "memory"):
            assert self._aside is not None, "write() comes first"
            self._aside.seek(place)
            return np.frombuffer(self._aside.read(count * np.dtype(dtype).itemsize), dtype=dtype)

    def close(self) -> None:
        """Forget what was put aside; arrays stay."""
        with self._lock:
            if self._aside is not None:
                with suppress(OSError):  # closing writes what is buffered, which nobody will read
                    self._aside.close()
            self._aside, self._end = None, 0


def _allocate(file: int, num_bytes: int) -> None:
    """Take the space of a file on the disk: a full disk is an error now, not a signal later."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, num_bytes)
        return
    zeros, place = bytes(_PIECE_BYTES), 0  # macOS
    while place < num_bytes:
        place += os.pwrite(file, zeros[: num_bytes - place], place)
