"""The format of a cache: what lies where in a block.

::

    PART/
        examples.bin     blocks, one after the other
        manifest.json    what the planes hold; offset, size and checksum of every block; written last

    block  := directory, planes               all begin at multiples of 64 bytes, with zeros between
    directory := int64 for each plane: where it begins in the block; 0: the block has no such plane
    planes := ids8, ids16, ids32, values, labels, weights, groups, then of each bag: offsets, ids, weights

A block holds 65,536 examples, the last one the rest. What belongs to one example stands together in a plane
(row-major): reading one example touches a cache line or two of each. Ids lie in the narrowest plane that holds their
field's rows: most fields of a log have less than 256 or 65,536 values, which makes the cache 2 to 4 times smaller
than one of 32-bit ids.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from fieldwise.errors import ArtefactError
from fieldwise.kernels.layout import BAG, SINGLE, VALUE, Layout

__all__ = [
    "BLOCK_EXAMPLES",
    "DATA_NAME",
    "FORMAT",
    "MANIFEST_NAME",
    "VERSION",
    "Block",
    "CacheManifest",
    "Contents",
    "Planes",
    "refuse_misfits",
]

FORMAT, VERSION = "fieldwise-cache", 1
DATA_NAME, MANIFEST_NAME = "examples.bin", "manifest.json"
BLOCK_EXAMPLES = 65_536
ALIGNMENT = 64

_ID_DTYPES = (np.uint8, np.uint16, np.uint32)
_MAX_ROWS = 1 << 32


class Contents(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the examples of a cache consist of.

    Attributes
    ----------
    forms, num_rows
        Of each field: its form (see `kernels.layout`) and the number of its rows.
    num_classes
        Labels are below it; 0 where the examples have none.
    weights, groups
        Whether the examples have them.
    block_examples
        Examples in a whole block.
    """

    forms: tuple[int, ...]
    num_rows: tuple[int, ...]
    num_classes: int
    weights: bool
    groups: bool
    block_examples: int = BLOCK_EXAMPLES


