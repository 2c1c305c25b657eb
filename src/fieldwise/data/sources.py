"""One file of a log: its format, whether its content matches its name, and its bytes as a stream of UTF-8."""

from __future__ import annotations

import codecs
import os
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from fieldwise.errors import ConfigError, DataError, did_you_mean
from fieldwise.io import stores

__all__ = [
    "ENDINGS",
    "FORMATS",
    "PACKED",
    "EmptyFileError",
    "Source",
    "check_format",
    "check_names",
    "damaged",
    "examine",
    "format_of",
    "known_encoding",
    "known_format",
    "open_file",
    "open_stream",
    "read_from",
    "rows_per_byte",
    "version_tag_of",
]

FORMATS = ("csv", "tsv", "parquet", "libsvm", "libffm")

PACKED = (".bz2", ".xz", ".zst", ".zip", ".lz4", ".br", ".7z", ".snappy")
"""Endings of packed files that are not read."""
_UNREAD = {".json", ".jsonl", ".ndjson", ".xlsx", ".xls", ".feather", ".arrow", ".orc", ".avro"}
"""Endings of other formats: no text of the usual format, whatever that is."""

ENDINGS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".libsvm": "libsvm",
    ".svm": "libsvm",
    ".libffm": "libffm",
    ".ffm": "libffm",
}
_UNMARKED = {"utf-8-sig": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}
"""What encodings with a byte order mark are in files without one."""
_MAGIC = {
    b"PAR1": "Parquet",
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"ARROW1": "Arrow",
}
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins with that of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MENDED = (
    ("utf-16-le", 'set csv.encoding = "utf-16-le" in [data] (init: --encoding utf-16-le)'),
    ("utf-16-be", 'set csv.encoding = "utf-16-be" in [data] (init: --encoding utf-16-be)'),
    ("gzip", "give it a name that ends in .gz"),
    ("zip", "unpack it"),
    ("zstd", "unpack it"),
)
"""What to do about a file that is something else than its name says."""
_SNIFFED_BYTES = 1 << 16
_COUNTED_BYTES = 4 << 20


class Source(NamedTuple):
    """One file of a log.

    Attributes
    ----------
    path
        As it was named or found: a local path, or a remote name (`io.stores`).
    position
        Its place among the files of the log, from 0.
    format
        One of `FORMATS`.
    gzipped
        Whether its bytes are compressed as a whole.
    num_bytes
        Its size on disk.
    version_tag
        Changes when the file does: its size, and its time or, of a store that has them, its entity tag.
    base
        The folder, file or fixed beginning of a glob by which it was named.
    encoding
        Of a text file: a name of Python's codecs, ``utf-8-sig`` where a byte order mark says so.
    """

    path: str
    position: int
    format: str
    gzipped: bool
    num_bytes: int
    version_tag: tuple[int | str, ...]
    base: str = ""
    encoding: str = "utf-8"


def format_of(paths: Sequence[str | Path]) -> str | None:
    """Return the format that the first of some names tells.

    Examples
    --------
    >>> format_of(["day-1/", "day-2/*.csv.gz"]), format_of(["log.txt"])
    ('csv', None)
    """
    return next(filter(None, (known_format(str(path)) for path in paths)), None)


def known_format(name: str) -> str | None:
    """Return the format that the ending of a name tells."""
    return ENDINGS.get(Path(name.lower().removesuffix(".gz")).suffix)


def check_format(name: str) -> None:
    """Raise an error where a format is unknown."""
    if name not in FORMATS:
        raise ConfigError("the format is unknown", where="format", got=name, fix=did_you_mean(name, FORMATS))


def known_encoding(name: str | None) -> str:
    """Return the name that Python has for an encoding of text."""
    try:
        "".encode(name or "utf-8")
        found = codecs.lookup(name or "utf-8").name
    except (LookupError, ValueError):
        raise ConfigError(
            "the encoding is unknown", where="csv.encoding", expected="a name such as latin-1, cp1252, utf-16", got=name
        ) from None
    return _UNMARKED.get(found, found)


def examine(path: str, position: int, format: str | None, usual_format: str | None, base: str, encoding: str) -> Source:
    """Return a file, whose place in the log is `position`, if it is what its name says; see `find_files.find_files`.

    Raises
    ------
    DataError
        It is not; `EmptyFileError` where it has no byte.
    """
    gzipped = path.lower().endswith(".gz")
    kind = format or known_format(path) or (None if Path(path.lower()).suffix in _UNREAD else usual_format)
    packed = Path(path.lower()).suffix
    if kind is None and packed in PACKED and known_format(path[: -len(packed)]):
        raise DataError(
            f"the file is packed as {packed[1:]}",
            where=path,
            expected="a plain file, or one packed by gzip",
            fix="unpack it, or pack it by gzip",
        )
    if kind is None:
        raise DataError(
            "the file's name does not tell its format",
            where=path,
            expected=f"an ending of {', '.join(ENDINGS)} (or .gz)",
            fix=f"give the format: {', '.join(FORMATS)}; a file of another, such as JSON or a spreadsheet, has to be "
            "written as CSV or Parquet first",
        )
    with open_file(path) as file:
        version_tag = version_tag_of(path, file)
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
        raise DataError(
            "the Parquet file is cut off",
            where=path,
            expected="PAR1 at its end",
            got=repr(tail),
            fix="copy or write the file again",
        )
    source = Source(path, position, kind, gzipped, num_bytes, version_tag, base)
    return source if kind == "parquet" else _as_text(source, encoding)


