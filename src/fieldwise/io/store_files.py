"""Which files of a store a name stands for: a file, a folder, or a pattern (`io.stores` opens them)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from fieldwise.errors import ConfigError, DataError, did_you_mean
from fieldwise.io.stores import Store, locate, reaching

__all__ = ["expand"]

_MAGIC = re.compile(r"[*?\[]")


def expand(name: str, is_log: Callable[[str, str], bool], no_log: Callable[[str], DataError]) -> Iterator[str]:
    """Yield the files that a remote file, glob or folder stands for; those of a glob or folder are sorted.

    Parameters
    ----------
    name
        A remote name. ``*``, ``?`` and ``[...]`` match within one level of folders, ``**`` any number of levels.
    is_log
        Returns whether a file of a folder, given by its name and its path below the folder, belongs to a log.
    no_log
        Returns the error for a folder without such files.

    Raises
    ------
    DataError
        Nothing matches, or the store denies access or does not respond.
    """
    store, path = locate(name)
    with reaching(name):
        kind = _kind(store, path)
    if kind == "file":
        yield name
    elif kind == "folder":
        yield from _below(store, path, is_log, no_log)
    elif _MAGIC.search(path):
        matches = _glob(store, path, name)
        if not matches:
            raise DataError("no file matches the pattern", where=name, fix="check the path, and quote it in a shell")
        for match, is_file in matches:
            if is_file:
                yield store.name(match)
            else:
                yield from _below(store, match, is_log, no_log)
    else:
        folder, _, last = path.rpartition("/")
        with reaching(name):
            if store.scheme != "hdfs" and _kind(store, path.partition("/")[0]) == "nothing":
                raise DataError("there is no such bucket", where=name, fix="check its name and the endpoint")
        near = [entry.base_name for entry in _list(store, folder, name)] if folder else []
        fix = did_you_mean(last, near[:1000]) if near else "check the path"
        raise DataError("there is no such file", where=name, fix=fix)


def _kind(store: Store, path: str) -> str:
    from pyarrow.fs import FileType

    kinds = {FileType.File: "file", FileType.Directory: "folder"}
    return kinds.get(store.system.get_file_info(path).type, "nothing")


def _list(store: Store, folder: str, name: str, recursive: bool = False) -> list[Any]:
    """Return the entries of a folder of a store, none if it does not exist."""
    from pyarrow.fs import FileSelector

    with reaching(name):
        found = store.system.get_file_info(FileSelector(folder, allow_not_found=True, recursive=recursive))
    return sorted(found, key=lambda info: str(info.path))


def _below(
    store: Store, folder: str, is_log: Callable[[str, str], bool], no_log: Callable[[str], DataError]
) -> Iterator[str]:
    name = store.name(folder)
    files = [info.path for info in _list(store, folder, name, recursive=True) if info.is_file]
    chosen = [path for path in files if is_log(store.name(path), path[len(folder) :].lstrip("/"))]
    if not chosen:
        raise no_log(name)
    yield from (store.name(path) for path in chosen)


def _glob(store: Store, pattern: str, name: str) -> list[tuple[str, bool]]:
    """Return the paths that match a pattern, and whether each is a file."""
    parts = pattern.split("/")
    depth = next(number for number, part in enumerate(parts) if _MAGIC.search(part))
    if depth == 0:
        raise ConfigError("the bucket must not be a pattern", where=name, fix="give the name of the bucket")
    folder, wanted = "/".join(parts[:depth]), parts[depth:]
    entries = _list(store, folder, name, recursive=len(wanted) > 1 or "**" in wanted)
    return [
        (info.path, info.is_file)
        for info in entries
        if _matches(info.path[len(folder) :].lstrip("/").split("/"), wanted)
    ]


def _matches(parts: list[str], wanted: list[str]) -> bool:
    """Return whether a path matches a pattern, level by level; a leading dot must be matched explicitly."""
    if not wanted:
        return not parts
    if wanted[0] == "**":
        deeper = bool(parts) and not parts[0].startswith(".") and _matches(parts[1:], wanted)
        return deeper or _matches(parts, wanted[1:])
    if not parts or (parts[0].startswith(".") and not wanted[0].startswith(".")):
        return False
    return fnmatchcase(parts[0], wanted[0]) and _matches(parts[1:], wanted[1:])
