"""From the paths that a user names to files that are what their names say."""

from __future__ import annotations

import glob
import os
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeVar

import pyarrow as pa

from fieldwise.data import stores
from fieldwise.data.pipes import refuse_special
from fieldwise.errors import ConfigError, DataError, did_you_mean

__all__ = [
    "FORMATS",
    "Found",
    "Source",
    "check_names",
    "damaged",
    "find_files",
    "find_sources",
    "for_each",
    "format_of",
    "open_file",
    "open_stream",
    "read_from",
    "rows_per_byte",
    "stamp_of",
]

Item = TypeVar("Item")
Made = TypeVar("Made")

FORMATS = ("csv", "tsv", "parquet", "libsvm", "libffm")

_ENDINGS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".libsvm": "libsvm",
    ".svm": "libsvm",
    ".libffm": "libffm",
    ".ffm": "libffm",
}
_MAGIC = {
    b"PAR1": "Parquet",
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"ARROW1": "Arrow",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}
_MENDED = (
    ("UTF-16", "convert the file, as in: iconv -f UTF-16 -t UTF-8"),
    ("gzip", "give it a name that ends in .gz"),
    ("zip", "unpack it"),
    ("zstd", "unpack it"),
)
"""What to do about a file that is something else than its name says."""
_EMPTY = "without a byte"
_PACKED = (".bz2", ".xz", ".zst", ".zip", ".lz4", ".br", ".7z", ".snappy")
_SNIFFED_BYTES = 1 << 16
_COUNTED_BYTES = 4 << 20
_REQUESTS = 16
"""Files of a store that are asked for at the same time."""


class Source(NamedTuple):
    """One file of a log.

    Attributes
    ----------
    path
        As it was named or found: a local path, or a remote name (`data.stores`).
    position
        Its place among the files of the log, from 0.
    format
        One of `FORMATS`.
    gzipped
        Whether its bytes are compressed as a whole.
    num_bytes
        Its size on disk.
    stamp
        Changes when the file does: its size, and its time or, of a store that has them, its entity tag.
    base
        The folder, file or fixed beginning of a glob by which it was named.
    """

    path: str
    position: int
    format: str
    gzipped: bool
    num_bytes: int
    stamp: tuple[int | str, ...]
    base: str = ""


class Found(NamedTuple):
    """What stands behind the paths that somebody names.

    Attributes
    ----------
    sources
        The files of the log, in order.
    left_out
        The files of folders that are none of the log: the reason of each.
    """

    sources: list[Source]
    left_out: dict[str, str]


def find_sources(paths: Sequence[str | Path] | str | Path, format: str | None = None) -> list[Source]:
    """Return the files behind paths, globs and folders; see `find_files`."""
    return find_files(paths, format).sources


