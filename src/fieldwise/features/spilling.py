"""Which counts of values go to disk, before they take more memory than they may."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.features.counting import VocabularyCounter
from fieldwise.features.fields import FieldEncoder, IndexedEncoder
from fieldwise.features.scratch import Scratch

__all__ = ["Counting", "bytes_soon", "counting", "spill"]


class Counting(NamedTuple):
    """A field whose values are being counted."""

    encoder: IndexedEncoder
    counter: VocabularyCounter


def counting(encoders: Iterable[FieldEncoder]) -> list[Counting]:
    """Return the fields that count values, of all."""
    return [
        Counting(encoder, encoder.counter)
        for encoder in encoders
        if isinstance(encoder, IndexedEncoder) and isinstance(encoder.counter, VocabularyCounter)
    ]


def bytes_soon(fields: Sequence[Counting]) -> npt.NDArray[np.int64]:
    """Return (N + 1,): the bytes that may be taken soon by all of them, by those from the second on, ..., by none.

    Every table that may have to grow may do so, one after the other, and one may be moved besides.
    """
    soon, moving = (
        np.array([*numbers, 0][::-1], dtype=np.int64)
        for numbers in (
            [counter.bytes_soon for _, counter in fields],
            [counter.bytes_moving for _, counter in fields],
        )
    )
    from_the_end: npt.NDArray[np.int64] = np.cumsum(soon) + np.maximum.accumulate(moving)
    return from_the_end[::-1]


def spill(fields: Sequence[Counting], limit: int, scratch: Scratch) -> None:
    """Move counts to disk, the largest first, until `bytes_soon` is `limit` at most; others may learn meanwhile."""
    largest_first = sorted(fields, key=lambda field: -field.counter.nbytes)
    for encoder, counter in largest_first[: int(np.argmax(bytes_soon(largest_first) <= limit))]:
        with encoder.lock:
            counter.spill(scratch)
