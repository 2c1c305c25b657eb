"""The texts behind ids, for people: those of values that occur often enough to get an id, collected in fitting.

Fitting needs fingerprints and counts alone. Most distinct values of a log are rare and get no feature of their own; to
keep their texts would take more memory than all else. So a text is kept when its value has come `min_count` times.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.features.canonical import buffers, plain
from fieldwise.features.cells import Arrays
from fieldwise.features.scratch import Scratch
from fieldwise.features.vocabulary import FIRST, Vocabulary
from fieldwise.kernels.layout import MISSING
from fieldwise.kernels.texts import put_texts

__all__ = ["TextCollector"]

_LEAST_BUFFER_BYTES, _LARGEST_BUFFER_BYTES = 1 << 14, 1 << 20
_SHARE = 8
"""Of what is on disk, this part may wait in memory: a thousand small fields take little, a large one few writes."""


class TextCollector:
    """The texts of values of one field; may be used from several threads.

    Parameters
    ----------
    scratch
        Takes the texts.

    Examples
    --------
    >>> from fieldwise.features.counting import VocabularyCounter
    >>> counter, collector = VocabularyCounter(), TextCollector(Scratch())
    >>> keys = np.array([70, 71], np.uint64)
    >>> collector.add(keys, pa.array(["a", "b"]))
    >>> _ = counter.add(keys[[1, 0, 1]])
    >>> vocabulary = counter.finish(Scratch())
    >>> collector.finish(vocabulary)
    >>> vocabulary.texts([2, 3])
    ['b', 'a']
    """

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._lock = threading.Lock()
        self._buffer = _Buffer()
        self._pieces: list[tuple[int, int, int]] = []  # place, texts, bytes
        self._buffer_bytes = _LEAST_BUFFER_BYTES
        self._num_written = 0

    def add(self, fingerprints: npt.NDArray[np.uint64], texts: pa.Array) -> None:
        """Keep the texts of N values."""
        content, offsets, _ = buffers(plain(texts))
        with self._lock:
            self._buffer.keys += fingerprints.data
            self._buffer.lengths += np.diff(offsets).astype(np.uint32).data
            self._buffer.content += content[offsets[0] :].data
            num_waiting = len(self._buffer.content) + len(self._buffer.keys)
            if num_waiting < self._buffer_bytes:
                return
            self._num_written += num_waiting
            self._buffer_bytes = min(max(self._num_written // _SHARE, _LEAST_BUFFER_BYTES), _LARGEST_BUFFER_BYTES)
            full, self._buffer = self._buffer, _Buffer()
        self._write(full)

    def learned(self) -> Arrays:
        """Return the texts collected so far, for `add_learned` of another."""
        self._write(self._buffer)
        self._buffer = _Buffer()
        pieces = list(self._read())
        return {
            name: np.concatenate([np.zeros(0, dtype=kind), *(piece[at] for piece in pieces)])
            for at, (name, kind) in enumerate((("text_keys", np.uint64), ("lengths", np.uint32), ("content", np.uint8)))
        }

    def add_learned(self, arrays: Arrays) -> None:
        """Add the texts that another has collected."""
        keys = arrays["text_keys"]
        if len(keys):
            piece = self._scratch.write(keys, arrays["lengths"], arrays["content"])
            self._pieces.append((piece, len(keys), len(arrays["content"])))

    def finish(self, vocabulary: Vocabulary) -> None:
        """Give a vocabulary the texts of its values, beside those that it has; values without one get an empty text."""
        self._write(self._buffer)
        known_bytes, known_offsets = vocabulary.saved_texts
        known_lengths = np.diff(known_offsets)
        lengths_of_all = self._scratch.zeros(vocabulary.rows - FIRST + 1, np.int64)
        of_values = lengths_of_all[1:]
        of_values[: len(known_lengths)] = known_lengths
        ids = []
        for keys, lengths, _ in self._read():
            found = vocabulary.lookup(keys)
            is_value = found >= FIRST
            is_value[is_value] = of_values[found[is_value] - FIRST] == 0
            found[~is_value] = MISSING
            of_values[found[is_value] - FIRST] = lengths[is_value]
            ids.append(found)
        offsets = np.cumsum(lengths_of_all, out=lengths_of_all)
        text_bytes = self._scratch.zeros(int(offsets[-1]), np.uint8)
        known = _read_only(known_lengths.astype(np.uint32)), _read_only(known_bytes)
        ids_known = np.arange(FIRST, FIRST + len(known_lengths), dtype=np.uint32)
        pieces = ((lengths, content) for _, lengths, content in self._read())
        for of_piece, (lengths, content) in zip(chain([ids_known], ids), chain([known], pieces), strict=True):
            put_texts(of_piece, lengths, content, np.uint32(FIRST), offsets, text_bytes)
        vocabulary.set_texts(text_bytes, offsets)

    def _write(self, full: _Buffer) -> None:
        arrays = [np.frombuffer(part, dtype=np.uint8) for part in (full.keys, full.lengths, full.content)]
        if len(full.keys):
            piece = self._scratch.write(*arrays), len(full.keys) // 8, len(full.content)
            with self._lock:
                self._pieces.append(piece)

    def _read(self) -> Iterator[tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint32], npt.NDArray[np.uint8]]]:
        for place, num, num_bytes in self._pieces:
            yield (
                self._scratch.read(place, np.uint64, num),
                self._scratch.read(place + 8 * num, np.uint32, num),
                self._scratch.read(place + 12 * num, np.uint8, num_bytes),
            )


class _Buffer:
    """Texts on their way to disk: many small writes would cost more than they hold."""

    def __init__(self) -> None:
        self.keys, self.lengths, self.content = bytearray(), bytearray(), bytearray()


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a view as what was read is: numba compiles once for each kind of array."""
    view = array.view()
    view.flags.writeable = False
    return view
