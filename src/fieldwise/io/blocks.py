"""The blocks of a large file, each compared with its checksum once, when it is first touched.

A file of a billion rows is opened as fast as a small one, and nothing of it is used that was not verified.
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

__all__ = ["Block", "BlockVerifier"]


class Block(NamedTuple):
    """Bytes `offset` to ``offset + num_bytes`` of a file, and their checksum."""

    offset: int
    num_bytes: int
    checksum: str


class BlockVerifier:
    """The blocks of one file, and which of them were verified; for many threads.

    The file is held open: what a newer save has replaced can still be read.

    Parameters
    ----------
    path
        The file.
    blocks
        In the order of their numbers.
    what
        What is damaged where a checksum does not fit, as in ``the table``.
    fix
        What to do then.
    name
        Says which block a number stands for.
    accept
        Called with the number and the bytes of a block whose checksum fits, before it counts as verified.

    Attributes
    ----------
    verified
        (blocks,), which were.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "numbers"
    >>> _ = path.write_bytes(b"good, bad!")
    >>> blocks = BlockVerifier(path, [Block(0, 5, checksum(b"good,")), Block(5, 5, "?")], "the file", "write it anew")
    >>> blocks.admit(np.array([True, False]))
    >>> blocks.verified.tolist()
    [True, False]
    """

    def __init__(
        self,
        path: Path,
        blocks: list[Block],
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
        """Verify those of the `wanted` blocks, (blocks,), that were not yet.

        Raises
        ------
        ArtefactError
            One is damaged, or the file is gone or cannot be read.
        """
        if not (wanted & ~self.verified).any():
            return
        with self._lock:
            for number in np.flatnonzero(wanted & ~self.verified).tolist():
                self.accept(number, self._read(number))
                self.verified[number] = True

    def verify(self) -> None:
        """Verify all blocks; see `admit`."""
        self.admit(np.ones(len(self.blocks), dtype=np.bool_))

    def _read(self, number: int) -> bytes:
        block = self.blocks[number]
        # Read, not mapped: where the disk gives nothing back, or another process has cut the file, reading is an error
        # and touching the map is a signal that ends the process.
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
    """Return the bytes that are there, at most `num_bytes`: one call reads no more than 2 GB."""
    pieces = []
    while num_bytes and (piece := os.pread(file, num_bytes, offset)):
        pieces.append(piece)
        offset, num_bytes = offset + len(piece), num_bytes - len(piece)
    return b"".join(pieces)
