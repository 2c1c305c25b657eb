"""Text tables cut into rows and cells: where rows end, where cells end, and the cells of each column end to end.

What is a row end, a quote and an empty line is as pyarrow's CSV parser has it: rows end with LF, CR or both; a quote
counts at the beginning of a cell only; inside quotes two quotes are one; empty lines are no rows.

All arrays of bytes have at least `VECTOR_BYTES` more than `num_bytes`, of any content.
"""

from __future__ import annotations

import numpy as np

from fieldwise.kernels.instructions import VECTOR_BYTES, first_bit, matches, num_bits
from fieldwise.kernels.jit import kernel, merged

__all__ = ["cell_ends", "column_offsets", "copy_cells", "count_lines", "find_rows", "is_ascii"]

_LF, _CR = np.uint8(10), np.uint8(13)
_ONE = np.uint64(1)


@merged
def _within(at, num_bytes):  # type: ignore[no-untyped-def]
    """The bits of the bytes from `at` on that there are."""
    left = num_bytes - at
    return ~np.uint64(0) if left >= VECTOR_BYTES else (_ONE << np.uint64(left)) - _ONE


@kernel
def count_lines(data, num_bytes, quote):  # type: ignore[no-untyped-def]
    """Look over a block that begins where a row does.

    Returns
    -------
    num_lines, num_empty
        Line feeds, and those of them that stand at the beginning of a line.
    end
        Behind the last line feed; 0 where there is none.
    is_plain
        Whether there is neither a carriage return nor the byte `quote` (0: nothing quotes), so that rows are lines.
    """
    num_lines = num_empty = np.uint64(0)
    end = np.int64(0)
    odd = np.uint64(0)
    before = _ONE  # whether the byte before was a line feed
    for at in range(0, num_bytes, VECTOR_BYTES):
        inside = _within(at, num_bytes)
        lines = matches(data, at, _LF) & inside
        odd |= matches(data, at, _CR) & inside
        if quote != 0:
            odd |= matches(data, at, quote) & inside
        num_lines += num_bits(lines)
        num_empty += num_bits(lines & ((lines << _ONE) | before))
        before = lines >> np.uint64(VECTOR_BYTES - 1)
        if lines != 0:
            end = np.int64(at)
    if num_lines > 0:
        end = min(end + VECTOR_BYTES, num_bytes)
        while data[end - 1] != _LF:
            end -= 1
    return np.int64(num_lines), np.int64(num_empty), end, odd == 0


@kernel
def find_rows(data, num_bytes, delimiter, quote, is_whole, rows):  # type: ignore[no-untyped-def]
    """Find the rows of a block that begins where a row does, with quotes and any line ends.

    Parameters
    ----------
    is_whole
        Whether the block is known to end where a row does.
    rows
        (any, 3) int32: beginning, end and number of cells of the first rows are written to it, as many as it holds.

    Returns
    -------
    num_rows
        Whole rows in the block, empty lines not counted.
    end
        Where the row begins that has no end here. A carriage return at the very end is none yet, for a line feed may
        follow, unless the block is whole.
    is_open
        Whether the block ends inside quotes.
    """
    num_rows, num_cells = 0, 1
    row = cell = np.int64(0)
    passed_over = np.int64(-1)
    is_open = False
    for at in range(0, num_bytes, VECTOR_BYTES):
        found = matches(data, at, delimiter) | matches(data, at, _LF) | matches(data, at, _CR)
        if quote != 0:
            found |= matches(data, at, quote)
        found &= _within(at, num_bytes)
        while found != 0:
            i = at + np.int64(first_bit(found))
            found &= found - _ONE
            byte = data[i]
            if is_open:
                if byte == quote and i != passed_over:
                    if i + 1 < num_bytes and data[i + 1] == quote:
                        passed_over = i + 1
                    else:
                        is_open = False
            elif byte == delimiter:
                cell = i + 1
                num_cells += 1
            elif byte == _LF or byte == _CR:
                if byte == _CR and i + 1 == num_bytes and not is_whole:
                    continue
                if i > row:
                    if num_rows < len(rows):
                        rows[num_rows, 0], rows[num_rows, 1], rows[num_rows, 2] = row, i, num_cells
                    num_rows += 1
                row = cell = i + 1
                num_cells = 1
            elif i == cell:
                is_open = True
    return num_rows, row, is_open


