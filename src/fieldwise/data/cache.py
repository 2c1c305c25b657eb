"""Reading a cache: encoded examples on disk, gathered in any order at memory speed (the format is in `data.planes`)."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.data.planes import DATA_NAME, FORMAT, MANIFEST_NAME, VERSION, Block, Manifest, Planes, refuse_misfits
from fieldwise.errors import ArtefactError
from fieldwise.files import checksum, explaining, map_file
from fieldwise.kernels.decode import bag_entries, bag_offsets, gather_lines
from fieldwise.kernels.layout import Batch, Layout
from fieldwise.manifests import read_manifest

__all__ = ["Cache", "Examples"]

Int64s = npt.NDArray[np.int64]

_PREPARE = "remove the prepared folder that it belongs to, and run the same command again"
_FIRST_LINE = np.zeros(1, dtype=np.int64)


class Examples(NamedTuple):
    """A batch and what is known about its examples.

    Attributes
    ----------
    batch
        The features.
    labels
        (B,) int32 classes.
    weights
        (B,) float32; None where all are 1.
    groups
        (B,) uint64 fingerprints of the groups for GAUC.
    """

    batch: Batch
    labels: npt.NDArray[np.int32] | None
    weights: npt.NDArray[np.float32] | None
    groups: npt.NDArray[np.uint64] | None


class Cache:
    """The encoded examples of one part of the data, memory-mapped; made by `Cache.open`.

    It may be used from several threads. Each block is verified when the first of its examples is asked for.

    Attributes
    ----------
    folder
        Where it lies.
    layout
        Of the batches.
    num_examples
        How many there are.
    num_classes
        Labels are below it; 0 where there are none.
    num_bytes
        The size of the examples on disk.
    checksum
        Of the manifest, and through it of every byte: equal caches have equal checksums.
    """

    def __init__(self, folder: Path, manifest: Manifest, seal: str, data: npt.NDArray[np.uint8]) -> None:
        self.folder = folder
        self.num_examples = manifest.num_examples
        self.num_classes = manifest.contents.num_classes
        self.num_bytes = len(data)
        self.checksum = seal
        self._planes = Planes(manifest.contents)
        self.layout: Layout = self._planes.layout
        self._blocks = manifest.blocks
        self._block_examples = manifest.contents.block_examples
        # The whole file as numbers of each width: planes are aligned, so a place in a plane is an index into one of
        # these.
        self._data: dict[int, npt.NDArray[Any]] = {
            np.dtype(dtype).itemsize: data.view(dtype) for dtype in (np.uint8, np.uint16, np.uint32, np.uint64)
        }
        self._floats = data.view(np.float32)
        self._starts = np.full((self._planes.num_planes, len(self._blocks)), -1, dtype=np.int64)
        self._verified = np.zeros(len(self._blocks), dtype=np.bool_)
        self._lock = threading.Lock()

    @classmethod
    def open(cls, folder: str | Path) -> Cache:
        """Open a cache.

        Raises
        ------
        ArtefactError
            It is incomplete, damaged, or of another version.
        """
        folder = Path(folder)
        if not (folder / MANIFEST_NAME).is_file():
            raise ArtefactError(
                "there is no complete cache here",
                where=folder,
                expected=MANIFEST_NAME,
                got="none: it was never written, or writing it was interrupted",
                fix=_PREPARE,
            )
        manifest, seal = read_manifest(folder / MANIFEST_NAME, Manifest, format=FORMAT, version=VERSION)
        try:
            refuse_misfits(manifest)
        except ArtefactError as error:
            raise _misfit(folder / MANIFEST_NAME, error) from None
        data = map_file(folder / DATA_NAME)
        num_bytes = sum(block.num_bytes for block in manifest.blocks)
        if len(data) != num_bytes:
            raise ArtefactError(
                "the cache is truncated" if len(data) < num_bytes else "the cache is longer than it should be",
                where=folder / DATA_NAME,
                expected=f"{num_bytes} bytes",
                got=len(data),
                fix=_PREPARE,
            )
        return cls(folder, manifest, seal, data)

    def gather(self, rows: Int64s, room: Examples | None = None) -> Examples:
        """Return the examples at these places, in this order.

        Parameters
        ----------
        rows
            (B,) int64, each 0 to num_examples - 1; in any order, also more than once.
        room
            Examples of this cache that nobody needs any more: their memory is used again where they are as many. Fresh
            pages for every batch cost a third of the time to fill them.

        Raises
        ------
        ArtefactError
            A block that is read for the first time is damaged.
        IndexError
            A row is out of range.
        """
        if len(rows) and not 0 <= rows.min() <= rows.max() < self.num_examples:
            raise IndexError(f"rows must be 0 to {self.num_examples - 1}, got {rows.min()} to {rows.max()}")
        blocks, inside = np.divmod(rows, self._block_examples)
        self._admit(blocks)
        planes, num_examples = self._planes, len(rows)
        if room is not None and room.batch.num_examples == num_examples:
            ids, values = room.batch.ids, room.batch.values
        else:
            ids = np.empty((sum(map(len, planes.id_lines)), num_examples), dtype=np.uint32)
            values = np.empty((planes.fixed[planes.VALUES].numbers_per_example, num_examples), dtype=np.float32)
        for plane, lines in enumerate(planes.id_lines):
            self._gather_plane(plane, blocks, inside, lines, ids)
        self._gather_plane(planes.VALUES, blocks, inside, np.arange(len(values)), values.view(np.uint32))
        return Examples(
            Batch(ids, values, *self._gather_bags(blocks, inside)),
            self._gather_column(planes.LABELS, blocks, inside, np.int32, np.uint32),
            self._gather_column(planes.WEIGHTS, blocks, inside, np.float32, np.uint32),
            self._gather_column(planes.GROUPS, blocks, inside, np.uint64, np.uint64),
        )

    def labels(self) -> npt.NDArray[np.int32]:
        """Return the labels of all examples, (num_examples,), and read nothing else of them."""
        found = np.empty(self.num_examples, dtype=np.int32)
        for begin in range(0, self.num_examples, self._block_examples):
            rows = np.arange(begin, min(begin + self._block_examples, self.num_examples))
            blocks, inside = np.divmod(rows, self._block_examples)
            self._admit(blocks)
            labels = self._gather_column(self._planes.LABELS, blocks, inside, np.int32, np.uint32)
            assert labels is not None, "the examples have no labels"
            found[rows] = labels
        return found

    def verify(self) -> None:
        """Check every block now; ArtefactError names the first damaged one."""
        self._admit(np.arange(len(self._blocks)))

    def _gather_plane(self, plane: int, blocks: Int64s, inside: Int64s, lines: Int64s, out: npt.NDArray[Any]) -> None:
        dtype, width = self._planes.fixed[plane]
        if width:
            starts = self._starts[plane][blocks] + inside * width
            gather_lines(self._data[np.dtype(dtype).itemsize], starts, lines, out)

    def _gather_column(
        self, plane: int, blocks: Int64s, inside: Int64s, dtype: npt.DTypeLike, bits: npt.DTypeLike
    ) -> npt.NDArray[Any] | None:
        # Moved as unsigned numbers whatever they mean: the kernel is then compiled for four pairs of types, not for
        # eight.
        if not self._planes.fixed[plane].numbers_per_example:
            return None
        column = np.empty(len(blocks), dtype=dtype)
        self._gather_plane(plane, blocks, inside, _FIRST_LINE, column.view(bits)[np.newaxis])
        return column

    def _gather_bags(
        self, blocks: Int64s, inside: Int64s
    ) -> tuple[Int64s, npt.NDArray[np.uint32], npt.NDArray[np.float32]]:
        num_bags = self._planes.num_bags
        offsets = np.zeros((num_bags, len(blocks) + 1), dtype=np.int64)
        if not num_bags:
            return offsets, np.empty(0, dtype=np.uint32), np.empty(0, dtype=np.float32)
        words = self._data[4]
        starts = self._starts[self._planes.BAGS :].reshape(num_bags, 3, -1)
        bag_offsets(words, starts[:, 0], blocks, inside, offsets)
        ids = np.empty(offsets[-1, -1], dtype=np.uint32)
        weights = np.empty(len(ids), dtype=np.float32)
        bag_entries(words, self._floats, starts, blocks, inside, offsets, ids, weights)
        return offsets, ids, weights

    def _admit(self, blocks: Int64s) -> None:
        """Verify the blocks that were not verified before."""
        if not self._verified[blocks].all():
            with self._lock:
                for number in np.unique(blocks):
                    if not self._verified[number]:
                        self._starts[:, number] = self._directory(int(number), self._blocks[number])
                        self._verified[number] = True

    def _directory(self, number: int, block: Block) -> Int64s:
        """Return (num_planes,) where the planes of a block begin, in numbers of their width; -1 where there is none."""
        path = self.folder / DATA_NAME
        if not path.exists():
            raise ArtefactError("the cache has vanished", where=path, fix=_PREPARE)
        # Read, not mapped: where the disk gives nothing back, or another process has cut the file, reading is an error
        # and touching the map is a signal that ends the process.
        with explaining(path), path.open("rb") as file:
            file.seek(block.offset)
            data = file.read(block.num_bytes)
        found = checksum(data)
        if found != block.checksum:
            raise ArtefactError(
                "the cache is damaged",
                where=f"{path}, block {number}, bytes {block.offset} to {block.offset + block.num_bytes}",
                expected=f"checksum {block.checksum}",
                got=found,
                fix=_PREPARE,
            )
        try:
            self._planes.refuse_misfits(np.frombuffer(data, dtype=np.uint8), block.num_examples)
        except ArtefactError as error:
            raise _misfit(f"{path}, block {number}", error) from None
        directory = np.frombuffer(data, dtype=np.int64, count=self._planes.num_planes)
        return np.where(directory > 0, (block.offset + directory) // self._planes.itemsizes(), -1)


def _misfit(where: object, error: ArtefactError) -> ArtefactError:
    return ArtefactError(
        "the cache contradicts itself", where=where, got=error.what, expected=error.expected, fix=_PREPARE
    )