def find_files(
    paths: Sequence[str | Path] | str | Path,
    format: str | None = None,
    *,
    usual_format: str | None = None,
    allow_empty: bool = False,
) -> Found:
    """Return the files behind paths, globs and folders, each once, in the order named (sorted inside a glob or folder).

    A folder stands for all files below it whose ending is known (for all files, where `format` is given), except those
    whose name, or whose folder's name, begins with ``.`` or ``_``; a folder ``_key=value`` is no exception. Links to
    folders are not followed. What is not read is said.

    Parameters
    ----------
    paths
        Files, globs and folders.
    format
        Of all files, whatever their names say.
    usual_format
        Of the files whose names do not tell. Of a folder it counts only where no name in it tells.
    allow_empty
        Whether all files may be text files without a byte. Among others those are passed over in any case: they hold
        no rows, and no header either.

    Raises
    ------
    DataError
        A path leads to no file, an ending is unknown, all files are empty, or one is not what its name says.
    ConfigError
        `format` is unknown.
    """
    if format is not None and format not in FORMATS:
        raise ConfigError("the format is unknown", where="format", got=format, fix=did_you_mean(format, FORMATS))
    named = [paths] if isinstance(paths, (str, Path)) else list(paths)
    left_out: dict[str, str] = {}
    found: dict[str, str] = {}
    for name in named:
        for path, base in _expand(name, format, usual_format, left_out):
            found.setdefault(path, base)
    if not found:
        raise DataError("the log names no file", expected="files, globs or folders", got="an empty list")
    left_out = {path: reason for path, reason in left_out.items() if path not in found}

    def examine(place: tuple[int, tuple[str, str]]) -> Source | _EmptyError:
        position, (path, base) = place
        try:
            return _examine(path, position, format, usual_format, base)
        except _EmptyError as error:
            if (format or _format_of(path) or usual_format) == "parquet":  # which has bytes without a row, too
                raise
            return error

    places = list(enumerate(found.items()))
    examined = for_each(examine, places, list(found))
    sources = [source for source in examined if isinstance(source, Source)]
    empty = {path: it for path, it in zip(found, examined, strict=True) if isinstance(it, _EmptyError)}
    if not sources and not allow_empty:
        raise next(iter(empty.values()))
    # The places of the files that are read follow each other: `Log` finds a file by its place.
    sources = [source._replace(position=position) for position, source in enumerate(sources)]
    return Found(sources, left_out | dict.fromkeys(empty, _EMPTY))


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

        yield from ((full, base) for full in stores.expand(remote, is_log, _no_log))
    elif path.is_file():
        yield str(path), str(path)
    elif path.is_dir():
        yield from ((below, str(path)) for below in _files_below(path, format, usual_format, left_out))
    elif glob.has_magic(str(name)):
        matches = sorted(glob.glob(str(name), recursive=True))
        if not matches:
            raise DataError("no file matches the pattern", where=name, fix="check the path; quote it in a shell")
        for match in matches:
            yield from ((below, _fixed(str(name))) for below, _ in _expand(match, format, usual_format, left_out))
    else:
        refuse_special(name)
        near = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
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
            fix="ask for the right to read it, or name the files",
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
    if format or _format_of(name):
        return None
    packed = Path(name.lower()).suffix
    if packed in _PACKED and _format_of(name[: -len(packed)]):
        return f"packed as {packed[1:]}: only gzip is read"
    return "its ending is not that of a log" if packed else "without an ending, its format is not known"


def _no_log(folder: str | Path, left_out: Mapping[str, str] = {}) -> DataError:
    return DataError(
        "the folder holds no log file",
        where=folder,
        expected=f"files that end in {', '.join(_ENDINGS)} (or .gz)",
        got="; ".join(f"{path}: {reason}" for path, reason in list(left_out.items())[:3]) or None,
        fix="name the files, or give the format" if left_out else None,
    )


def format_of(paths: Sequence[str | Path]) -> str | None:
    """Return the format that the first of some names tells.

    Examples
    --------
    >>> format_of(["day-1/", "day-2/*.csv.gz"]), format_of(["log.txt"])
    ('csv', None)
    """
    return next(filter(None, (_format_of(str(path)) for path in paths)), None)


def _format_of(name: str) -> str | None:
    return _ENDINGS.get(Path(name.lower().removesuffix(".gz")).suffix)


def _examine(path: str, position: int, format: str | None, usual_format: str | None, base: str) -> Source:
    gzipped = path.lower().endswith(".gz")
    kind = format or _format_of(path) or usual_format
    if kind is None:
        raise DataError(
            "the file's name does not tell its format",
            where=path,
            expected=f"an ending of {', '.join(_ENDINGS)} (or .gz)",
            fix=f"give the format: {', '.join(FORMATS)}",
        )
    with open_file(path) as file:
        stamp = stamp_of(path, file)
        try:
            num_bytes = file.size()
            head = file.read(16)
            file.seek(max(num_bytes - 4, 0))
            tail = file.read(4)
        except OSError as error:
            raise _unreadable(path, error) from None
    if not num_bytes:
        raise _empty(path)
    if kind == "parquet" and gzipped:
        raise DataError("a Parquet file cannot be gzipped as a whole", where=path, fix="unpack it with gunzip")
    expected = "gzip" if gzipped else "Parquet" if kind == "parquet" else f"{kind} text in UTF-8"
    actual = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), f"{kind} text in UTF-8")
    if actual != expected:
        raise _mistaken(path, expected, "text or other data" if actual.endswith("UTF-8") else actual)
    if kind == "parquet" and tail != b"PAR1":
        raise DataError("the Parquet file is cut off", where=path, expected="PAR1 at its end", got=repr(tail))
    source = Source(path, position, kind, gzipped, num_bytes, stamp, base)
    if kind != "parquet":
        _check_text(source)
    return source


