"""The texts behind ids, for people: collected while rows are encoded, because only then is known which values are kept.

Fitting needs fingerprints and counts alone. Most distinct values of a log are rare and get no feature of their own;
to keep their texts until that is known would take more memory than all else.
"""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt

from fieldwise.features.canonical import buffers, plain
from fieldwise.features.columns import TextsAt
from fieldwise.features.scratch import Scratch
from fieldwise.kernels.layout import UNSEEN, Uint32s
from fieldwise.kernels.texts import claim, put_texts

__all__ = ["NO_TEXTS", "TextCollector"]

NO_TEXTS = np.zeros(0, dtype=np.uint8), np.zeros(0, dtype=np.int64)
"""Bytes and offsets where no text is known."""
_FIRST = UNSEEN + 1


class TextCollector:
    """The text of each feature of a field; may be used from several threads.

    Parameters
    ----------
    rows
        Number of local ids. Missing and unseen have no text.
    scratch
        Takes the texts.
    text_bytes, text_offsets
        The texts of the first values, as `finish` returns them, where these are known already.

    Examples
    --------
    >>> import pyarrow as pa
    >>> collector = TextCollector(4, Scratch())
    >>> collector.add(np.array([3, 0, 3], np.uint32), pa.array(["b", None, "b"]).take)
    >>> collector.add(np.array([2], np.uint32), pa.array(["a"]).take)
    >>> text_bytes, text_offsets = collector.finish()
    >>> text_bytes.tobytes(), text_offsets.tolist()
    (b'ab', [0, 1, 2])
    """

    def __init__(
        self,
        rows: int,
        scratch: Scratch,
        text_bytes: npt.NDArray[np.uint8] = NO_TEXTS[0],
        text_offsets: npt.NDArray[np.int64] = NO_TEXTS[1],
    ) -> None:
        self._text_bytes, self._text_offsets = text_bytes, text_offsets
        num_known = _FIRST + max(len(text_offsets) - 1, 0)
        self._known = scratch.zeros(rows, np.bool_)
        self._known[:num_known] = True
        self._num_left = rows - num_known
        self._scratch = scratch
        self._lock = threading.Lock()
        self._pieces: list[tuple[int, int, int]] = []  # place, texts, bytes

    def add(self, ids: Uint32s, texts: TextsAt) -> None:
        """Take the texts of the ids that are new among N; `texts` is asked for those alone."""
        if not self._num_left:
            return
        positions = np.empty(len(ids), dtype=np.int64)
        with self._lock:
            num_new = claim(ids, self._known, positions)
            self._num_left -= num_new
        if not num_new:
            return
        new = positions[:num_new]
        content, offsets, _ = buffers(plain(texts(new)))
        content = content[offsets[0] :]
        place = self._scratch.write(ids[new], np.diff(offsets).astype(np.uint32), content)
        with self._lock:
            self._pieces.append((place, num_new, len(content)))

    def finish(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """Return the texts from id 2 on, end to end, and where each begins and ends; empty for those never met."""
        offsets = self._scratch.zeros(len(self._known) - _FIRST + 1, np.int64)
        offsets[1 : len(self._text_offsets)] = np.diff(self._text_offsets)
        for place, num, _ in self._pieces:
            ids, lengths = self._scratch.read(place, np.uint32, 2 * num).reshape(2, num)
            offsets[ids - UNSEEN] = lengths
        np.cumsum(offsets, out=offsets)
        text_bytes = self._scratch.zeros(int(offsets[-1]), np.uint8)
        text_bytes[: len(self._text_bytes)] = self._text_bytes
        for place, num, num_bytes in self._pieces:
            ids, lengths = self._scratch.read(place, np.uint32, 2 * num).reshape(2, num)
            content = self._scratch.read(place + 8 * num, np.uint8, num_bytes)
            put_texts(ids - np.uint32(_FIRST), lengths, content, offsets, text_bytes)
        return text_bytes, offsets
