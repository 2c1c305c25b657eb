"""Locks on artefacts: each is written by one process at a time, completely or not at all.

::

    ROOT/KEY/           the complete artefact
    ROOT/.KEY.tmp/      the artefact while it is being written
    ROOT/.KEY.lock      locked by the process that writes it

The system releases a lock when its process ends, however it ends. A folder ``.KEY.tmp`` whose lock is free therefore
belongs to a process that died, and is removed by the next process that takes any lock in ROOT.

In a read-only folder nothing can be written: complete artefacts there are used without a lock.
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

__all__ = ["ArtefactLock", "artefact_lock"]


class ArtefactLock(NamedTuple):
    """An artefact that this process has locked.

    Attributes
    ----------
    folder
        The folder of the artefact, which exists only if the artefact is complete.
    """

    folder: Path

    @contextmanager
    def new_folder(self) -> Iterator[Path]:
        """Create an empty folder that replaces `folder` when the block ends without an exception."""
        temporary = self.folder.with_name(f".{self.folder.name}.tmp")
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
def artefact_lock(root: Path, key: str) -> Iterator[ArtefactLock]:
    """Lock the artefact `key` in the folder `root`, waiting for other processes, and remove leftovers of dead ones.

    Raises
    ------
    ResourceError
        `root` is not writable and the artefact does not exist there.

    Examples
    --------
    >>> import tempfile
    >>> with artefact_lock(Path(tempfile.mkdtemp()), "log-1") as lock:
    ...     if not lock.folder.exists():
    ...         with lock.new_folder() as folder:
    ...             _ = (folder / "data").write_bytes(b"abc")
    >>> (lock.folder / "data").read_bytes()
    b'abc'
    """
    with explaining(root), _open_lock(root, key) or nullcontext() as lock:
        if lock is not None:
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield ArtefactLock(root / key)


def _open_lock(root: Path, key: str) -> IO[bytes] | None:
    """Open the lock file; return None if it cannot be created but the artefact exists."""
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
            "the folder for prepared logs is not writable",
            where=root,
            got=error.strerror,
            fix='choose another one: cache = "/a/folder" in [data], or --set data.cache=/a/folder',
        ) from error


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