def _check_text(source: Source) -> None:
    with open_stream(source) as stream:
        head = read_from(source, stream, _SNIFFED_BYTES)
    if not head:
        raise _empty(source.path)
    if b"\0" in head:
        raise _mistaken(source.path, f"{source.format} text in UTF-8", _with_zeros(head))


class _EmptyError(DataError):
    """There is no byte in a file."""


def _empty(path: str) -> DataError:
    return _EmptyError("the file is empty", where=path, fix="remove it, or write it again")


def _with_zeros(head: bytes) -> str:
    """Say what text with zero bytes is: every other byte of western text in UTF-16 is one."""
    share = 2 * head.count(0) / len(head)
    what = "UTF-16 text without a byte order mark" if 0.9 < share <= 1.1 else "binary data"
    return f"{what}, a zero byte at {head.index(0)}"


def _mistaken(path: str, expected: str, got: str) -> DataError:
    return DataError(
        "the file is not what its name says",
        where=path,
        expected=expected,
        got=got,
        fix=next((fix for kind, fix in _MENDED if kind in got), "give it the ending of its format, or write it again"),
    )


def open_file(path: str) -> pa.NativeFile:
    """Open a file for reading at any place."""
    if stores.is_remote(path):
        return stores.open_file(path)
    try:
        return pa.OSFile(path, "rb")
    except OSError as error:
        raise _unreadable(path, error) from None


def open_stream(source: Source) -> pa.NativeFile:
    """Open a text file as a stream of bytes, unpacked if it is gzipped."""
    file = stores.open_stream(source.path) if stores.is_remote(source.path) else open_file(source.path)
    return pa.CompressedInputStream(file, "gzip") if source.gzipped else file


def stamp_of(path: str, file: pa.NativeFile | None = None) -> tuple[int | str, ...]:
    """Return the stamp of a file as it is now (see `Source`)."""
    if stores.is_remote(path):
        return stores.stamp(path, file or stores.open_file(path))
    try:
        status = os.stat(path)
    except OSError as error:
        raise _unreadable(path, error) from None
    return status.st_size, status.st_mtime_ns


def read_from(source: Source, stream: pa.NativeFile, num_bytes: int) -> bytes:
    """Read up to `num_bytes`; damaged gzip data is a DataError."""
    try:
        return bytes(stream.read(num_bytes))
    except OSError as error:
        raise damaged(source, error) from None


def rows_per_byte(source: Source) -> float:
    """Return the lines in a byte of a text file, as it lies on the disk, judged by the first few MB of it."""
    with open_file(source.path) as file:
        head = read_from(source, file, _COUNTED_BYTES)
    try:
        if not source.gzipped:
            return head.count(b"\n") / len(head)
        # Unpacked as far as a few MB: of a file made for it, 4 MB are 4 GB.
        unpacker = zlib.decompressobj(wbits=31)
        text = unpacker.decompress(head, _COUNTED_BYTES)
        return text.count(b"\n") / max(len(head) - len(unpacker.unconsumed_tail), 1)
    except zlib.error as error:
        raise damaged(source, error) from None


def damaged(source: Source, error: Exception) -> DataError:
    """Return the error that says that the bytes of a file cannot be read to the end."""
    if stores.is_remote(source.path) and stores.is_of_store(error):
        return stores.unreadable(source.path, error)
    return DataError(
        "the gzip data is damaged or cut off" if source.gzipped else "the file cannot be read",
        where=source.path,
        got=error,
        fix="copy or write the file again",
    )


def _unreadable(path: str, error: OSError) -> DataError:
    if stores.is_remote(path):
        return stores.unreadable(path, error)
    return DataError("the file cannot be read", where=path, got=error.strerror or error)


def check_names(source: Source, names: Sequence[str]) -> None:
    """Raise DataError where two columns have one name."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError("two columns have one name", where=source.path, got=", ".join(twice))
