"""One place for one artefact: made by one process at a time, whole or not at all.

::

    ROOT/KEY/           the artefact, once it is whole
    ROOT/.KEY.tmp/      while it is being made
    ROOT/.KEY.lock      held by the process that makes it

The system lets go of a lock when its process ends, however it ends. So a folder ``.KEY.tmp`` whose lock is free was
left behind by a process that died, and is removed by the next one that comes along, whatever it came to make.

In a folder that cannot be written nobody makes anything: what is whole there is used without a lock.
"""

from __future__ import annotations

import errno
import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, NamedTuple

from fieldwise.errors import ResourceError
from fieldwise.io.files import explaining, sync_folder

__all__ = ["Workplace", "workplace"]


class Workplace(NamedTuple):
    """A place that this process holds.

    Attributes
    ----------
    folder
        Where the artefact is, or will be.
    """

    folder: Path

    @contextmanager
    def new_folder(self) -> Iterator[Path]:
        """Make an empty folder that takes the place of `folder` when the block ends without an exception."""
        temporary = _temporary(self.folder)
        with explaining(temporary):
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
        try:
            yield temporary
            with explaining(self.folder):
                sync_folder(temporary)
                shutil.rmtree(self.folder, ignore_errors=True)
                temporary.rename(self.folder)
                sync_folder(self.folder.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def workplace(root: Path, key: str) -> Iterator[Workplace]:
    """Hold the place for the artefact `key`, wait for others that do, clean up after the dead."""
    with explaining(root), _open_lock(root, key) or nullcontext() as lock:
        if lock is not None:
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield Workplace(root / key)


def _open_lock(root: Path, key: str) -> IO[bytes] | None:
    """Open the lock; None where it cannot be made and the artefact is there."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(root)
        return _lock_path(root / key).open("ab")
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        if (root / key).is_dir():
            return None
        raise ResourceError(
            "the folder for prepared logs cannot be written",
            where=root,
            got=error.strerror,
            fix='name another one: cache = "/a/folder" in [data], or --set data.cache=/a/folder',
        ) from error


def _temporary(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.tmp")


def _lock_path(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock")


def _remove_leftovers(root: Path) -> None:
    for temporary in root.glob(".*.tmp"):
        key = temporary.name.removeprefix(".").removesuffix(".tmp")
        with _lock_path(root / key).open("ab") as lock:
            if _is_free(lock):
                shutil.rmtree(temporary, ignore_errors=True)


def _is_free(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