def _as_text(source: Source, encoding: str) -> Source:
    """Return a text file with its encoding: the one that its byte order mark tells, or else the one given."""
    head = _head(source)
    if not head:
        raise _empty(source.path)
    marked = next((name for mark, name in _BYTE_ORDER_MARKS if head.startswith(mark)), None)
    source = source._replace(encoding=marked or encoding)
    if b"\0" in (head if source.encoding == "utf-8" else _head(source)):
        name = "UTF-8" if source.encoding.startswith("utf-8") else source.encoding
        raise _mistaken(source.path, f"{source.format} text in {name}", _with_zeros(head))
    return source


def _head(source: Source) -> bytes:
    with open_stream(source) as stream:
        return read_from(source, stream, _SNIFFED_BYTES)


class EmptyFileError(DataError):
    """There is no byte in a file."""


def _empty(path: str) -> DataError:
    return EmptyFileError("the file is empty", where=path, fix="remove it, or write it again")


def _with_zeros(head: bytes) -> str:
    """Say what text with zero bytes is: every other byte of western text in UTF-16 is one."""
    share = 2 * head.count(0) / len(head)
    first = head.index(0)
    order = "be" if first % 2 == 0 else "le"
    what = f"utf-16-{order} text without a byte order mark" if 0.9 < share <= 1.1 else "binary data"
    return f"{what}, a zero byte at {first}"


def _mistaken(path: str, expected: str, got: str) -> DataError:
    return DataError(
        "the file is not what its name says",
        where=path,
        expected=expected,
        got=got,
        fix=next(
            (fix for kind, fix in _MENDED if kind in got),
            "name its format (--format, [data] format), give it the ending of its format, or write it again",
        ),
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
    """Open a text file as a stream of UTF-8 without a byte order mark, unpacked if it is gzipped."""
    file = stores.open_stream(source.path) if stores.is_remote(source.path) else open_file(source.path)
    stream = pa.CompressedInputStream(file, "gzip") if source.gzipped else file
    if source.encoding == "utf-8-sig":
        read_from(source, stream, len(codecs.BOM_UTF8))
    elif source.encoding != "utf-8":
        stream = pa.transcoding_input_stream(stream, source.encoding, "utf-8")
    return stream


def version_tag_of(path: str, file: pa.NativeFile | None = None) -> tuple[int | str, ...]:
    """Return the version tag of a file as it is now (see `Source`)."""
    if stores.is_remote(path):
        return stores.version_tag(path, file or stores.open_file(path))
    try:
        status = os.stat(path)
    except OSError as error:
        raise _unreadable(path, error) from None
    return status.st_size, status.st_mtime_ns


def read_from(source: Source, stream: pa.NativeFile, num_bytes: int) -> bytes:
    """Read up to `num_bytes`; damaged gzip data is a DataError, and so are bytes that the encoding has not."""
    try:
        return bytes(stream.read(num_bytes))
    except (OSError, UnicodeError) as error:
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
    if isinstance(error, UnicodeError):
        return _undecodable(source)
    return DataError(
        "the gzip data is damaged or cut off" if source.gzipped else "the file cannot be read",
        where=source.path,
        got=error,
        fix="copy or write the file again",
    )


def _undecodable(source: Source) -> DataError:
    """Say where the first bytes stand that the encoding of a file has not."""
    decoder = codecs.getincrementaldecoder(source.encoding)()
    line, num_bytes = 1, 0
    with open_stream(source._replace(encoding="utf-8")) as stream:
        piece = b"begin"
        try:
            while piece:
                piece = read_from(source, stream, _SNIFFED_BYTES)
                line += decoder.decode(piece, final=not piece).count("\n")
                num_bytes += len(piece)
        except UnicodeDecodeError as error:
            line += error.object[: error.start].decode(source.encoding, "replace").count("\n")
            at = num_bytes + len(piece) - len(error.object) + error.start
            found = error.object[error.start : error.end].hex(" ")
            return DataError(
                f"the file is not {source.encoding} text",
                where=f"{source.path}, line {line}",
                got=f"byte {at:,} is {found} (hexadecimal): {error.reason}",
                fix="correct csv.encoding in [data] (init: --encoding), or the line",
            )
    return DataError(f"the file is not {source.encoding} text", where=source.path, fix="correct csv.encoding")


def _unreadable(path: str, error: OSError) -> DataError:
    if stores.is_remote(path):
        return stores.unreadable(path, error)
    return DataError("the file cannot be read", where=path, got=error.strerror or error)


def check_names(source: Source, names: Sequence[str]) -> None:
    """Raise DataError if column names are duplicated."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        places = ", ".join(str(at + 1) for at, name in enumerate(names) if name == twice[0])
        raise DataError(
            "duplicate column names",
            where=f"{source.path}, columns {places}",
            got=", ".join(map(repr, twice[:10])),
            fix="give each column a name of its own, or remove one",
        )
