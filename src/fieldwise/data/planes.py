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

from fieldwise.kernels.layout import BAG, Layout

__all__ = [
    "BLOCK_EXAMPLES",
    "DATA_NAME",
    "FORMAT",
    "MANIFEST_NAME",
    "VERSION",
    "Block",
    "Contents",
    "Manifest",
    "Planes",
]

FORMAT, VERSION = "fieldwise-cache", 1
DATA_NAME, MANIFEST_NAME = "examples.bin", "manifest.json"
BLOCK_EXAMPLES = 65_536
ALIGNMENT = 64

_ID_DTYPES = (np.uint8, np.uint16, np.uint32)


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


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in manifest.json."""

    contents: Contents
    num_examples: int
    blocks: tuple[Block, ...]


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
