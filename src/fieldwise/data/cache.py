"""Reading a cache (`data.cache_format`): encoded examples on disk, gathered in any order at memory speed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fieldwise.data.cache_format import DATA_NAME, FORMAT, MANIFEST_NAME, VERSION, CacheManifest, Planes, refuse_misfits
from fieldwise.data.cache_format import Block as BlockEntry
from fieldwise.errors import ArtefactError
from fieldwise.io.blocks import BlockVerifier, FileBlock
from fieldwise.io.files import map_file
from fieldwise.io.manifests import read_manifest
from fieldwise.kernels.decode import CacheArrays, GatherTarget, bag_entries, bag_offsets, read_examples, touch
from fieldwise.kernels.layout import Batch, Examples, Layout

__all__ = ["Cache", "Examples"]

Int64s = npt.NDArray[np.int64]
Columns = tuple[npt.NDArray[np.int32], npt.NDArray[np.float32], npt.NDArray[np.uint64]]

_PREPARE = "remove the prepared folder that it belongs to, and run the same command again"
_PAGE_BYTES = 4096


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

    def __init__(self, folder: Path, manifest: CacheManifest, checksum: str, data: npt.NDArray[np.uint8]) -> None:
        self.folder = folder
        self.num_examples = manifest.num_examples
        self.num_classes = manifest.contents.num_classes
        self.num_bytes = len(data)
        self.checksum = checksum
        self._planes = Planes(manifest.contents)
        self.layout: Layout = self._planes.layout
        self._block_examples = manifest.contents.block_examples
        planes, num_blocks = self._planes, len(manifest.blocks)
        self._starts = np.full((planes.num_planes, num_blocks), -1, dtype=np.int64)
        path = folder / DATA_NAME
        self._verifier = BlockVerifier(
            path,
            [FileBlock(block.offset, block.num_bytes, block.checksum) for block in manifest.blocks],
            "the cache",
            _PREPARE,
            accept=_note_starts(path, planes, manifest.blocks, self._starts),
        )
        # The whole file as numbers of each width: planes are aligned, so a place in a plane is an index into one of
        # these.
        self._floats = data.view(np.float32)
        self._source = CacheArrays(
            words8=data,
            words16=data.view(np.uint16),
            words32=data.view(np.uint32),
            words64=data.view(np.uint64),
            block_examples=self._block_examples,
            begins=self._starts[: planes.BAGS],
            lines8=planes.id_lines[0],
            lines16=planes.id_lines[1],
            lines32=planes.id_lines[2],
            value_lines=np.arange(planes.fixed[planes.VALUES].numbers_per_example),
        )
        self._numbers = np.array([plane.numbers_per_example for plane in planes.fixed], dtype=np.int64)
        self._itemsizes = planes.itemsizes()[: planes.BAGS]
        widest = int((self._numbers * self._itemsizes).max())
        self._every = max(_PAGE_BYTES // max(widest, 1), 1)

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
                "no complete cache found",
                where=folder,
                expected=MANIFEST_NAME,
                got="none: it was never written, or writing it was interrupted",
                fix=_PREPARE,
            )
        manifest, checksum = read_manifest(folder / MANIFEST_NAME, CacheManifest, format=FORMAT, version=VERSION)
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
        return cls(folder, manifest, checksum, data)

    def gather(self, rows: Int64s, room: Examples | None = None) -> Examples:
        """Return the examples at these places, in this order.

        Parameters
        ----------
        rows
            (B,) int64, each 0 to num_examples - 1; in any order, also more than once.
        room
            Examples of this cache that are no longer needed: their memory is reused if they are as many. Fresh
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
        self._admit(rows)
        planes, num_examples = self._planes, len(rows)
        if room is not None and room.batch.num_examples == num_examples:
            ids, values = room.batch.ids, room.batch.values
        else:
            ids = np.empty((sum(map(len, planes.id_lines)), num_examples), dtype=np.uint32)
            values = np.empty((planes.fixed[planes.VALUES].numbers_per_example, num_examples), dtype=np.float32)
        labels, weights, groups = self._columns(num_examples)
        examples = Examples(
            Batch(ids, values, *self._gather_bags(rows)),
            labels[0] if len(labels) else None,
            weights[0] if len(weights) else None,
            groups[0] if len(groups) else None,
        )
        read_examples(self._reading(self._source, rows, ids, values, (labels, weights, groups)))
        return examples

    def read_ahead(self, rows: Int64s) -> None:
        """Read these examples from the disk into the page cache, so that `gather` need not wait for it.

        Errors are left for `gather` to raise.
        """
        with suppress(ArtefactError):
            self._admit(rows)
        touch(self._source, self._numbers, self._itemsizes, rows, self._every)

    def labels(self) -> npt.NDArray[np.int32]:
        """Return the labels of all examples, (num_examples,), and read nothing else of them."""
        found = np.empty(self.num_examples, dtype=np.int32)
        for rows, (labels, _, _) in self._columns_by_block():
            assert len(labels), "the examples have no labels"
            found[rows] = labels[0]
        return found

    def has_weight(self) -> bool:
        """Whether an example has a weight other than 0; of weights, nothing is read after the first block with one."""
        return any(not len(weights) or weights.any() for _, (_, weights, _) in self._columns_by_block())

    def _columns_by_block(self) -> Iterator[tuple[Int64s, Columns]]:
        """Yield the examples of each block, and their labels, weights and groups alone."""
        nothing = np.empty(0, dtype=np.int64)
        columns_alone = self._source._replace(lines8=nothing, lines16=nothing, lines32=nothing, value_lines=nothing)
        for begin in range(0, self.num_examples, self._block_examples):
            rows = np.arange(begin, min(begin + self._block_examples, self.num_examples))
            self._admit(rows)
            columns = self._columns(len(rows))
            none = np.empty((0, len(rows)), dtype=np.uint32)
            read_examples(self._reading(columns_alone, rows, none, none.view(np.float32), columns))
            yield rows, columns

    def verify(self) -> None:
        """Verify every block.

        Raises
        ------
        ArtefactError
            It names the first damaged block.
        """
        self._verifier.verify()

    def _columns(self, num_examples: int) -> Columns:
        """Return room for the labels, weights and groups of examples: (1, B), or (0, B) where they have none."""
        planes = self._planes
        lines = [planes.fixed[plane].numbers_per_example for plane in (planes.LABELS, planes.WEIGHTS, planes.GROUPS)]
        return (
            np.empty((lines[0], num_examples), dtype=np.int32),
            np.empty((lines[1], num_examples), dtype=np.float32),
            np.empty((lines[2], num_examples), dtype=np.uint64),
        )

    def _reading(
        self,
        source: CacheArrays,
        rows: Int64s,
        ids: npt.NDArray[np.uint32],
        values: npt.NDArray[np.float32],
        columns: Columns,
    ) -> GatherTarget:
        """Return what fills these arrays."""
        labels, weights, groups = columns
        # Moved as unsigned numbers whatever they mean: the kernel for one plane is then compiled for four pairs of
        # types.
        plain = labels.view(np.uint32)
        narrow = self._planes.fixed[self._planes.LABELS].dtype is np.uint8
        split = (plain, plain[:0]) if narrow else (plain[:0], plain)
        return GatherTarget(source, rows, ids, values.view(np.uint32), *split, weights.view(np.uint32), groups)

    def _gather_bags(self, rows: Int64s) -> tuple[Int64s, npt.NDArray[np.uint32], npt.NDArray[np.float32]]:
        num_bags = self._planes.num_bags
        offsets = np.zeros((num_bags, len(rows) + 1), dtype=np.int64)
        if not num_bags:
            return offsets, np.empty(0, dtype=np.uint32), np.empty(0, dtype=np.float32)
        blocks, inside = np.divmod(rows, self._block_examples)
        words = self._source.words32
        starts = self._starts[self._planes.BAGS :].reshape(num_bags, 3, -1)
        bag_offsets(words, starts[:, 0], blocks, inside, offsets)
        ids = np.empty(offsets[-1, -1], dtype=np.uint32)
        weights = np.empty(len(ids), dtype=np.float32)
        bag_entries(words, self._floats, starts, blocks, inside, offsets, ids, weights)
        return offsets, ids, weights

    def _admit(self, rows: Int64s) -> None:
        """Verify the blocks of these examples that were not verified before."""
        if self._verifier.verified.all():
            return
        wanted = np.zeros(len(self._verifier.blocks), dtype=np.bool_)
        wanted[rows // self._block_examples] = True
        self._verifier.admit(wanted)


def _note_starts(
    path: Path, planes: Planes, blocks: tuple[BlockEntry, ...], starts: Int64s
) -> Callable[[int, bytes], None]:
    """Return what sets ``starts[:, number]`` to where the planes of a verified block begin, in numbers of their width;
    -1 where there is none.
    """

    def note(number: int, data: bytes) -> None:
        try:
            planes.refuse_misfits(np.frombuffer(data, dtype=np.uint8), blocks[number].num_examples)
        except ArtefactError as error:
            raise _misfit(f"{path}, block {number}", error) from None
        directory = np.frombuffer(data, dtype=np.int64, count=planes.num_planes)
        starts[:, number] = np.where(directory > 0, (blocks[number].offset + directory) // planes.itemsizes(), -1)

    return note


def _misfit(where: object, error: ArtefactError) -> ArtefactError:
    return ArtefactError(
        "the cache is inconsistent", where=where, got=error.what, expected=error.expected, fix=_PREPARE
    )
