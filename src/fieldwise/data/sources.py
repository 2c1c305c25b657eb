"""From the paths that a user names to files that are what their names say."""

from __future__ import annotations

import glob
import os
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from fieldwise.errors import ConfigError, DataError, did_you_mean

__all__ = ["FORMATS", "Source", "check_names", "damaged", "find_sources", "open_stream", "read_from", "rows_per_byte"]

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


class Source(NamedTuple):
    """One file of a log.

    Attributes
    ----------
    path
        As it was named or found.
    position
        Its place among the files of the log, from 0.
    format
        One of `FORMATS`.
    gzipped
        Whether its bytes are compressed as a whole.
    num_bytes
        Its size on disk.
    """

    path: str
    position: int
    format: str
    gzipped: bool
    num_bytes: int


def find_sources(paths: Sequence[str | Path] | str | Path, format: str | None = None) -> list[Source]:
    """Return the files behind paths, globs and folders, each once, in the order named (sorted inside a glob or folder).

    A folder stands for all files below it whose ending is known (for all files, where `format` is given), except those
    whose name, or whose folder's name, begins with ``.`` or ``_``.

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
    found = dict.fromkeys(path for name in named for path in _expand(name, format))
    if not found:
        raise DataError("the log names no file", expected="files, globs or folders", got="an empty list")
    return [_examine(path, position, format) for position, path in enumerate(found)]


def _expand(name: str | Path, format: str | None) -> Iterator[str]:
    path = Path(name)
    if path.is_file():
        yield str(path)
    elif path.is_dir():
        yield from _files_below(path, format)
    elif glob.has_magic(str(name)):
        matches = sorted(glob.glob(str(name), recursive=True))
        if not matches:
            raise DataError("no file matches the pattern", where=name, fix="check the path; quote it in a shell")
        for match in matches:
            yield from _expand(match, format)
    else:
        near = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        fix = did_you_mean(path.name, near[:1000]) if near else "check the path"
        raise DataError("there is no such file", where=name, fix=fix)


def _files_below(folder: Path, format: str | None) -> Iterator[str]:
    empty = True
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden and (format or _format_of(path.name)):
            empty = False
            yield str(path)
    if empty:
        raise DataError(
            "the folder holds no log file", where=folder, expected=f"files that end in {', '.join(_ENDINGS)} (or .gz)"
        )


def _format_of(name: str) -> str | None:
    return _ENDINGS.get(Path(name.lower().removesuffix(".gz")).suffix)


def _examine(path: str, position: int, format: str | None) -> Source:
    gzipped = path.lower().endswith(".gz")
    kind = format or _format_of(path)
    if kind is None:
        raise DataError(
            "the file's name does not tell its format",
            where=path,
            expected=f"an ending of {', '.join(_ENDINGS)} (or .gz)",
            fix=f"give the format: {', '.join(FORMATS)}",
        )
    try:
        with open(path, "rb") as file:
            head = file.read(16)
            num_bytes = file.seek(0, os.SEEK_END)
            file.seek(max(num_bytes - 4, 0))
            tail = file.read(4)
    except OSError as error:
        raise DataError("the file cannot be read", where=path, got=error.strerror) from None
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
    source = Source(path, position, kind, gzipped, num_bytes)
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


def _empty(path: str) -> DataError:
    return DataError("the file is empty", where=path, fix="remove it, or write it again")


def _mistaken(path: str, expected: str, got: str) -> DataError:
    return DataError(
        "the file is not what its name says",
        where=path,
        expected=expected,
        got=got,
        fix="give it the ending of its format, or write it again",
    )


def open_stream(source: Source) -> pa.NativeFile:
    """Open a text file as a stream of bytes, unpacked if it is gzipped."""
    try:
        file = pa.OSFile(source.path, "rb")
    except OSError as error:
        raise DataError("the file cannot be read", where=source.path, got=error.strerror or error) from None
    return pa.CompressedInputStream(file, "gzip") if source.gzipped else file


def read_from(source: Source, stream: pa.NativeFile, num_bytes: int) -> bytes:
    """Read up to `num_bytes`; damaged gzip data is a DataError."""
    try:
        return bytes(stream.read(num_bytes))
    except OSError as error:
        raise damaged(source, error) from None


def rows_per_byte(source: Source) -> float:
    """Return the lines in a byte of a text file, as it lies on the disk, judged by the first few MB of it."""
    with pa.OSFile(source.path, "rb") as file:
        head = file.read(_COUNTED_BYTES)
    try:
        text = zlib.decompressobj(wbits=31).decompress(head) if source.gzipped else head
    except zlib.error as error:
        raise damaged(source, error) from None
    return text.count(b"\n") / len(head)


def damaged(source: Source, error: object) -> DataError:
    """Return the error that says that the bytes of a file cannot be read to the end."""
    return DataError(
        "the gzip data is damaged or cut off" if source.gzipped else "the file cannot be read",
        where=source.path,
        got=error,
        fix="copy or write the file again",
    )


def check_names(source: Source, names: Sequence[str]) -> None:
    """Raise DataError where two columns have one name."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError("two columns have one name", where=source.path, got=", ".join(twice))
