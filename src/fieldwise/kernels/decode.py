"""From the planes of a cache to a batch, and back when a cache is written.

A cache stores what belongs to one example together (row-major, so that an example is one or two cache lines); a batch
stores what belongs to one field together (field-major). Every kernel here moves numbers between the two.

Letters: B examples of a batch, S lines of `ids`, L lines that share a plane, G bags, N ids in the bags of a batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from fieldwise.kernels.prefetch import prefetch_line

__all__ = ["bag_entries", "bag_offsets", "gather_lines", "pack_lines"]

Int64s = npt.NDArray[np.int64]

TILE = 32
"""Examples transposed together: 32 ids of 4 bytes fill two cache lines of the output, and 32 rows of the input stay in
L1."""
_LINE_BYTES = 64
_U = np.uint64


@njit(cache=True, nogil=True)
def gather_lines(plane: npt.NDArray[Any], starts: Int64s, lines: Int64s, out: npt.NDArray[Any]) -> None:
    """Gather rows of L numbers and write them as columns: ``out[lines[l], b] = plane[starts[b] + l]``.

    Parameters
    ----------
    plane
        (any,) numbers of any width.
    starts
        (B,) where the row of each example begins.
    lines
        (L,) the lines of `out` to write, each once.
    out
        (at least max(lines) + 1, B), written.
    """
    num_examples, tile = _U(len(starts)), _U(TILE)
    as_lines, per_line = plane.reshape(-1, 1), _LINE_BYTES // plane.itemsize
    end = max(len(lines) - 1, 0)
    for first in range(_U(0), num_examples, tile):
        last = min(first + tile, num_examples)
        # Shuffled rows lie anywhere: asking for those of the next tile made this 2 to 5 times faster; asking for the
        # end of a row too, which may lie in a line of its own, doubled it once more.
        for b in range(last, min(last + tile, num_examples)):
            for place in range(0, end, per_line):
                prefetch_line(as_lines, starts[b] + place)
            prefetch_line(as_lines, starts[b] + end)
        for place in range(_U(len(lines))):
            line = _U(lines[place])
            for b in range(first, last):
                out[line, b] = plane[_U(starts[b]) + place]


@njit(cache=True, nogil=True)
def pack_lines(
    ids: npt.NDArray[np.uint32],
    lines: Int64s,
    num_rows: Int64s,
    first: int,
    plane: npt.NDArray[Any],
) -> int:
    """Write lines of ids as rows: ``plane[b, l] = ids[lines[l], first + b]``, the inverse of `gather_lines`.

    Parameters
    ----------
    ids
        (S, B) uint32.
    lines
        (L,) the lines to pack.
    num_rows
        (L,) the number of ids of each packed line.
    first
        The first example to pack; as many are packed as `plane` has rows.
    plane
        (any, L), written; its width holds every id below `num_rows`.

    Returns
    -------
    int
        -1, or the first line that holds an id that its field does not have (it would be cut to the width of the plane).
    """
    num_examples = plane.shape[0]
    wrong = -1
    for start in range(0, num_examples, TILE):
        stop = min(start + TILE, num_examples)
        for place, line in enumerate(lines):
            limit = num_rows[place]
            for b in range(start, stop):
                id_ = ids[line, first + b]
                if id_ >= limit and wrong < 0:
                    wrong = line
                plane[b, place] = id_
    return wrong


@njit(cache=True, nogil=True)
def bag_offsets(words: npt.NDArray[np.uint32], begins: Int64s, blocks: Int64s, rows: Int64s, out: Int64s) -> None:
    """Add up the lengths of bags: ``out[g, b + 1] - out[g, b]`` is the number of ids of example b in bag g.

    Parameters
    ----------
    words
        (any,) the cache as uint32.
    begins
        (G, number of blocks): where the offsets of bag g in a block begin in `words`.
    blocks, rows
        (B,) the block of each example, and its row in the block.
    out
        (G, B + 1) written; absolute: ``out[0, 0] = 0`` and ``out[g, 0] = out[g - 1, B]``.
    """
    total = np.int64(0)
    for g in range(begins.shape[0]):
        out[g, 0] = total
        for b in range(len(rows)):
            at = begins[g, blocks[b]] + rows[b]
            total += np.int64(words[at + 1]) - np.int64(words[at])
            out[g, b + 1] = total


@njit(cache=True, nogil=True)
def bag_entries(
    words: npt.NDArray[np.uint32],
    floats: npt.NDArray[np.float32],
    planes: Int64s,
    blocks: Int64s,
    rows: Int64s,
    offsets: Int64s,
    ids: npt.NDArray[np.uint32],
    weights: npt.NDArray[np.float32],
) -> None:
    """Copy the ids and weights of bags to the places that `bag_offsets` gave them.

    Parameters
    ----------
    words, floats
        (any,) the cache as uint32 and as float32.
    planes
        (G, 3, number of blocks): where the offsets, ids and weights of bag g in a block begin; weights at -1 are all 1.
    blocks, rows
        (B,) the block of each example, and its row in the block.
    offsets
        (G, B + 1) from `bag_offsets`.
    ids, weights
        (N,) written.
    """
    for g in range(planes.shape[0]):
        for b in range(len(rows)):
            block = blocks[b]
            begin = np.int64(words[planes[g, 0, block] + rows[b]])
            to = offsets[g, b]
            length = offsets[g, b + 1] - to
            from_ids = planes[g, 1, block] + begin
            from_weights = planes[g, 2, block]
            for n in range(length):
                ids[to + n] = words[from_ids + n]
            for n in range(length):
                weights[to + n] = floats[from_weights + begin + n] if from_weights >= 0 else np.float32(1.0)
