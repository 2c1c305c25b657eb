"""The order of the examples in an epoch, and batches in that order.

Fully random rows are slow when they come from a disk (evidence: 40 times), and blocks in random order alone leave
input that is sorted by label or by time unmixed. So: the part is cut into *runs* of 1,024 consecutive examples; the
runs are shuffled; windows of 256 runs at most are cut from that order, as equal as can be; and the examples of a
window are shuffled. A window is a sample of the whole part, and it is read in pieces of 1,024 examples.

A thread draws the order of the next window and waits for the disk to read it, while the batches of this one are
worked on. A batch itself is copied out of the cache when it is asked for, by all threads: a copy made beside a step
takes its time from the step where that keeps all cores at work
(docs/log/2026-11/table.md#how-should-shuffled-examples-be-read).

Everything follows from (seed, epoch, window), so an epoch can be continued from any batch without going through those
before.

Of several workers each takes a range of every batch, cut from the batch in the order of the cache. So all take as many
steps, each as many examples as another, the batches are those of one process; and a worker finds its part of all the
batches of a window, which are samples of it, in the same part of the cache.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, Queue
from threading import Event, Thread
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from fieldwise.data.cache import Cache, Examples
from fieldwise.kernels.random import name_rows, permutation

__all__ = ["ROOMS", "Batches", "epoch_order", "prefetch"]

Item = TypeVar("Item")
Int64s = npt.NDArray[np.int64]

_DEPTH = 2
ROOMS = _DEPTH + 2
"""Batches that live while the next is made, with `prefetch`: one is worked on, one is planned, two
wait, one is on its way there."""
RUN_EXAMPLES = 1_024
WINDOW_RUNS = 256
_DRAWN_AT_ONCE = 1 << 20


class Batches:
    """The batches of a cache.

    Parameters
    ----------
    cache
        The examples.
    batch_size
        Examples in a batch, 1 or more; the last batch of an epoch holds the rest.
    seed
        0 or more; the order depends on it and on the number of the epoch.
    shuffle
        Whether the order is random, or that of the cache.
    share
        The part of every batch to take, and the number of parts: ``(0, 1)`` is the whole batch, ``(w, W)`` that of
        worker w of W.
    negative_rate
        The fraction of the examples of label 0 to keep, in (0, 1], drawn by the seed, the same ones in every epoch.

    Attributes
    ----------
    num_examples, num_batches
        Of an epoch, over all parts.
    """

    def __init__(
        self,
        cache: Cache,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        share: tuple[int, int] = (0, 1),
        negative_rate: float = 1.0,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size (={batch_size}) must be 1 or more")
        self.cache, self.batch_size, self.seed, self.shuffle, self.share = cache, batch_size, seed, shuffle, share
        self.kept = None if negative_rate >= 1 else _some_negatives(cache, seed, negative_rate)
        self.num_examples = cache.num_examples if self.kept is None else int(self.kept.sum())
        self.num_batches = -(-self.num_examples // batch_size)

    def epoch(self, number: int, start: int = 0, *, keep: int | None = None) -> Generator[Examples, None, None]:
        """Yield the batches of an epoch from batch `start` on; each example is in exactly one batch of the epoch.

        With `keep`, the memory of a batch is reused once `keep` more batches have been requested: 0 for a loop that
        works on one batch at a time, `ROOMS` for one that takes them through `prefetch`.
        """
        kept: deque[Examples] = deque()
        with prefetch(self._read_ahead(self._pieces(number, start * self.batch_size)), depth=1) as pieces:
            for rows in self._cut(pieces):
                room = kept.popleft() if keep is not None and len(kept) > keep else None
                examples = self.cache.gather(rows, room)
                if keep is not None:
                    kept.append(examples)
                yield examples

    def size(self, position: int) -> int:
        """Return the number of examples of a batch, over all parts."""
        return min(self.batch_size, self.num_examples - position * self.batch_size)

    def rows(self, number: int, start: int = 0) -> Iterator[Int64s]:
        """Yield the rows (B,) of the cache that each batch consists of."""
        return self._cut(self._pieces(number, start * self.batch_size))

    def _read_ahead(self, pieces: Iterator[Int64s]) -> Iterator[Int64s]:
        """Yield the pieces when the examples in them that are this share's, as good as all, are in memory."""
        part, parts = self.share
        begin, end = (self.cache.num_examples * place // parts for place in (part, part + 1))
        for rows in pieces:
            self.cache.read_ahead(rows if parts == 1 else rows[(begin <= rows) & (rows < end)])
            yield rows

    def _cut(self, pieces: Iterator[Int64s]) -> Iterator[Int64s]:
        """Yield this share of the rows of each batch."""
        part, parts = self.share
        for rows in self._cut_whole(pieces):
            yield rows if parts == 1 else np.sort(rows)[len(rows) * part // parts : len(rows) * (part + 1) // parts]

    def _cut_whole(self, pieces: Iterator[Int64s]) -> Iterator[Int64s]:
        left = np.empty(0, dtype=np.int64)
        for piece in pieces:
            left = np.concatenate((left, piece)) if len(left) else piece
            num_whole = len(left) // self.batch_size * self.batch_size
            yield from left[:num_whole].reshape(-1, self.batch_size)
            left = left[num_whole:]
        if len(left):
            yield left

    def _pieces(self, number: int, first: int) -> Iterator[Int64s]:
        """Yield the rows of an epoch in its order, without the first ones."""
        if self.kept is None:
            yield from self._windows(number, first)
            return
        for piece in self._windows(number, 0):
            rows = piece[self.kept[piece]]
            yield rows[first:]
            first = max(first - len(rows), 0)

    def _windows(self, number: int, first: int) -> Iterator[Int64s]:
        """Yield all rows of the cache in the order of an epoch, without the first ones."""
        whole = self.cache.num_examples
        if self.shuffle:
            yield from epoch_order(whole, self.seed, number, first)
        else:
            size = WINDOW_RUNS * RUN_EXAMPLES
            yield from (np.arange(begin, min(begin + size, whole)) for begin in range(first, whole, size))


def _some_negatives(cache: Cache, seed: int, rate: float) -> npt.NDArray[np.bool_]:
    """Return which examples stay: all of label 1, and a share of label 0."""
    kept: npt.NDArray[np.bool_] = cache.labels() != 0
    for begin in range(0, len(kept), _DRAWN_AT_ONCE):
        part = kept[begin : begin + _DRAWN_AT_ONCE]
        part |= np.random.default_rng([seed, begin]).random(len(part)) < rate
    return kept


def epoch_order(num_examples: int, seed: int, epoch: int, start: int = 0) -> Iterator[Int64s]:
    """Yield the rows 0 .. num_examples - 1 in the random order of an epoch, window by window, without the first
    `start`.

    Examples
    --------
    >>> order = np.concatenate(list(epoch_order(10_000, seed=1, epoch=0)))
    >>> bool((np.sort(order) == np.arange(10_000)).all())
    True
    >>> rest = np.concatenate(list(epoch_order(10_000, seed=1, epoch=0, start=9_000)))
    >>> bool((rest == order[9_000:]).all())
    True
    """
    num_runs = -(-num_examples // RUN_EXAMPLES)
    num_windows = -(-num_runs // WINDOW_RUNS)
    runs = permutation(num_runs, seed, epoch, 0)
    position = 0
    for window in range(num_windows):
        inside = runs[window * num_runs // num_windows : (window + 1) * num_runs // num_windows]
        size = len(inside) * RUN_EXAMPLES
        if num_runs - 1 in inside:
            size -= num_runs * RUN_EXAMPLES - num_examples
        if position + size > start:
            rows = permutation(size, seed, epoch, window + 1)
            name_rows(rows, inside, RUN_EXAMPLES, num_examples)
            yield rows[max(start - position, 0) :]
        position += size


@contextmanager
def prefetch(items: Iterator[Item], depth: int = _DEPTH) -> Iterator[Iterator[Item]]:
    """Take items from an iterator in a thread, up to `depth` ahead.

    What the iterator raises is raised where the item would have come. When the block is left, early or not, the
    thread has ended.

    Examples
    --------
    >>> with prefetch(iter("abc")) as letters:
    ...     print(list(letters))
    ['a', 'b', 'c']
    """
    queue: Queue[Item | _End] = Queue(depth)
    stopped = Event()

    def fill() -> None:
        try:
            for item in items:
                queue.put(item)
                if stopped.is_set():
                    return
            queue.put(_End(None))
        except BaseException as error:
            queue.put(_End(error))

    def drain() -> Iterator[Item]:
        while not isinstance(item := queue.get(), _End):
            yield item
        if item.error is not None:
            raise item.error

    thread = Thread(target=fill, name="fieldwise-prefetch", daemon=True)
    thread.start()
    try:
        yield drain()
    finally:
        stopped.set()
        while thread.is_alive():  # it may be waiting for a place in the queue
            with suppress(Empty):
                queue.get(timeout=0.01)
        thread.join()


class _End:
    """The last thing in the queue: the iterator ended, or raised."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error
