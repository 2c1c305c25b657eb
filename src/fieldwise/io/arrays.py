"""Arrays on disk: the safetensors format, mapped into memory without a copy.

The header is parsed here, because it is the border where foreign bytes become memory addresses: everything in it is
checked before it is used. Nothing is ever unpickled.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import xxhash
from msgspec import Meta

from fieldwise.errors import ArtefactError
from fieldwise.io.files import MAX_HEADER_BYTES, RESTORE, atomic_file, checksum, map_file

__all__ = [
    "Pieces",
    "expect",
    "header_checksum",
    "load_arrays",
    "load_headed",
    "load_metadata",
    "load_verified",
    "save_arrays",
]

_SLICE = 1 << 22
_MAX_DIMENSIONS = 8

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
            "the array file is damaged", where=path, expected=f"checksum {expected}", got=found, fix=RESTORE
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
            fix=RESTORE,
        )
    return arrays


def _parse_header(path: Path, data: npt.NDArray[np.uint8]) -> _Header:
    def refuse(place: str, expected: object, got: object) -> ArtefactError:
        return ArtefactError(
            "the array file is damaged", where=f"{path}, {place}", expected=expected, got=got, fix=RESTORE
        )

    if len(data) < 8:
        raise refuse("header length", "8 bytes", f"{len(data)} bytes")
    length = int.from_bytes(data[:8].tobytes(), "little")
    limit = min(len(data) - 8, MAX_HEADER_BYTES)
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


def expect(
    arrays: Mapping[str, npt.NDArray[Any]], name: str, dtype: npt.DTypeLike, shape: tuple[int | None, ...]
) -> npt.NDArray[Any]:
    """Return the array of a name, if it is what it must be.

    A checksum says that bytes are those that were written, not that whoever wrote them meant well: what becomes an
    index into memory, or a size, is compared with what it is to fit.

    Raises
    ------
    ArtefactError
        There is none, or it is of another type or shape; None in `shape` stands for any number.

    Examples
    --------
    >>> expect({"counts": np.zeros(3, np.int64)}, "counts", np.int64, (3,)).tolist()
    [0, 0, 0]
    >>> expect({"counts": np.zeros(3, np.int64)}, "counts", np.int64, (4,))
    Traceback (most recent call last):
    ...
    fieldwise.errors.ArtefactError: an array does not fit
      where: counts
      expected: int64 (4,)
      got: int64 (3,)
    """
    array = arrays.get(name)
    fits = array is not None and array.dtype == dtype and len(array.shape) == len(shape)
    if array is None or not fits or any(b not in (None, a) for a, b in zip(array.shape, shape, strict=True)):
        expected = ", ".join("any" if size is None else str(size) for size in shape)
        raise ArtefactError(
            "an array does not fit",
            where=name,
            expected=f"{np.dtype(dtype)} ({expected}{',' * (len(shape) == 1)})",
            got="none" if array is None else f"{array.dtype} {array.shape}",
        )
    return array
