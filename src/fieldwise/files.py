"""Artefacts on disk: written whole or not at all, and never believed without a checksum.

Three forms of file, from which every cache, bundle and run folder is made:

bytes
    Written to a temporary file beside its place, synced, renamed, and the folder synced: a reader sees the old file
    or the new one, never half of one, also after a power cut.
manifest
    JSON with a format name, a version and the checksum of its own content. It is written last and says that its
    folder is complete.
arrays
    The safetensors format, mapped into memory without a copy. The header is parsed here, because it is the border where
    foreign bytes become memory addresses: everything in it is checked before it is used. Nothing is ever unpickled.

Checksums are xxh3 (128 bits, hexadecimal): they find damage, not malice.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import io
import math
import mmap
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, BinaryIO, NamedTuple, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import xxhash
from msgspec import Meta

from fieldwise.errors import ArtefactError, ResourceError, UserError

__all__ = [
    "Pieces",
    "Upgrades",
    "atomic_file",
    "checksum",
    "discard",
    "explaining",
    "header_checksum",
    "load_arrays",
    "load_headed",
    "load_metadata",
    "load_verified",
    "manifest_format",
    "map_file",
    "read_manifest",
    "remove_leftovers",
    "remove_unfinished",
    "save_arrays",
    "sync_folder",
    "write_bytes",
    "write_manifest",
]

Content = TypeVar("Content", bound=msgspec.Struct)
_SLICE = 1 << 22
_MAX_HEADER_BYTES = 1 << 26
_MAX_DIMENSIONS = 8
_RESTORE = "restore it from a copy, or make it anew"


# --- bytes ---


class _NewFile(io.FileIO):
    """A new, unbuffered file under a temporary name; an error of writing it names `path`, which it is to become.

    It is locked as long as it is open, so that `remove_leftovers` can tell it from one of a process that died.
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
    """Open a file for writing that appears under its name only when the block ends without an exception.

    Errors of other files inside the block stay their own.

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
    """Remove what processes that died while they wrote the file at `path` have left beside it."""
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 8}.tmp"):
        with suppress(OSError), temporary.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_size:  # an empty one may have been made just now, and be locked next
                temporary.unlink()


@contextmanager
def explaining(path: str | Path) -> Iterator[None]:
    """Turn an OSError of the block into the UserError that says what is wrong with the file at `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ResourceError(
                "the disk is full", where=path, got=error.strerror, fix="free some space, or write to another disk"
            ) from error
        if error.errno == errno.ENOENT:
            raise ArtefactError("a file is missing", where=path, fix=_RESTORE) from error
        raise ArtefactError("the file cannot be used", where=path, got=error.strerror or str(error)) from error


def write_bytes(path: str | Path, data: bytes) -> str:
    """Write a small file atomically and return its checksum."""
    with atomic_file(path) as file:
        file.write(data)
    return checksum(data)


def checksum(source: bytes | memoryview | Path) -> str:
    """Return the xxh3_128 of some bytes, of the memory of a contiguous array, or of the file at a path.

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
    """Raise ArtefactError where a path is no file: a pipe would be waited for, and a device has no end."""
    with explaining(path):
        mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise ArtefactError("this is no file", where=path, expected="a regular file", got=stat.filemode(mode))


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last: a rename is on the disk when this returns."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_unfinished(folder: Path) -> None:
    """Remove what processes that were killed have left of `atomic_file` in a folder that nobody else writes to."""
    for leftover in folder.glob(".*.tmp"):
        if leftover.is_file():
            with explaining(leftover):
                leftover.unlink()


def discard(folder: Path) -> None:
    """Remove a folder, where it is there, at one stroke: a crash leaves it whole, or as ``.old-NAME.tmp``, which the
    next call for the same folder removes.
    """
    hidden = folder.with_name(f".old-{folder.name}.tmp")
    shutil.rmtree(hidden, ignore_errors=True)
    if folder.exists():
        with explaining(folder):
            folder.rename(hidden)
            sync_folder(folder.parent)
        shutil.rmtree(hidden, ignore_errors=True)


# --- manifest ---


class _Sealed(msgspec.Struct, forbid_unknown_fields=True):
    """What a manifest's file holds around its content."""

    format: str
    version: int
    checksum: str
    content: msgspec.Raw


def write_manifest(path: str | Path, content: msgspec.Struct, *, format: str, version: int) -> str:
    """Write a manifest atomically and return the checksum of its content.

    The checksum is taken without white space, so that a manifest stays valid when a person re-indents it.
    """
    body = msgspec.json.encode(content)
    seal = checksum(body)
    text = msgspec.json.encode(_Sealed(format, version, seal, msgspec.Raw(body)))
    write_bytes(path, msgspec.json.format(text, indent=1) + b"\n")
    return seal


Upgrades = Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]
"""For every older version that can be read, what turns the content of its manifest into that of the next version."""


def read_manifest(
    path: str | Path, type: type[Content], *, format: str, version: int, upgrades: Upgrades | None = None
) -> tuple[Content, str]:
    """Return a manifest's content, as that of the version of today, and its checksum.

    Raises
    ------
    ArtefactError
        It is damaged, of another kind, of a newer version, or of an older one that cannot be read any more.
    """
    path = Path(path)
    require_file(path)
    with explaining(path):
        num_bytes = path.stat().st_size
        if num_bytes > _MAX_HEADER_BYTES:
            raise ArtefactError(
                "the manifest is too long", where=path, expected=f"at most {_MAX_HEADER_BYTES} bytes", got=num_bytes
            )
        text = path.read_bytes()
    try:
        sealed = msgspec.json.decode(text, type=_Sealed)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtefactError("the manifest cannot be read", where=path, got=error, fix=_RESTORE) from None
    if sealed.format != format:
        raise ArtefactError("this is another kind of artefact", where=path, expected=format, got=sealed.format)
    steps = range(sealed.version, version)
    if sealed.version > version:
        raise ArtefactError(
            "the artefact was written by a newer version of fieldwise",
            where=path,
            expected=f"format version {version} or older",
            got=sealed.version,
            fix="install a newer fieldwise, or make it anew with this one",
        )
    if not all(step in (upgrades or {}) for step in steps):
        raise ArtefactError(
            "the artefact was written by an older version of fieldwise, whose format is no longer read",
            where=path,
            expected=f"format version {version}",
            got=sealed.version,
            fix="make it anew, or use the version of fieldwise that wrote it",
        )
    body = msgspec.json.format(bytes(sealed.content), indent=-1)
    seal = checksum(body)
    if seal != sealed.checksum:
        raise ArtefactError(
            "the manifest is damaged", where=path, expected=f"checksum {sealed.checksum}", got=seal, fix=_RESTORE
        )
    try:
        for step in steps:
            body = msgspec.json.encode((upgrades or {})[step](msgspec.json.decode(body, type=dict[str, Any])))
        return msgspec.json.decode(body, type=type), seal
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError) as error:
        raise ArtefactError("the manifest does not fit its format", where=path, got=error, fix=_RESTORE) from None


def manifest_format(path: str | Path) -> str | None:
    """Return what kind of artefact a manifest says it belongs to; None where it cannot be read."""
    try:
        require_file(Path(path))
        return msgspec.json.decode(Path(path).read_bytes(), type=_Sealed).format
    except (OSError, ArtefactError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


# --- arrays ---

_DTYPES: dict[str, npt.DTypeLike] = {
    "BOOL": np.bool_,
    "U8": np.uint8,
    "U16": np.uint16,
    "U32": np.uint32,
    "U64": np.uint64,
    "I8": np.int8,
    "I16": np.int16,
    "I32": np.int32,
    "I64": np.int64,
    "F16": np.float16,
    "F32": np.float32,
    "F64": np.float64,
}
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}
_READABLE = {**_DTYPES, "BF16": np.uint16}  # numpy has no bfloat16: its bits come as they are


class _Tensor(msgspec.Struct, forbid_unknown_fields=True):
    dtype: str
    shape: list[Annotated[int, Meta(ge=0)]]
    data_offsets: tuple[Annotated[int, Meta(ge=0)], Annotated[int, Meta(ge=0)]]


class _Header(NamedTuple):
    tensors: dict[str, _Tensor]
    metadata: dict[str, str]
    data_start: int


class Pieces(NamedTuple):
    """An array that is nowhere whole: its type, its shape, and its parts along the first axis, in their order."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    parts: Iterable[npt.NDArray[Any]]

    @property
    def itemsize(self) -> int:
        """Bytes of a number."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all."""
        return math.prod(self.shape) * self.itemsize


def save_arrays(
    path: str | Path, arrays: Mapping[str, npt.NDArray[Any] | Pieces], metadata: Mapping[str, str] | None = None
) -> str:
    """Write arrays atomically as a safetensors file and return the file's checksum.

    Written here and not by the safetensors library: the checksum is taken on the way, without a second reading; a
    full disk is an `OSError` with its number; and the data start at a multiple of 64 bytes. Arrays are copied piece by
    piece, so that one column of a large table takes no memory of its own.

    Raises
    ------
    ResourceError
        The disk is full.
    """
    # Wider items first, as the format's own library does: then every array is aligned to its item without holes.
    names = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name in names:
        array = arrays[name]
        header[name] = _Tensor(_NAMES[array.dtype], list(array.shape), (end, end + array.nbytes))
        end += array.nbytes
    text = msgspec.json.encode(header)
    text += b" " * (-(len(text) + 8) % 64)
    digest = xxhash.xxh3_128()
    with atomic_file(path) as file:
        for piece in (len(text).to_bytes(8, "little"), text):
            digest.update(piece)
            file.write(piece)
        for name in names:
            whole = arrays[name]
            for array in whole.parts if isinstance(whole, Pieces) else [np.atleast_1d(whole)]:
                step = max(_SLICE * len(array) // max(array.nbytes, 1), 1)
                for start in range(0, len(array), step):
                    piece = array[start : start + step].tobytes()
                    digest.update(piece)
                    file.write(piece)
    return digest.hexdigest()


def load_arrays(path: str | Path) -> dict[str, npt.NDArray[Any]]:
    """Map a safetensors file into memory: read-only arrays that are views of the file, no copy.

    Raises
    ------
    ArtefactError
        The file is missing, truncated, or its header is not true of it: the message names the place.
    """
    path = Path(path)
    data = map_file(path)
    header = _parse_header(path, data)
    arrays = {}
    for name, tensor in header.tensors.items():
        start, end = (header.data_start + offset for offset in tensor.data_offsets)
        arrays[name] = data[start:end].view(_READABLE[tensor.dtype]).reshape(tensor.shape)
    return arrays


def load_metadata(path: str | Path) -> dict[str, str]:
    """Return the texts that `save_arrays` was given."""
    path = Path(path)
    return _parse_header(path, map_file(path)).metadata


def load_verified(path: str | Path, expected: str | None) -> dict[str, npt.NDArray[Any]]:
    """Map a safetensors file into memory after all of its bytes were found to have the checksum `expected`.

    Raises
    ------
    ArtefactError
        The file is missing, truncated or damaged.
    """
    path = Path(path)
    found = checksum(path)
    if found != expected:
        load_arrays(path)  # where the header shows the damage, its message names the place
        raise ArtefactError(
            "the array file is damaged", where=path, expected=f"checksum {expected}", got=found, fix=_RESTORE
        )
    return load_arrays(path)


def header_checksum(path: str | Path) -> str:
    """Return the checksum of all that stands before the data in a safetensors file."""
    path = Path(path)
    data = map_file(path)
    return checksum(data[: _parse_header(path, data).data_start].tobytes())


def load_headed(path: str | Path, expected: str | None) -> dict[str, npt.NDArray[Any]]:
    """As `load_verified`, of a file whose data are verified by other means: `expected` is its `header_checksum`."""
    path = Path(path)
    arrays, found = load_arrays(path), header_checksum(path)
    if found != expected:
        raise ArtefactError(
            "the array file is damaged",
            where=f"{path}, header",
            expected=f"checksum {expected}",
            got=found,
            fix=_RESTORE,
        )
    return arrays


def map_file(path: str | Path) -> npt.NDArray[np.uint8]:
    """Map a file into memory as read-only bytes; the mapping lives as long as any view of it."""
    path = Path(path)
    require_file(path)
    with explaining(path), path.open("rb") as file:
        empty = os.fstat(file.fileno()).st_size == 0
        mapped = b"" if empty else mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    return np.frombuffer(mapped, dtype=np.uint8)


def _parse_header(path: Path, data: npt.NDArray[np.uint8]) -> _Header:
    def refuse(place: str, expected: object, got: object) -> ArtefactError:
        return ArtefactError(
            "the array file is damaged", where=f"{path}, {place}", expected=expected, got=got, fix=_RESTORE
        )

    if len(data) < 8:
        raise refuse("header length", "8 bytes", f"{len(data)} bytes")
    length = int.from_bytes(data[:8].tobytes(), "little")
    limit = min(len(data) - 8, _MAX_HEADER_BYTES)
    if length > limit:
        raise refuse("header length", f"at most {limit}", length)
    try:
        entries = msgspec.json.decode(data[8 : 8 + length].tobytes(), type=dict[str, msgspec.Raw])
        metadata = msgspec.json.decode(entries.pop("__metadata__", msgspec.Raw(b"{}")), type=dict[str, str])
        tensors = {name: msgspec.json.decode(entry, type=_Tensor) for name, entry in entries.items()}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise refuse("header", "a JSON object of arrays", error) from None

    position = 0
    for name, tensor in sorted(tensors.items(), key=lambda entry: entry[1].data_offsets):
        start, end = tensor.data_offsets
        if tensor.dtype not in _READABLE:
            raise refuse(f"array {name}", f"one of {', '.join(_READABLE)}", tensor.dtype)
        itemsize = np.dtype(_READABLE[tensor.dtype]).itemsize
        # A 0 among the sizes hides how large the others are, and numpy counts in 64 bits.
        if (
            len(tensor.shape) > _MAX_DIMENSIONS
            or math.prod(max(size, 1) for size in tensor.shape) * itemsize >= 1 << 63
        ):
            raise refuse(f"array {name}", "a shape whose bytes can be counted", tensor.shape[:_MAX_DIMENSIONS])
        num_bytes = math.prod(tensor.shape) * itemsize
        if end - start != num_bytes:
            raise refuse(f"array {name}", f"{num_bytes} bytes for the shape {tensor.shape}", end - start)
        if start != position or (8 + length + start) % itemsize:
            raise refuse(f"array {name}", f"data that start at {position}, aligned to {itemsize}", start)
        position = end
    if position != len(data) - 8 - length:
        raise refuse("data", f"{position} bytes", f"{len(data) - 8 - length} bytes")
    return _Header(tensors, metadata, 8 + length)
