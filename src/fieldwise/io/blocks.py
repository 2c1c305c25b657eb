"""Lazy verification of a large file: each block is compared with its checksum once, before it is first used.

Opening a file of a billion rows is as fast as opening a small one, and no data is used before it has been verified.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.errors import ArtefactError
from fieldwise.forks import ForkLock
from fieldwise.io.files import checksum, explaining

__all__ = ["BlockVerifier", "FileBlock"]


class FileBlock(NamedTuple):
    """A range of bytes of a file, `offset` to ``offset + num_bytes``, and its checksum."""

    offset: int
    num_bytes: int
    checksum: str


class BlockVerifier:
    """Verifies the blocks of a file on demand and remembers which ones have been verified; thread-safe.

    The file is kept open, so that it can still be read after a newer save has replaced it.

    Parameters
    ----------
    path
        The file.
    blocks
        The blocks, numbered from 0.
    what
        What the file contains, for error messages, e.g. ``the table``.
    fix
        What the user can do if a block is damaged.
    name
        Describes the block of a given number in error messages.
    accept
        Called with the number and the bytes of a block whose checksum matches, before it counts as verified.

    Attributes
    ----------
    verified
        (num_blocks,) bool: whether each block has been verified.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "numbers"
    >>> _ = path.write_bytes(b"good, bad!")
    >>> blocks = BlockVerifier(path, [FileBlock(0, 5, checksum(b"good,")), FileBlock(5, 5, "?")], "file", "copy it")
    >>> blocks.admit(np.array([True, False]))
    >>> blocks.verified.tolist()
    [True, False]
    """

    def __init__(
        self,
        path: Path,
        blocks: list[FileBlock],
        what: str,
        fix: str,
        name: Callable[[int], str] = lambda number: f"block {number}",
        accept: Callable[[int, bytes], None] = lambda number, data: None,
    ) -> None:
        self.path, self.blocks, self.what, self.fix = path, blocks, what, fix
        self.name, self.accept = name, accept
        self.verified = np.zeros(len(blocks), dtype=np.bool_)
        self._lock = ForkLock()
        with explaining(path):
            self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def admit(self, wanted: npt.NDArray[np.bool_]) -> None:
        """Verify the wanted blocks that have not been verified yet.

        Parameters
        ----------
        wanted
            (num_blocks,) bool.

        Raises
        ------
        ArtefactError
            A block is damaged, or the file is missing or cannot be read.
        """
        if not (wanted & ~self.verified).any():
            return
        with self._lock:
            for number in np.flatnonzero(wanted & ~self.verified).tolist():
                self.accept(number, self._read(number))
                self.verified[number] = True

    def verify(self) -> None:
        """Verify all blocks, as `admit` does."""
        self.admit(np.ones(len(self.blocks), dtype=np.bool_))

    def _read(self, number: int) -> bytes:
        block = self.blocks[number]
        # Read, not mapped: if the disk fails or another process truncates the file, reading raises an error, whereas
        # touching the map would kill the process by a signal.
        with explaining(self.path):
            data = _read(self._file, block.offset, block.num_bytes)
        found = checksum(data)
        if found != block.checksum:
            raise ArtefactError(
                f"{self.what} is damaged",
                where=f"{self.path}, {self.name(number)}, bytes {block.offset} to {block.offset + block.num_bytes}",
                expected=f"checksum {block.checksum}",
                got=found,
                fix=self.fix,
            )
        return data


def _read(file: int, offset: int, num_bytes: int) -> bytes:
    """Return up to `num_bytes` bytes; a single `os.pread` reads at most 2 GB."""
    pieces = []
    while num_bytes and (piece := os.pread(file, num_bytes, offset)):
        pieces.append(piece)
        offset, num_bytes = offset + len(piece), num_bytes - len(piece)
    return b"".join(pieces)
