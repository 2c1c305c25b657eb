"""From the paths that a user names to the files of a log."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeVar

from fieldwise.data.pipes import refuse_special
from fieldwise.data.sources import (
    ENDINGS,
    PACKED,
    EmptyFileError,
    Source,
    check_format,
    examine,
    known_encoding,
    known_format,
)
from fieldwise.errors import DataError, did_you_mean
from fieldwise.io import store_files, stores

__all__ = ["Found", "find_files", "for_each", "repeat_remarks"]

Item = TypeVar("Item")
Made = TypeVar("Made")

_EMPTY = "without a byte"
_REQUESTS = 16
"""Files of a store that are asked for at the same time."""


class Found(NamedTuple):
    """The files behind some paths.

    Attributes
    ----------
    sources
        The files of the log, in order.
    left_out
        Those of folders that are none of it: the reason of each.
    repeated
        Those that several of the paths lead to.
    """

    sources: list[Source]
    left_out: dict[str, str]
    repeated: tuple[str, ...]


def find_files(
    paths: Sequence[str | Path] | str | Path,
    format: str | None = None,
    *,
    usual_format: str | None = None,
    allow_empty: bool = False,
    encoding: str | None = None,
) -> Found:
    """Find the files behind paths, globs and folders, each once, in the order named (sorted inside a glob or folder).

    A folder stands for all files below it whose ending is known (for all files, where `format` is given), except those
    whose name, or whose folder's name, begins with ``.`` or ``_``; a folder ``_key=value`` is no exception. Links to
    folders are not followed. `Found.left_out` says what was not read.

    Parameters
    ----------
    paths
        Files, globs and folders.
    format
        The format of all files, whatever their names; by default inferred from the names.
    usual_format
        The format of files whose names do not tell; in a folder, only if no name in it does.
    allow_empty
        Whether all files may be empty. Empty files among others are always left out, for want of rows and a header.
    encoding
        The encoding of text files without a byte order mark; UTF-8 by default.

    Returns
    -------
    Found
        The files, in order; those left out, with the reasons; and those that were named more than once.

    Raises
    ------
    DataError
        A path leads to no file, an ending is unknown, all files are empty, or one is not what its name says.
    ConfigError
        `format` or `encoding` is unknown.
    """
    encoding = known_encoding(encoding)
    if format is not None:
        check_format(format)
    named = [paths] if isinstance(paths, (str, Path)) else list(paths)
    left_out: dict[str, str] = {}
    found: dict[str, str] = {}
    first_named: dict[str, tuple[str, int]] = {}  # of a file: its path as it was first named, and by which of the names
    repeated: dict[str, None] = {}
    for at, name in enumerate(named):
        if not str(name).strip():
            raise DataError("a path is empty", where="the log", fix="name a file, a glob or a folder; . is this one")
        for path, base in _expand(name, format, usual_format, left_out):
            place = path if stores.is_remote(path) else os.path.abspath(path)
            first, number = first_named.setdefault(place, (path, at))
            found.setdefault(first, base)
            if number != at:
                repeated[first] = None
    if not found:
        raise DataError("the log names no file", expected="files, globs or folders", got="an empty list")
    left_out = {path: reason for path, reason in left_out.items() if path not in found}

    def look_at(place: tuple[int, tuple[str, str]]) -> Source | EmptyFileError:
        position, (path, base) = place
        try:
            return examine(path, position, format, usual_format, base, encoding)
        except EmptyFileError as error:
            return error

    places = list(enumerate(found.items()))
    examined = for_each(look_at, places, list(found))
    sources = [source for source in examined if isinstance(source, Source)]
    empty = {path: it for path, it in zip(found, examined, strict=True) if isinstance(it, EmptyFileError)}
    if not sources and not allow_empty:
        raise next(iter(empty.values()))
    # The places of the files that are read follow each other: `Log` finds a file by its place.
    sources = [source._replace(position=position) for position, source in enumerate(sources)]
    return Found(sources, left_out | dict.fromkeys(empty, _EMPTY), tuple(repeated))


def repeat_remarks(repeated: Sequence[str]) -> list[str]:
    """Return what to say of files that were named more than once: a sentence, or nothing where there are none.

    Examples
    --------
    >>> repeat_remarks(["a.csv"]), repeat_remarks(["a.csv", "b.csv"])
    (['a.csv is named more than once, and read once'], ['2 files are named more than once, and read once: a.csv, ...'])
    """
    if not repeated:
        return []
    if len(repeated) == 1:
        return [f"{repeated[0]} is named more than once, and read once"]
    return [f"{len(repeated):,} files are named more than once, and read once: {repeated[0]}, ..."]


def for_each(function: Callable[[Item], Made], items: Sequence[Item], paths: Sequence[str]) -> list[Made]:
    """Return what `function` makes of each item, in order; of files of a store, many at a time."""
    if not any(map(stores.is_remote, paths)):
        return [function(item) for item in items]
    with ThreadPoolExecutor(_REQUESTS) as pool:
        return list(pool.map(function, items))


def _expand(
    name: str | Path, format: str | None, usual_format: str | None, left_out: dict[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield the files behind a name, each with the part of its path that was named; note what is left out."""
    remote = stores.remote_name(name)
    path = Path(name)
    if remote is not None:
        base = _fixed(remote)

        def is_log(full: str, below: str) -> bool:
            return _is_log(full, PurePosixPath(below), format, left_out)

        yield from ((full, base) for full in store_files.expand(remote, is_log, _no_log))
    elif path.is_file():
        yield str(path), str(path)
    elif path.is_dir():
        yield from ((below, str(path)) for below in _files_below(path, format, usual_format, left_out))
    elif glob.has_magic(str(name)):
        matches = sorted(glob.glob(str(name), recursive=True))
        if not matches:
            raise DataError("no file matches the pattern", where=name, fix="check the path, and quote it in a shell")
        for match in matches:
            yield from ((below, _fixed(str(name))) for below, _ in _expand(match, format, usual_format, left_out))
    else:
        refuse_special(name)
        if path.is_symlink():
            raise DataError("the link leads to no file", where=name, got=os.readlink(path), fix="point it to a file")
        near = sorted(entry.name for entry in path.parent.iterdir()) if path.parent.is_dir() else []
        fix = did_you_mean(path.name, near[:1000]) if near else "check the path"
        raise DataError("there is no such file", where=name, fix=fix)


