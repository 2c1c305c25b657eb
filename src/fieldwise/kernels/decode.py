"""From the planes of a cache to a batch, and back when a cache is written.

A cache stores what belongs to one example together (row-major, so that an example is one or two cache lines); a batch
stores what belongs to one field together (field-major). Every kernel here moves numbers between the two.

Letters: B examples of a batch, S lines of `ids`, L lines that share a plane, G bags, N ids in the bags of a batch,
P planes that every example has equally many numbers in.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.instructions import next_ticket, prefetch_line
from fieldwise.kernels.jit import kernel, part
from fieldwise.kernels.threads import IDS_PER_THREAD, num_threads, run_each

__all__ = [
    "PIECE",
    "CacheArrays",
    "GatherTarget",
    "bag_entries",
    "bag_offsets",
    "gather_lines",
    "pack_lines",
    "read_examples",
    "read_piece",
    "touch",
]

Int64s = npt.NDArray[np.int64]
Uint32s = npt.NDArray[np.uint32]

PIECE = 256
"""Examples that a thread takes at a time. At the end threads wait for the last piece: with 512, a step of logistic
regression took a fifth longer.
"""

TILE = 32
"""Examples transposed together: 32 ids of 4 bytes fill two cache lines of the output, and 32 rows of the input stay in
L1."""
_LINE_BYTES = 64
_FIRST_LINE = np.zeros(1, dtype=np.int64)
_U = np.uint64


@kernel
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


class CacheArrays(NamedTuple):
    """The arrays of a cache, as kernels read them.

    Attributes
    ----------
    words8, words16, words32, words64
        All of it, as numbers of these bits.
    block_examples
        Examples in a block.
    begins
        (P, blocks) where a plane begins in a block, in numbers of its width; of ids of 8, 16 and 32 bits, values,
        labels, weights and groups.
    lines8, lines16, lines32
        The lines of `Batch.ids` that these planes hold.
    value_lines
        0, 1, .. of `Batch.values`.
    """

    words8: npt.NDArray[np.uint8]
    words16: npt.NDArray[np.uint16]
    words32: Uint32s
    words64: npt.NDArray[np.uint64]
    block_examples: int
    begins: Int64s
    lines8: Int64s
    lines16: Int64s
    lines32: Int64s
    value_lines: Int64s


class GatherTarget(NamedTuple):
    """Examples of a cache, and the arrays that they are copied to.

    Attributes
    ----------
    source
        From where.
    rows
        (B,) the places of the examples; their blocks are verified.
    ids
        (S, B), written.
    values, narrow_labels, labels, weights, groups
        (lines, B) of the other planes, as unsigned numbers, written; 0 lines of what there is none of. Labels are
        narrow where they take a byte.
    """

    source: CacheArrays
    rows: Int64s
    ids: Uint32s
    values: Uint32s
    narrow_labels: Uint32s
    labels: Uint32s
    weights: Uint32s
    groups: npt.NDArray[np.uint64]


@part
def _starts(begins: Int64s, plane: int, width: int, blocks: Int64s, inside: Int64s, out: Int64s) -> Int64s:
    """Return where the numbers of each example begin in a plane that holds `width` of them for each."""
    for b in range(_U(len(blocks))):
        out[b] = begins[plane, blocks[b]] + inside[b] * width
    return out


@part
def read_piece(reading: GatherTarget, piece: int, room: Int64s) -> None:
    """Copy the examples of a piece; `room` (3, `PIECE`) is written on."""
    source, one = reading.source, _FIRST_LINE
    begin, end = piece * PIECE, min((piece + 1) * PIECE, len(reading.rows))
    blocks, inside, out = room[0, : end - begin], room[1, : end - begin], room[2, : end - begin]
    per_block = _U(source.block_examples)
    for b in range(end - begin):
        row = _U(reading.rows[begin + b])
        block = row // per_block
        blocks[b], inside[b] = np.int64(block), np.int64(row - block * per_block)
    begins = source.begins
    first = _starts(begins, 0, len(source.lines8), blocks, inside, out)
    gather_lines(source.words8, first, source.lines8, reading.ids[:, begin:end])
    first = _starts(begins, 1, len(source.lines16), blocks, inside, out)
    gather_lines(source.words16, first, source.lines16, reading.ids[:, begin:end])
    first = _starts(begins, 2, len(source.lines32), blocks, inside, out)
    gather_lines(source.words32, first, source.lines32, reading.ids[:, begin:end])
    first = _starts(begins, 3, len(source.value_lines), blocks, inside, out)
    gather_lines(source.words32, first, source.value_lines, reading.values[:, begin:end])
    first = _starts(begins, 4, 1, blocks, inside, out)
    gather_lines(source.words8, first, one[: len(reading.narrow_labels)], reading.narrow_labels[:, begin:end])
    gather_lines(source.words32, first, one[: len(reading.labels)], reading.labels[:, begin:end])
    first = _starts(begins, 5, 1, blocks, inside, out)
    gather_lines(source.words32, first, one[: len(reading.weights)], reading.weights[:, begin:end])
    first = _starts(begins, 6, 1, blocks, inside, out)
    gather_lines(source.words64, first, one[: len(reading.groups)], reading.groups[:, begin:end])


@kernel(allocates=True)
def _read_pieces(reading: GatherTarget, tickets: Int64s) -> None:
    """Copy pieces until none is left for this thread."""
    room = np.empty((3, PIECE), dtype=np.int64)
    piece = next_ticket(tickets)
    while piece * PIECE < len(reading.rows):
        read_piece(reading, piece, room)
        piece = next_ticket(tickets)


def read_examples(reading: GatherTarget) -> None:
    """Copy the examples, on all threads."""
    num_examples = len(reading.rows)
    threads = min(num_threads(), -(-num_examples // PIECE), (reading.ids.size + reading.values.size) // IDS_PER_THREAD)
    run_each(_read_pieces, [(reading, np.zeros(1, dtype=np.int64))] * max(threads, 1))


@kernel
def touch(source: CacheArrays, numbers: Int64s, itemsizes: Int64s, rows: Int64s, every: int) -> np.int64:
    """Read a byte of each plane of the examples whose place is a multiple of `every`: the system then has their pages
    in memory, and who gathers these examples next does not wait for a disk.

    Parameters
    ----------
    source, rows
        As of `GatherTarget`; what is not verified yet is left out.
    numbers, itemsizes
        (P,) how many numbers an example has in each plane, 0 where there is none; bytes of a number.

    Returns
    -------
    int64
        What depends on all that was read, so that it is read.
    """
    found = np.int64(0)
    for row in rows:
        if row % every == 0:
            block, inside = row // source.block_examples, row % source.block_examples
            for plane in range(len(numbers)):
                if numbers[plane] and source.begins[plane, block] >= 0:
                    place = source.begins[plane, block] + inside * numbers[plane]
                    found += np.int64(source.words8[place * itemsizes[plane]])
    return found


@kernel
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


@kernel
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


@kernel
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
