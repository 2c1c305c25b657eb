from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.reference import cells as naive

from fieldwise.kernels import cells as ours
from fieldwise.kernels.instructions import VECTOR_BYTES

tables = st.lists(st.sampled_from([b"a", b"bc" * 20, b",", b'"', b"\n", b"\r", b"\r\n", b"\xc3"]), max_size=60).map(
    b"".join
)
plain_tables = st.lists(st.sampled_from([b"a", b"bc" * 20, b",", b"\n", b"\r\n"]), max_size=60).map(b"".join)


def padded(data):
    """The bytes with more behind them that must not matter."""
    return np.frombuffer(data + b'\n,"\r' * (VECTOR_BYTES // 4), dtype=np.uint8).copy()


@given(tables, st.sampled_from([b'"', b""]))
def test_rows_are_those_of_a_machine_that_reads_byte_by_byte(data, quote):
    rows, end, is_open = naive.find_rows(data, b",", quote)
    found = np.zeros((len(rows), 3), dtype=np.int32)
    delimiter, quote = np.uint8(ord(",")), np.uint8(ord(quote or b"\0"))
    assert ours.find_rows(padded(data), len(data), delimiter, quote, False, found) == (len(rows), end, is_open)
    assert [data[begin:end] for begin, end, _ in found.tolist()] == [b",".join(row) for row in rows]
    assert [num_cells for _, _, num_cells in found.tolist()] == [len(row) for row in rows]


@given(tables)
def test_lines_are_counted_and_what_is_not_plain_is_seen(data):
    num_lines, num_empty, end, is_plain = ours.count_lines(padded(data), len(data), np.uint8(ord('"')))
    assert (num_lines, end) == (data.count(b"\n"), data.rfind(b"\n") + 1)
    assert num_empty == sum(line == b"" for line in data.split(b"\n")[:-1])
    assert is_plain == (b'"' not in data and b"\r" not in data)


@given(plain_tables.map(lambda data: data + b"\n"), st.integers(1, 3))
def test_cells_of_each_column_come_end_to_end_or_the_block_is_refused(data, num_columns):
    rows, _, _ = naive.find_rows(data, b",", b"")
    ends = np.empty((len(rows), num_columns), dtype=np.int32)
    is_plain = ours.cell_ends(padded(data), len(data), np.uint8(ord(",")), ends)
    has_empty_lines = data.startswith((b"\n", b"\r\n")) or b"\n\n" in data or b"\n\r\n" in data
    if any(len(row) != num_columns for row in rows) or has_empty_lines:
        assert not is_plain or (
            num_columns == 1 and not any(len(row) != 1 for row in rows) and b"\n\r\n" in b"\n" + data
        )
        return
    assert is_plain
    lines = np.arange(num_columns)[::-1].copy()  # columns in the opposite order
    lines[0] = -1  # and the first not at all
    offsets = np.empty((num_columns, len(rows) + 1), dtype=np.int32)
    offsets[:] = 0
    ours.column_offsets(padded(data), ends, lines, offsets)
    bases = np.arange(num_columns) * (len(data) + 16)
    out = np.zeros(num_columns * (len(data) + 16) + 16, dtype=np.uint8)
    words, out_words = (np.ndarray((len(a) - 7,), "<u8", a, 0, (1,)) for a in (padded(data), out))
    ours.copy_cells(words, ends, lines, offsets, bases, out_words)
    for column in range(1, num_columns):
        line = lines[column]
        texts = [
            out[bases[line] + begin : bases[line] + end].tobytes()
            for begin, end in zip(offsets[line], offsets[line, 1:], strict=False)
        ]
        assert texts == [row[column] for row in rows]


@given(st.binary(max_size=200))
def test_ascii_is_told_from_other_bytes(data):
    assert ours.is_ascii(np.frombuffer(data, dtype=np.uint8)) == data.isascii()
