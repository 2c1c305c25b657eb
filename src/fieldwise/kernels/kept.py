"""Where compiled kernels are kept between processes, and which of those that lie there are used.

Folders are tried in this order, for reading and for writing apart::

    NUMBA_CACHE_DIR                  where it is set; where it can be written, no other is read
    __pycache__ beside the sources   what `fieldwise doctor --compile` fills when an image is built: others read it
    ~/.cache/numba                   of the user; $XDG_CACHE_HOME/numba where that is set
    fieldwise-UID                    in the folder for temporary files, or /dev/shm, if it is ours alone

Where none can be written, kernels are compiled anew in every process, and a note says so: numba's own cache ends the
import there. numba also looks for a folder once for every function, passes over one that is filled and cannot be
written, and fails on a file that was cut short.

A compiled kernel is code, and numba keeps it as a pickle. So a file counts only where its owner could change the
library as well, or where it is the user's own; and only whole and under its own name, by a checksum at its end.

A file's name holds a hash of all that its content depends on: the source of the kernel and of the kernels and constants
that it is made of, the types of its arguments, the processor, and the versions of numba, LLVM and Python.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import stat
import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core import config as _config
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult
from numba.core.runtime.nrt import rtsys
from numba.core.serialize import dumps

config: Any = _config  # numba sets its names from the environment

__all__ = ["KernelCache", "can_be_written", "count", "folder_in_use", "folders", "is_ignored"]

_SOURCES = Path(__file__).parent
_IMPORT = re.compile(r"^from fieldwise\.kernels\.(\w+) import", re.MULTILINE)
_DIGEST_BYTES = 16
_SUFFIX = ".kernel"
_NOTED: set[str] = set()


@cache
def _source(module: str) -> tuple[bytes, list[str]]:
    """Return a hash of a module's source, and the modules of this folder that it imports."""
    content = (_SOURCES / f"{module}.py").read_bytes()
    return hashlib.blake2b(content).digest(), _IMPORT.findall(content.decode())


@cache
def version_tag(module: str) -> str:
    """Return a hash of the source of a module of this folder, and of all those in it that it imports."""
    sources: dict[str, bytes] = {}
    left = [module, "jit", "compiler"]  # which say how all of them are compiled
    while left:
        name = left.pop()
        if name not in sources:
            sources[name], imported = _source(name)
            left += imported
    versions = f"{numba.__version__} {llvmlite.__version__} {sys.version_info[:2]} {sys.implementation.cache_tag}"
    found = hashlib.blake2b(versions.encode(), digest_size=8)
    for name in sorted(sources):
        found.update(sources[name])
    return found.hexdigest()


@cache
def folders() -> tuple[Path, ...]:
    """Return the folders in which compiled kernels may lie, the first one first; they need not exist."""
    # Two installations do not share a folder: each clears away what is not its own.
    name = f"fieldwise-{hashlib.blake2b(str(_SOURCES).encode(), digest_size=6).hexdigest()}"
    found = [Path(config.CACHE_DIR).absolute() / name] if config.CACHE_DIR else []
    found.append(_SOURCES / "__pycache__")
    with suppress(RuntimeError):  # nobody knows where the user is at home
        of_user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        if Path(of_user).is_absolute():
            found.append(Path(of_user) / "numba" / name)
    temporary = [Path("/dev/shm")]
    with suppress(OSError):  # there is no folder for temporary files
        temporary.insert(0, Path(tempfile.gettempdir()))
    return (*found, *(each / f"fieldwise-{os.getuid()}" / name for each in temporary if each != Path.cwd()))


@cache
def _read_from() -> tuple[Path, ...]:
    """Return the folders that kernels are read from: where one is named and can be written, that one alone."""
    return folders()[:1] if config.CACHE_DIR and can_be_written(folders()[0]) else folders()


def _is_temporary(folder: Path) -> bool:
    return folder.parent.name == f"fieldwise-{os.getuid()}"


def folder_in_use(*, note: bool = False) -> Path | None:
    """Return the first folder that can be written, which is made; None where there is none.

    Parameters
    ----------
    note
        Say once on standard error where this is not what anyone would expect.
    """
    named = bool(config.CACHE_DIR)
    for place, folder in enumerate(folders()):
        if can_be_written(folder):
            if note and named and place > 0:
                _say_once(f"compiled kernels cannot be kept in NUMBA_CACHE_DIR ({config.CACHE_DIR}), so in {folder}")
            elif note and _is_temporary(folder):
                _say_once(
                    f"compiled kernels are kept in {folder}, because no lasting folder is writable; to keep them, set "
                    "NUMBA_CACHE_DIR to one that can be written, or run `fieldwise doctor --compile` as the user who "
                    "installed fieldwise"
                )
            return folder
    if note:
        _say_none()
    return None


def _say_none() -> None:
    _say_once(
        "there is no folder to keep compiled kernels in, so every process compiles them again, which takes some "
        "seconds; set NUMBA_CACHE_DIR to a folder that can be written, or run `fieldwise doctor --compile` as the user "
        "who installed fieldwise"
    )


def _say_once(text: str) -> None:
    if text not in _NOTED:
        _NOTED.add(text)
        if sys.stderr is not None:
            sys.stderr.write(f"note: {text}\n")


