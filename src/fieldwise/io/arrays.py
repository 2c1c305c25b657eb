"""Arrays on disk in the safetensors format, memory-mapped without a copy.

The header is parsed here because it is where untrusted bytes become memory addresses: everything in it is checked
before it is used. Nothing is ever unpickled.
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
_READABLE = {**_DTYPES, "BF16": np.uint16}  # numpy has no bfloat16: its bits are read as uint16


class _Tensor(msgspec.Struct, forbid_unknown_fields=True):
    dtype: str
    shape: list[Annotated[int, Meta(ge=0)]]
    data_offsets: tuple[Annotated[int, Meta(ge=0)], Annotated[int, Meta(ge=0)]]


class Pieces(NamedTuple):
    """An array produced piece by piece: its dtype, its shape, and its consecutive parts along the first axis."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    parts: Iterable[npt.NDArray[Any]]

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of the whole array."""
        return math.prod(self.shape) * self.itemsize


def save_arrays(path: str | Path, arrays: Mapping[str, npt.NDArray[Any] | Pieces]) -> str:
    """Write arrays atomically as a safetensors file and return the checksum of the file.

    The safetensors library is not used for writing: here the checksum is computed on the fly, a full disk raises an
    `OSError` with its errno, and the data start at a multiple of 64 bytes. Arrays are copied in pieces of 4 MB, so that
    a non-contiguous column of a large table is never copied as a whole.

    Parameters
    ----------
    path
        The file to write; an existing one is replaced.
    arrays
        Arrays by name, of boolean, integer or floating-point type. `Pieces` are written as they are produced.

    Returns
    -------
    str
        The xxh3_128 of the file (`files.checksum`).

    Raises
    ------
    ResourceError
        The disk is full.
    ArtefactError
        The file cannot be written for another reason.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "arrays.safetensors"
    >>> digest = save_arrays(path, {"counts": np.array([3, 1])})
    >>> load_verified(path, digest)["counts"].tolist()
    [3, 1]
    """
    # Wider items first, as the format's own library does: then every array is aligned to its item without holes.
    names = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    header: dict[str, object] = {}
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
    """Memory-map a safetensors file and return its arrays, as read-only views without a copy.

    Only the header is checked; see `load_verified` for the data.

    Raises
    ------
    ArtefactError
        The file is missing or truncated, or its header does not describe it; the message says where.
    """
    path = Path(path)
    data = map_file(path)
    tensors, data_start = _parse_header(path, data)
    arrays = {}
    for name, tensor in tensors.items():
        start, end = (data_start + offset for offset in tensor.data_offsets)
        arrays[name] = data[start:end].view(_READABLE[tensor.dtype]).reshape(tensor.shape)
    return arrays


def load_verified(path: str | Path, expected: str | None) -> dict[str, npt.NDArray[Any]]:
    """Verify the checksum of a whole safetensors file, then memory-map it as `load_arrays` does.

    Raises
    ------
    ArtefactError
        The file is missing or truncated, or its checksum is not `expected`.
    """
    path = Path(path)
    found = checksum(path)
    if found != expected:
        load_arrays(path)  # if the header is damaged, this raises with the exact position
        raise ArtefactError(
            "the array file is damaged", where=path, expected=f"checksum {expected}", got=found, fix=RESTORE
        )
    return load_arrays(path)


def header_checksum(path: str | Path) -> str:
    """Return the checksum of the header of a safetensors file, i.e. of everything before the data."""
    path = Path(path)
    data = map_file(path)
    return checksum(data[: _parse_header(path, data)[1]].tobytes())


def load_headed(path: str | Path, expected: str | None) -> dict[str, npt.NDArray[Any]]:
    """Verify the header of a safetensors file only, and memory-map it; the data must be verified by other means.

    Parameters
    ----------
    path
        The file.
    expected
        Its `header_checksum` when it was written.

    Raises
    ------
    ArtefactError
        The file is missing or truncated, or the checksum of its header is not `expected`.
    """
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


def _parse_header(path: Path, data: npt.NDArray[np.uint8]) -> tuple[dict[str, _Tensor], int]:
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
        msgspec.json.decode(entries.pop("__metadata__", b"{}"), type=dict[str, str])  # of other writers
        tensors = {name: msgspec.json.decode(entry, type=_Tensor) for name, entry in entries.items()}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise refuse("header", "a JSON object of arrays", error) from None

    position = 0
    for name, tensor in sorted(tensors.items(), key=lambda entry: entry[1].data_offsets):
        start, end = tensor.data_offsets
        if tensor.dtype not in _READABLE:
            raise refuse(f"array {name}", f"one of {', '.join(_READABLE)}", tensor.dtype)
        itemsize = np.dtype(_READABLE[tensor.dtype]).itemsize
        # Zero sizes are counted as 1: they would hide sizes so large that numpy's 64-bit arithmetic overflows.
        if (
            len(tensor.shape) > _MAX_DIMENSIONS
            or math.prod(max(size, 1) for size in tensor.shape) * itemsize >= 1 << 63
        ):
            raise refuse(f"array {name}", "a shape of less than 2^63 bytes", tensor.shape[:_MAX_DIMENSIONS])
        num_bytes = math.prod(tensor.shape) * itemsize
        if end - start != num_bytes:
            raise refuse(f"array {name}", f"{num_bytes} bytes for the shape {tensor.shape}", end - start)
        if start != position or (8 + length + start) % itemsize:
            raise refuse(f"array {name}", f"data at offset {position}, aligned to {itemsize} bytes", start)
        position = end
    if position != len(data) - 8 - length:
        raise refuse("data", f"{position} bytes", f"{len(data) - 8 - length} bytes")
    return tensors, 8 + length


def expect(
    arrays: Mapping[str, npt.NDArray[Any]], name: str, dtype: npt.DTypeLike, shape: tuple[int | None, ...]
) -> npt.NDArray[Any]:
    """Return an array by name after checking its dtype and shape.

    A checksum shows that bytes were not damaged, not that they are trustworthy: arrays that become memory indices or
    sizes are checked here before they are used.

    Parameters
    ----------
    arrays
        Arrays by name, as returned by `load_arrays`.
    name
        The name of the array.
    dtype, shape
        The expected type and shape; None in `shape` allows any size.

    Raises
    ------
    ArtefactError
        The array is missing, or its dtype or shape differs.

    Examples
    --------
    >>> expect({"counts": np.zeros(3, np.int64)}, "counts", np.int64, (3,)).tolist()
    [0, 0, 0]
    >>> expect({"counts": np.zeros(3, np.int64)}, "counts", np.int64, (4,))
    Traceback (most recent call last):
    ...
    fieldwise.errors.ArtefactError: an array has an unexpected type or shape
      where: counts
      expected: int64 (4,)
      got: int64 (3,)
    """
    array = arrays.get(name)
    fits = array is not None and array.dtype == dtype and len(array.shape) == len(shape)
    if array is None or not fits or any(b not in (None, a) for a, b in zip(array.shape, shape, strict=True)):
        expected = ", ".join("any" if size is None else str(size) for size in shape)
        raise ArtefactError(
            "an array has an unexpected type or shape",
            where=name,
            expected=f"{np.dtype(dtype)} ({expected}{',' * (len(shape) == 1)})",
            got="none" if array is None else f"{array.dtype} {array.shape}",
        )
    return array