class Block(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a block lies in the file."""

    offset: int
    num_bytes: int
    num_examples: int
    checksum: str


class CacheManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in manifest.json."""

    contents: Contents
    num_examples: int
    blocks: tuple[Block, ...]


def refuse_misfits(manifest: CacheManifest) -> None:
    """Raise ArtefactError, without a place, where what a manifest says is no cache."""
    contents, blocks = manifest.contents, manifest.blocks

    def require(holds: bool, expected: str) -> None:
        if not holds:
            raise ArtefactError("the manifest is inconsistent", expected=expected)

    require(len(contents.forms) == len(contents.num_rows), "a number of rows for each field")
    require(all(form in (SINGLE, VALUE, BAG) for form in contents.forms), "fields of known forms")
    require(all(0 < rows <= _MAX_ROWS for rows in contents.num_rows), f"fields of 1 to {_MAX_ROWS} rows")
    require(0 <= contents.num_classes < 1 << 31, "a number of classes")
    require(0 < contents.block_examples < 1 << 31, "blocks of one example or more")
    sizes = [block.num_examples for block in blocks]
    require(all(size == contents.block_examples for size in sizes[:-1]), "whole blocks before the last")
    require(all(0 < size <= contents.block_examples for size in sizes[-1:]), "an example or more in the last block")
    require(sum(sizes) == manifest.num_examples, "examples of all blocks")
    place = 0
    for block in blocks:
        require(block.offset == place and block.num_bytes > 0, "blocks one after the other")
        require(block.num_bytes % ALIGNMENT == 0, f"blocks of a multiple of {ALIGNMENT} bytes")
        place += block.num_bytes


class Plane(NamedTuple):
    """A plane that every example has equally many numbers in; none: the block has no such plane."""

    dtype: npt.DTypeLike
    numbers_per_example: int


class Planes:
    """The planes of a cache with given contents.

    Attributes
    ----------
    layout
        Of the batches.
    id_lines
        Three arrays: the lines of `Batch.ids` in the planes of 8, 16 and 32 bits.
    id_rows
        Three arrays: the number of rows of the fields of these lines.
    fixed
        ids8, ids16, ids32, values, labels, weights, groups.
    num_bags
        G.
    """

    VALUES, LABELS, WEIGHTS, GROUPS, BAGS = 3, 4, 5, 6, 7

    def __init__(self, contents: Contents) -> None:
        self.layout = Layout.of(list(contents.forms), list(contents.num_rows))
        self.num_classes = contents.num_classes
        num_rows = np.diff(self.layout.base)[self.layout.form != BAG]
        width = np.searchsorted(np.array([1 << 8, 1 << 16]), num_rows)
        self.id_lines = [np.flatnonzero(width == w) for w in range(3)]
        self.id_rows = [num_rows[lines] for lines in self.id_lines]
        self.num_bags = int((self.layout.bag >= 0).sum())
        self.fixed = (
            *(Plane(dtype, len(lines)) for dtype, lines in zip(_ID_DTYPES, self.id_lines, strict=True)),
            Plane(np.float32, int((self.layout.value >= 0).sum())),
            Plane(np.uint8 if contents.num_classes <= 256 else np.int32, int(contents.num_classes > 0)),
            Plane(np.float32, int(contents.weights)),
            Plane(np.uint64, int(contents.groups)),
        )

    @property
    def num_planes(self) -> int:
        """Planes in a block, absent ones too."""
        return self.BAGS + 3 * self.num_bags

    def refuse_misfits(self, block: npt.NDArray[np.uint8], num_examples: int) -> None:
        """Raise ArtefactError, without a place, where a block holds what these planes cannot.

        Kernels take the numbers of a block for places in memory. This reads all of them once more: a fifth of what
        reading the block and its checksum take.
        """
        num_rows = np.diff(self.layout.base)
        directory = block[: 8 * self.num_planes].view(np.int64)
        if len(directory) < self.num_planes:
            raise ArtefactError("a block is too short for its directory", got=f"{len(block)} bytes")

        def plane(number: int, dtype: npt.DTypeLike, count: int) -> npt.NDArray[Any]:
            begin, end = int(directory[number]), int(directory[number]) + count * np.dtype(dtype).itemsize
            if not 0 < begin <= end <= len(block) or begin % ALIGNMENT:
                raise ArtefactError("a plane lies outside its block", expected=f"0 to {len(block)}", got=(begin, end))
            return block[begin:end].view(dtype)

        def refuse(numbers: npt.NDArray[Any], limits: npt.NDArray[np.int64] | int, what: str) -> None:
            if numbers.size and (numbers.reshape(num_examples, -1).max(axis=0) >= limits).any():
                raise ArtefactError(f"{what} is out of range")

        for number, fixed in enumerate(self.fixed):
            if not fixed.numbers_per_example:
                continue
            numbers = plane(number, fixed.dtype, num_examples * fixed.numbers_per_example)
            if number < self.VALUES:
                refuse(numbers, self.id_rows[number], "an id")
            elif number == self.LABELS:
                refuse(numbers.view(f"u{numbers.itemsize}"), self.num_classes, "a label")
        for bag, rows in enumerate(num_rows[self.layout.bag >= 0].tolist()):
            first = self.BAGS + 3 * bag
            offsets = plane(first, np.uint32, num_examples + 1)
            if offsets[0] or (offsets[1:] < offsets[:-1]).any():
                raise ArtefactError("the offsets of a bag do not increase from 0")
            count = int(offsets[-1])
            if count and plane(first + 1, np.uint32, count).max() >= rows:
                raise ArtefactError("an id is out of range")
            if directory[first + 2]:
                plane(first + 2, np.float32, count)

    def itemsizes(self) -> npt.NDArray[np.int64]:
        """Return (num_planes,) bytes of a number in each plane."""
        fixed = [np.dtype(plane.dtype).itemsize for plane in self.fixed]
        return np.array([*fixed, *[4] * (3 * self.num_bags)], dtype=np.int64)


def padded(num_bytes: int) -> int:
    """Return the next multiple of the alignment.

    Examples
    --------
    >>> padded(0), padded(1), padded(64)
    (0, 64, 64)
    """
    return -(-num_bytes // ALIGNMENT) * ALIGNMENT


def bytes_of(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return a contiguous array as bytes, without a copy."""
    return array.reshape(-1).view(np.uint8)
