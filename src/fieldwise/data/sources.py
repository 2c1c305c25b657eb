"""From the paths that a user names to files that are what their names say."""

from __future__ import annotations

import glob
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeVar

import pyarrow as pa

from fieldwise.data import stores
from fieldwise.errors import ConfigError, DataError, did_you_mean

__all__ = [
    "FORMATS",
    "Source",
    "check_names",
    "damaged",
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
Found = TypeVar("Found")

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
    """

    path: str
    position: int
    format: str
    gzipped: bool
    num_bytes: int
    stamp: tuple[int | str, ...]


def find_sources(
    paths: Sequence[str | Path] | str | Path,
    format: str | None = None,
    *,
    usual_format: str | None = None,
    allow_empty: bool = False,
) -> list[Source]:
    """Return the files behind paths, globs and folders, each once, in the order named (sorted inside a glob or folder).

    A folder stands for all files below it whose ending is known (for all files, where `format` is given), except those
    whose name, or whose folder's name, begins with ``.`` or ``_``.

    Parameters
    ----------
    paths
        Files, globs and folders.
    format
        Of all files, whatever their names say.
    usual_format
        Of the files whose names do not tell. Of a folder it counts only where no name in it tells.
    allow_empty
        Pass over text files without a byte: they hold no rows, and no header either.

    Raises
    ------
    DataError
        A path leads to no file, an ending is unknown, a file is empty or is not what its name says.
    ConfigError
        `format` is unknown.
    """
    if format is not None and format not in FORMATS:
        raise ConfigError("the format is unknown", where="format", got=format, fix=did_you_mean(format, FORMATS))
    named = [paths] if isinstance(paths, (str, Path)) else list(paths)
    found = dict.fromkeys(path for name in named for path in _expand(name, format, usual_format))
    if not found:
        raise DataError("the log names no file", expected="files, globs or folders", got="an empty list")

    def examine(place: tuple[int, str]) -> Source | None:
        try:
            return _examine(place[1], place[0], format, usual_format)
        except _EmptyError:
            if allow_empty and (format or _format_of(place[1]) or usual_format) != "parquet":
                return None
            raise

    return [source for source in for_each(examine, list(enumerate(found)), list(found)) if source is not None]


def for_each(function: Callable[[Item], Found], items: Sequence[Item], paths: Sequence[str]) -> list[Found]:
    """Return what `function` makes of each item, in order; of files of a store, many at a time."""
    if not any(map(stores.is_remote, paths)):
        return [function(item) for item in items]
    with ThreadPoolExecutor(_REQUESTS) as pool:
        return list(pool.map(function, items))


def _expand(name: str | Path, format: str | None, usual_format: str | None = None) -> Iterator[str]:
    remote = stores.remote_name(name)
    path = Path(name)
    if remote is not None:
        yield from stores.expand(remote, lambda below: _is_log(PurePosixPath(below), format), _no_log)
    elif path.is_file():
        yield str(path)
    elif path.is_dir():
        yield from _files_below(path, format, usual_format)
    elif glob.has_magic(str(name)):
        matches = sorted(glob.glob(str(name), recursive=True))
        if not matches:
            raise DataError("no file matches the pattern", where=name, fix="check the path; quote it in a shell")
        for match in matches:
            yield from _expand(match, format, usual_format)
    else:
        near = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        fix = did_you_mean(path.name, near[:1000]) if near else "check the path"
        raise DataError("there is no such file", where=name, fix=fix)


def _files_below(folder: Path, format: str | None, usual_format: str | None = None) -> Iterator[str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    found = [path for path in files if _is_log(path.relative_to(folder), format)]
    if not found and usual_format:
        found = [path for path in files if _is_log(path.relative_to(folder), usual_format)]
    if not found:
        raise _no_log(folder)
    yield from map(str, found)


def _is_log(below: PurePosixPath | Path, format: str | None) -> bool:
    """Whether a file, by its path below a folder that was named, belongs to a log."""
    hidden = any(part.startswith((".", "_")) for part in below.parts)
    return not hidden and bool(format or _format_of(below.name))


def _no_log(folder: str | Path) -> DataError:
    return DataError(
        "the folder holds no log file", where=folder, expected=f"files that end in {', '.join(_ENDINGS)} (or .gz)"
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


def _examine(path: str, position: int, format: str | None, usual_format: str | None = None) -> Source:
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
    source = Source(path, position, kind, gzipped, num_bytes, stamp)
    if kind != "parquet":
        _check_text(source)
    return source


def _check_text(source: Source) -> None:
    with open_stream(source) as stream:
        head = read_from(source, stream, _SNIFFED_BYTES)
    if not head:
        raise _empty(source.path)
    if b"\0" in head:
        raise _mistaken(source.path, f"{source.format} text in UTF-8", f"binary data, a zero byte at {head.index(0)}")


class _EmptyError(DataError):
    """There is no byte in a file."""


def _empty(path: str) -> DataError:
    return _EmptyError("the file is empty", where=path, fix="remove it, or write it again")


def _mistaken(path: str, expected: str, got: str) -> DataError:
    return DataError(
        "the file is not what its name says",
        where=path,
        expected=expected,
        got=got,
        fix="give it the ending of its format, or write it again",
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
