"""Writing a cache: encoded chunks of any size in, blocks of fixed size out (the format is in `data.cache_format`)."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from fieldwise.data.cache import Cache
from fieldwise.data.cache_format import (
    BLOCK_EXAMPLES,
    DATA_NAME,
    FORMAT,
    MANIFEST_NAME,
    VERSION,
    Block,
    CacheManifest,
    Contents,
    Planes,
    bytes_of,
    padded,
)
from fieldwise.errors import DataError
from fieldwise.io.files import atomic_file, explaining
from fieldwise.io.manifests import write_manifest
from fieldwise.kernels.decode import pack_lines
from fieldwise.kernels.layout import Batch, Examples, Layout

__all__ = ["CacheWriter"]


class CacheWriter:
    """Writes a cache; a context manager that leaves no cache behind when its block ends with an exception.

    The bytes written depend on the examples and their order alone, not on the chunks they come in.

    Parameters
    ----------
    folder
        Made if missing; a cache that is there is replaced.
    layout
        Of the batches.
    num_classes
        Labels are below it; 0 where the examples have none.
    weights, groups
        Whether the examples have them.
    block_examples
        Examples in a block.

    Raises
    ------
    ResourceError
        The disk is full.

    Examples
    --------
    >>> import tempfile
    >>> from fieldwise.kernels.layout import SINGLE
    >>> ids = np.array([[2, 0, 1]], dtype=np.uint32)
    >>> none = np.empty(0, dtype=np.float32)
    >>> batch = Batch(ids, none.reshape(0, 3), np.empty((0, 4), dtype=np.int64), none.astype(np.uint32), none)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with CacheWriter(folder, Layout.of([SINGLE], [3]), num_classes=2) as writer:
    ...         writer.add(Examples(batch, np.array([1, 0, 0], dtype=np.int32), None, None))
    ...     cache = Cache.open(folder)
    ...     examples = cache.gather(np.array([2, 0]))
    >>> examples.batch.ids.tolist(), examples.labels.tolist()
    ([[1, 2]], [0, 1])
    """

    def __init__(
        self,
        folder: str | Path,
        layout: Layout,
        *,
        num_classes: int,
        weights: bool = False,
        groups: bool = False,
        block_examples: int = BLOCK_EXAMPLES,
    ) -> None:
        self.num_examples = 0
        self._folder = Path(folder)
        self._contents = Contents(
            forms=tuple(layout.form.tolist()),
            num_rows=tuple(np.diff(layout.base).tolist()),
            num_classes=num_classes,
            weights=weights,
            groups=groups,
            block_examples=block_examples,
        )
        self._planes = Planes(self._contents)
        self._fixed = [
            np.zeros((block_examples, plane.numbers_per_example), dtype=plane.dtype) for plane in self._planes.fixed
        ]
        self._bag_lengths = np.zeros((self._planes.num_bags, block_examples), dtype=np.int64)
        self._bag_entries: list[list[tuple[npt.NDArray[np.uint32], npt.NDArray[np.float32]]]] = []
        self._num_buffered = 0
        self._offset = 0
        self._blocks: list[Block] = []
        self._reset_bags()
        # The manifest goes first: from here on there is no cache until `close` has written the new one.
        with explaining(self._folder):
            (self._folder / MANIFEST_NAME).unlink(missing_ok=True)
        self._stack = ExitStack()
        self._file = self._stack.enter_context(atomic_file(self._folder / DATA_NAME))

    def __enter__(self) -> CacheWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._stack.__exit__(kind, error, traceback)

    def add(self, examples: Examples) -> None:
        """Append examples, which must have labels, weights and groups as the cache was told.

        Raises
        ------
        ValueError
            An id, a label or a column is not what the cache was told.
        """
        batch = examples.batch
        columns = (examples.labels, examples.weights, examples.groups)
        for number, column in enumerate(columns, start=self._planes.LABELS):
            if (column is not None) != bool(self._planes.fixed[number].numbers_per_example):
                raise ValueError("labels, weights and groups must be there or not as the cache was told")
        if examples.labels is not None and len(examples.labels):
            lowest, highest = int(examples.labels.min()), int(examples.labels.max())
            if lowest < 0 or highest >= self._contents.num_classes:
                raise ValueError(f"labels must be 0 to {self._contents.num_classes - 1}, got {lowest} to {highest}")
        start = 0
        while start < batch.num_examples:
            stop = min(start + self._contents.block_examples - self._num_buffered, batch.num_examples)
            self._buffer(batch, columns, start, stop)
            start = stop
            if self._num_buffered == self._contents.block_examples:
                self._write_block()

    def close(self) -> Cache:
        """Write what is left and the manifest, and open the cache."""
        if self._num_buffered:
            self._write_block()
        self._stack.close()
        manifest = CacheManifest(self._contents, self.num_examples, tuple(self._blocks))
        write_manifest(self._folder / MANIFEST_NAME, manifest, format=FORMAT, version=VERSION)
        return Cache.open(self._folder)

    def _reset_bags(self) -> None:
        self._bag_entries = [[] for _ in range(self._planes.num_bags)]

    def _buffer(self, batch: Batch, columns: tuple[npt.NDArray[Any] | None, ...], start: int, stop: int) -> None:
        """Copy examples start .. stop into the block that is being filled."""
        planes, to = self._planes, slice(self._num_buffered, self._num_buffered + stop - start)
        for plane, (lines, num_rows) in enumerate(zip(planes.id_lines, planes.id_rows, strict=True)):
            if not len(lines):  # a kernel would be compiled for this width
                continue
            wrong = pack_lines(batch.ids, lines, num_rows, start, self._fixed[plane][to])
            if wrong >= 0:
                raise ValueError(f"an id in line {wrong} is not below the number of rows of its field")
        self._fixed[planes.VALUES][to] = batch.values[:, start:stop].T
        for plane, column in enumerate(columns, start=planes.LABELS):
            if column is not None:
                self._fixed[plane][to, 0] = column[start:stop]
        self._bag_lengths[:, to] = np.diff(batch.offsets[:, start : stop + 1])
        for entries, offsets in zip(self._bag_entries, batch.offsets, strict=True):
            begin, end = offsets[start], offsets[stop]
            entries.append((batch.bag_ids[begin:end].copy(), batch.bag_weights[begin:end].copy()))
        self._num_buffered += stop - start
        self.num_examples += stop - start

    def _write_block(self) -> None:
        planes: list[npt.NDArray[Any]] = [plane[: self._num_buffered] for plane in self._fixed]
        for lengths, entries in zip(self._bag_lengths, self._bag_entries, strict=True):
            offsets = np.concatenate(([0], np.cumsum(lengths[: self._num_buffered])))
            if offsets[-1] >= 1 << 32:
                raise DataError("the bags of one field are too long", expected="2^32 values a block", got=offsets[-1])
            ids, weights = (np.concatenate(parts) for parts in zip(*entries, strict=True))
            planes += [offsets.astype(np.uint32), ids, weights if (weights != 1).any() else weights[:0]]

        directory = np.zeros(len(planes), dtype=np.int64)
        end = padded(directory.nbytes)
        for place, plane in enumerate(planes):
            if plane.size:
                directory[place] = end
                end += padded(plane.nbytes)
        digest = xxhash.xxh3_128()
        for plane in (directory, *planes):
            for piece in (bytes_of(plane).data, bytes(padded(plane.nbytes) - plane.nbytes)):
                digest.update(piece)
                self._file.write(piece)
        self._blocks.append(Block(self._offset, end, self._num_buffered, digest.hexdigest()))
        self._offset += end
        self._num_buffered = 0
        self._reset_bags()