def _fixed(pattern: str) -> str:
    """Return the folders of a pattern that stand before the first character of a glob; a plain name as it is."""
    found = re.search(r"[*?[]", pattern)
    return pattern if found is None else pattern[: found.start()].rpartition("/")[0]


def _files_below(folder: Path, format: str | None, usual_format: str | None, left_out: dict[str, str]) -> Iterator[str]:
    def refuse(error: OSError) -> None:
        raise DataError(
            "a folder of the log cannot be read",
            where=error.filename,
            got=error.strerror or error,
            fix="get permission to read it, or name its files",
        ) from None

    paths: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        for below in folders:
            if (Path(parent) / below).is_symlink():
                left_out[str(Path(parent) / below)] = "a link to a folder, which is not followed"
        paths += [Path(parent) / name for name in names]
    paths.sort()
    none: dict[str, str] = {}
    logs = [str(path) for path in paths if _is_log(str(path), path.relative_to(folder), format, none)]
    if not logs and usual_format:
        none = {}
        logs = [str(path) for path in paths if _is_log(str(path), path.relative_to(folder), usual_format, none)]
    if not logs:
        raise _no_log(folder, none)
    left_out |= none
    yield from logs


def _is_log(full: str, below: PurePosixPath | Path, format: str | None, left_out: dict[str, str]) -> bool:
    """Whether a file, by its path below a folder that was named, belongs to a log; if not, note why."""
    reason = _why_not(below, format)
    if reason is None and not stores.is_remote(full) and not os.path.isfile(full):
        reason = "a link that leads nowhere" if os.path.islink(full) else "no regular file"
    if reason is not None:
        left_out[full] = reason
    return reason is None


def _why_not(below: PurePosixPath | Path, format: str | None) -> str | None:
    """Say why a file of a folder is none of the log; None where it is."""
    *folders, name = below.parts
    for part in folders:
        if part.startswith(".") or (part.startswith("_") and "=" not in part):  # as Spark does
            return f"in a folder whose name begins with {part[0]}"
    if name.startswith((".", "_")):
        return f"its name begins with {name[0]}"
    if format or known_format(name):
        return None
    packed = Path(name.lower()).suffix
    if packed in PACKED and known_format(name[: -len(packed)]):
        return f"packed as {packed[1:]}: only gzip is read"
    return "its ending is not that of a log" if packed else "without an ending, its format is not known"


def _no_log(folder: str | Path, left_out: Mapping[str, str] = {}) -> DataError:
    return DataError(
        "the folder holds no log file",
        where=folder,
        expected=f"files that end in {', '.join(ENDINGS)} (or .gz)",
        got="; ".join(f"{path}: {reason}" for path, reason in list(left_out.items())[:3]) or None,
        fix="name the files, or give the format" if left_out else None,
    )
