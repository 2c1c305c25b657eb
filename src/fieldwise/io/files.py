"""Atomic file writes, checksums, and the translation of system errors into messages.

A file is written under a temporary name in the same folder, synced and renamed, and the folder is synced: a reader sees
either the old or the new file, never a partial one, even after a power failure. Every cache, bundle and run folder
consists of such files, in the formats of `manifests` and `arrays`.

Checksums are xxh3 (128 bits, hexadecimal): they detect damage, not tampering.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import io
import mmap
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import xxhash

from fieldwise.errors import ArtefactError, ResourceError, UserError

__all__ = [
    "MAX_HEADER_BYTES",
    "RESTORE",
    "atomic_file",
    "checksum",
    "discard",
    "explaining",
    "map_file",
    "remove_leftovers",
    "remove_unfinished",
    "require_file",
    "sync_folder",
    "write_bytes",
]

MAX_HEADER_BYTES = 1 << 26
"""Larger headers and manifests are rejected."""
RESTORE = "restore it from a backup or create it again"
_SLICE = 1 << 22
_CURES = {
    **dict.fromkeys((errno.EACCES, errno.EPERM), "see who may read and write there (ls -ld), or choose another place"),
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR), "one of the folders in its path is a file: choose another place"),
    errno.EROFS: "the disk is read-only: choose another place",
}


class _NewFile(io.FileIO):
    """A new, unbuffered file under a temporary name; errors are reported for `path`, its final name.

    It is locked while it is open, so that `remove_leftovers` can distinguish it from the file of a process that died.
    """

    def __init__(self, temporary: Path, path: Path) -> None:
        self.path = path
        with explaining(path):
            super().__init__(temporary, "xb")
        with suppress(OSError):  # a file system without locks
            fcntl.flock(self, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write(self, data: Any) -> int:
        with explaining(self.path):
            return super().write(data)


@contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under its name only if the block ends without an exception.

    Missing parent folders are created. Errors of other files inside the block are passed through unchanged.

    Raises
    ------
    ResourceError
        The disk or the quota is full.
    ArtefactError
        The file cannot be written for another reason.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_file(Path(folder, "a.bin")) as file:
    ...         _ = file.write(b"abc")
    ...     Path(folder, "a.bin").read_bytes()
    b'abc'
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with explaining(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = io.BufferedWriter(_NewFile(temporary, path))
        try:
            yield file
            file.flush()
            with explaining(path):
                os.fsync(file.fileno())
        finally:
            with suppress(OSError, UserError):  # closing writes what is buffered once more: the first error counts
                file.close()
        with explaining(path):
            temporary.replace(path)
            sync_folder(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files of processes that died while they were writing the file at `path`."""
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 8}.tmp"):
        with suppress(OSError), temporary.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_size:  # an empty one may have been made just now, and be locked next
                temporary.unlink()


@contextmanager
def explaining(path: str | Path) -> Iterator[None]:
    """Turn an OSError of the block into a ResourceError or ArtefactError about the file at `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            fix = "free some space or use another disk"
            if error.errno == errno.EFBIG:
                fix += ", or raise the limit on the size of a file (ulimit -f)"
            raise ResourceError("the disk is full", where=path, got=error.strerror, fix=fix) from error
        if error.errno == errno.ENOENT:
            raise ArtefactError("a file is missing", where=path, fix=RESTORE) from error
        got, cure = error.strerror or str(error), _CURES.get(error.errno or 0)
        raise ArtefactError("the file cannot be used", where=path, got=got, fix=cure) from error


def write_bytes(path: str | Path, data: bytes) -> str:
    """Write a small file atomically and return its checksum."""
    with atomic_file(path) as file:
        file.write(data)
    return checksum(data)


def checksum(source: bytes | memoryview | Path) -> str:
    """Return the xxh3_128, in hexadecimal, of bytes, of the memory of a contiguous array, or of the file at a path.

    Examples
    --------
    >>> checksum(b"")
    '99aa06d3014798d86001c324468d497f'
    """
    if not isinstance(source, Path):
        return xxhash.xxh3_128_hexdigest(source)
    digest = xxhash.xxh3_128()
    require_file(source)
    with explaining(source), source.open("rb") as file:
        while piece := file.read(_SLICE):
            digest.update(piece)
    return digest.hexdigest()


def require_file(path: Path) -> None:
    """Raise ArtefactError unless a path is a regular file: reading a pipe may block, and a device may have no end."""
    with explaining(path):
        mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise ArtefactError("not a regular file", where=path, expected="a regular file", got=stat.filemode(mode))


def sync_folder(folder: Path) -> None:
    """Flush the directory entries of a folder to disk, so that a rename survives a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_unfinished(folder: Path, *, everywhere: bool = False) -> None:
    """Remove temporary files and folders that killed processes left in a folder to which no other process writes, or
    everywhere below it.
    """
    with explaining(folder):
        for leftover in sorted((folder.rglob if everywhere else folder.glob)(".*.tmp")):
            if leftover.is_dir():
                shutil.rmtree(leftover)
            else:
                leftover.unlink(missing_ok=True)


def discard(folder: Path) -> None:
    """Remove a folder atomically, if it exists: after a crash it is either complete or renamed to ``.old-NAME.tmp``,
    which the next call for the same folder removes.
    """
    hidden = folder.with_name(f".old-{folder.name}.tmp")
    shutil.rmtree(hidden, ignore_errors=True)
    if folder.exists():
        with explaining(folder):
            folder.rename(hidden)
            sync_folder(folder.parent)
        shutil.rmtree(hidden, ignore_errors=True)


def map_file(path: str | Path) -> npt.NDArray[np.uint8]:
    """Memory-map a file as a read-only array of bytes; the mapping lives as long as any view of it."""
    path = Path(path)
    require_file(path)
    with explaining(path), path.open("rb") as file:
        empty = os.fstat(file.fileno()).st_size == 0
        mapped = b"" if empty else mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    return np.frombuffer(mapped, dtype=np.uint8)