@kernel
def cell_ends(data, num_bytes, delimiter, ends):  # type: ignore[no-untyped-def]
    """Find where the cells of R rows of C cells end, in a block without quotes that ends where a row does.

    Parameters
    ----------
    ends
        (R, C) int32, written: the places of the delimiters and line feeds.

    Returns
    -------
    Whether there are exactly R lines, each of C cells, and no carriage return but before a line feed. If not, `ends`
    says nothing.
    """
    num_rows, num_cells = ends.shape
    flat = ends.reshape(-1)
    done = num_lines = np.int64(0)
    for at in range(0, num_bytes, VECTOR_BYTES):
        inside = _within(at, num_bytes)
        lines = matches(data, at, _LF) & inside
        found = (matches(data, at, delimiter) & inside) | lines
        returns = matches(data, at, _CR) & inside
        while returns != 0:
            i = at + np.int64(first_bit(returns))
            returns &= returns - _ONE
            if data[i + 1] != _LF:
                return False
        num_lines += np.int64(num_bits(lines))
        if done + np.int64(num_bits(found)) > len(flat):
            return False
        while found != 0:
            flat[done] = at + np.int64(first_bit(found))
            done += 1
            found &= found - _ONE
    if done != len(flat) or num_lines != num_rows:
        return False
    for r in range(num_rows):
        if data[ends[r, num_cells - 1]] != _LF:
            return False
    return True


@kernel
def column_offsets(data, ends, lines, offsets):  # type: ignore[no-untyped-def]
    """Add up the lengths of the cells of W columns: Arrow's offsets of each column.

    Parameters
    ----------
    data
        The bytes of the block.
    ends
        (R, C) int32, from `cell_ends`.
    lines
        (C,) int64: the line of `offsets` for each column, -1 for none.
    offsets
        (W, R + 1) int32, written.
    """
    num_rows, num_cells = ends.shape
    offsets[:, 0] = 0
    start = np.int64(0)
    for r in range(num_rows):
        for c in range(num_cells):
            end = np.int64(ends[r, c])
            line = lines[c]
            if line >= 0:
                length = end - start
                if c + 1 == num_cells and length > 0 and data[end - 1] == _CR:
                    length -= 1
                offsets[line, r + 1] = offsets[line, r] + length
            start = end + 1


@kernel
def copy_cells(words, ends, lines, offsets, bases, out):  # type: ignore[no-untyped-def]
    """Copy the cells of W columns, each column end to end.

    Parameters
    ----------
    words
        Word i is bytes i .. i + 7 of the block (uint64, stride 1).
    ends, lines, offsets
        As for `column_offsets`.
    bases
        (W,) int64: where each column begins in the result. Up to 8 bytes behind a column are overwritten.
    out
        The result as words, in the same way.
    """
    num_rows, num_cells = ends.shape
    start = np.int64(0)
    for r in range(num_rows):
        for c in range(num_cells):
            line = lines[c]
            if line >= 0:
                begin, end = np.int64(offsets[line, r]), np.int64(offsets[line, r + 1])
                to = np.uint64(bases[line] + begin)
                out[to] = words[np.uint64(start)]
                for k in range(8, end - begin, 8):
                    out[to + np.uint64(k)] = words[np.uint64(start + k)]
            start = np.int64(ends[r, c]) + 1


@kernel
def is_ascii(data):  # type: ignore[no-untyped-def]
    """Whether all bytes are below 128: 64 bytes at a time, compiled."""
    together = np.uint8(0)
    for k in range(len(data)):
        together |= data[k]
    return together < 128