def is_ignored(in_use: Path) -> bool:
    """Whether NUMBA_CACHE_DIR names another folder than the one in use."""
    return bool(config.CACHE_DIR) and in_use != folders()[0]


def count(folder: Path) -> int:
    """Return how many kernels of these sources lie in a folder."""
    version_tags = {version_tag(path.stem) for path in _SOURCES.glob("*.py")}
    return sum(path.name.split("-")[1] in version_tags for path in folder.glob(f"*{_SUFFIX}"))


def can_be_written(folder: Path) -> bool:
    """Whether files can be written in a folder that others cannot plant any in; it is made where it is not there."""
    try:
        if _is_temporary(folder):
            # Anybody may make a folder of this name in there; nobody else must be able to plant code in ours.
            with suppress(FileExistsError):
                folder.parent.mkdir(mode=0o700)
            found = folder.parent.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
                return False
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _read(path: Path) -> bytes | None:
    """Return the content of a file of ours, None where there is none that is whole and to be trusted."""
    try:
        with path.open("rb") as file:
            if not _is_trusted(os.fstat(file.fileno()), path.parent):
                return None
            content = file.read()
    except OSError:
        return None
    content, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    return content if _digest(path.name, content) == digest else None


def _digest(name: str, content: bytes) -> bytes:
    """Return the checksum of a file's content and its name: who may rename files makes no kernel of another."""
    found = hashlib.blake2b(name.encode() + b"\0", digest_size=_DIGEST_BYTES)
    found.update(content)
    return found.digest()


def _is_trusted(file: os.stat_result, folder: Path) -> bool:
    """Whether nobody can have written the file who could not change the library, or what the user runs, as well."""
    if folder == _SOURCES / "__pycache__":
        return True
    of_folder = folder.stat()
    owners = {0, os.getuid(), _SOURCES.stat().st_uid}
    if config.CACHE_DIR and not _is_temporary(folder) and not of_folder.st_mode & stat.S_IWOTH:
        owners.add(of_folder.st_uid)  # a folder of somebody else's, which the user has named
    return file.st_uid in owners and not file.st_mode & stat.S_IWOTH


def _write(folder: Path, name: str, content: bytes) -> None:
    """Write a file whole or not at all, and remove those of the same kernel from other sources."""
    kernel, of_sources = name.split("-")[:2]
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=f"{kernel}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content + _digest(name, content))
            os.fchmod(file.fileno(), 0o644)
        os.replace(temporary, folder / name)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    for old in folder.glob(f"{kernel}-*{_SUFFIX}"):
        if old.name.split("-")[1] != of_sources:
            with suppress(OSError):
                old.unlink()


class KernelCache(_Cache):
    """What numba asks for a compiled kernel, and hands one to.

    Parameters
    ----------
    function
        The kernel, a function of a module of this folder.
    """

    def __init__(self, function: Any) -> None:
        self._function, self._enabled = function, True
        self._lineno = function.__code__.co_firstlineno
        # Now, while the module is imported: an upgrade may replace the sources under a process that compiles later.
        self._version_tag = version_tag(self._module)

    @property
    def cache_path(self) -> str:
        """Where kernels are written."""
        return str(folder_in_use() or "")

    def enable(self) -> None:
        """Keep kernels, and use those that are kept."""
        self._enabled = True

    def disable(self) -> None:
        """Do neither."""
        self._enabled = False

    def flush(self) -> None:
        """Remove all variants of this kernel."""
        for folder in folders():
            for path in folder.glob(f"{self._kernel}-*{_SUFFIX}"):
                with suppress(OSError):
                    path.unlink()

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the kernel compiled for these arguments, None where it is not kept."""
        if not self._enabled:
            return None
        # numba gets all that it compiles with ready first, .3 s: what is compiled already asks for its runtime alone.
        rtsys.initialize(target_context)
        name = self._name(sig, target_context.codegen())
        for folder in _read_from():
            content = _read(folder / name)
            if content is not None:
                rebuild: Any = CompileResult._rebuild
                return rebuild(target_context, *pickle.loads(content))  # noqa: S301 - see above
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled kernel, where there is a place for it."""
        if not self._enabled or data.library.has_dynamic_globals or any(not each.can_cache for each in data.lifted):
            return
        folder = folder_in_use(note=True)
        if folder is None:
            return
        name = self._name(sig, data.codegen)
        try:
            pack: Any = dumps
            _write(folder, name, pack(data._reduce()))
        except OSError as error:  # the disk is full, say: that is no reason not to go on
            _say_once(
                f"compiled kernels cannot be kept in {folder}: {error.strerror}; they are compiled again next time. "
                "NUMBA_CACHE_DIR names another folder"
            )

    @property
    def _kernel(self) -> str:
        return f"{self._module}.{self._function.__qualname__}"

    @property
    def _module(self) -> str:
        return str(self._function.__module__.rsplit(".", 1)[1])

    def _name(self, sig: Any, codegen: Any) -> str:
        key = repr((sig, codegen.magic_tuple(), config.BOUNDSCHECK, str(config.OPT), self._lineno)).encode()
        of_key = hashlib.blake2b(key, digest_size=12).hexdigest()
        return f"{self._kernel}-{self._version_tag}-{of_key}{_SUFFIX}"
