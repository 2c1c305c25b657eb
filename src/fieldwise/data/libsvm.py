"""libsvm and libffm text: ``label index:value ...`` and ``label field:index:value ...``.

Both come out as columns of strings that the encoder reads as weighted bags, ``index:value|index:value``: one column
`features` for libsvm, one column ``field_N`` per field for libffm. In libsvm ``qid:ID`` may stand behind the label, the
query or user that the rows of a ranking log belong to: where the first line of a file has it, it is a column `qid`. A
sign before the label goes (``+1`` becomes ``1``), because classes are ordered as text and ``+1`` would stand before
``-1``. Comments after ``#`` are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fieldwise.data.chunk import MAX_CHUNK_ROWS, Chunk, Piece, RejectedRow, excerpt
from fieldwise.data.sources import Source, open_stream, read_from
from fieldwise.errors import DataError

__all__ = ["QUERY", "LibffmReader", "LibsvmReader"]

QUERY = "qid"
"""The column of query ids."""

_BLOCK_BYTES = 1 << 22
_MAX_ROW_BYTES = 1 << 26
_QUERY = "( qid:[^ ]+)?"
_NUMBER = r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?"


class _Rows(NamedTuple):
    """Rows that have the right form: labels, and the text after them."""

    labels: pa.StringArray
    rests: pa.StringArray
    numbers: npt.NDArray[np.int64]
    rejects: list[RejectedRow]


class _TextReader:
    """What the two formats share: lines, their form, their numbers."""

    form: str
    pattern: str
    groups = ""
    """Of what may stand between the label and the features."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def _rows(self) -> Iterator[_Rows]:
        next_row = 1
        for block in self._blocks():
            lines, numbers, rejects = [], [], []
            for number, line in enumerate(_tidy(block), start=next_row):
                try:
                    lines.append(line.decode())
                    numbers.append(number)
                except UnicodeDecodeError:
                    text = line.decode("utf-8", "backslashreplace")
                    rejects.append(RejectedRow(number, excerpt(text), "the row is not UTF-8"))
            next_row += len(lines) + len(rejects)
            for start in range(0, max(len(lines), 1), MAX_CHUNK_ROWS):
                end = start + MAX_CHUNK_ROWS
                yield self._parse(lines[start:end], numbers[start:end], rejects if start == 0 else [])

    def _parse(self, lines: list[str], numbers: list[int], rejects: list[RejectedRow]) -> _Rows:
        text = pa.array(lines, pa.string())
        good = pc.match_substring_regex(text, f"^[^ :]+{self.groups}( {self.pattern})*$")
        mask = good.to_numpy(zero_copy_only=False)
        wrong = np.flatnonzero(~mask)
        reasons = [RejectedRow(numbers[i], excerpt(lines[i]), self._why(lines[i])) for i in wrong]
        parts = pc.extract_regex(text.filter(good), r"^(?P<label>[^ ]+) ?(?P<rest>.*)$")
        return _Rows(
            pc.replace_substring_regex(parts.field("label"), r"^\+([0-9.])", r"\1"),
            parts.field("rest"),
            np.asarray(numbers, dtype=np.int64)[mask],
            sorted([*rejects, *reasons]),
        )

    def _why(self, line: str) -> str:
        """Say why a row does not have the form, of the kinds that logs have in earnest."""
        label, _, rest = line.partition(" ")
        reason = f"the row is not '{self.form}'"
        if rest.startswith("qid:") and not self.groups:
            return (
                f"{reason}: query ids (qid:) are read where the first line of the file has one; remove them "
                "(sed -E 's/ qid:[^ ]+//'), or give the first line one"
            )
        if "|" in line:
            return f"{reason}, but of Vowpal Wabbit's"
        if ":" in label and label.partition(":")[0].strip("+-.0123456789") == "":
            return (
                f"{reason}: a label with a weight (label:weight) is not read; put it into a column of a CSV or Parquet"
            )
        if ":" not in line:
            return f"{reason}: there is no colon in it"
        if re.search(r":[+-]?(nan|inf)", line, re.IGNORECASE):
            return f"{reason}: values are finite numbers: leave out those that are missing"
        if re.search(r"[ :][^ :0-9][^ :]*:", line):
            return f"{reason}: fields and indices are whole numbers: hash or number names first"
        return reason

    def _blocks(self) -> Iterator[bytes]:
        """Yield pieces of the file that end where a line ends."""
        rest = b""
        with open_stream(self._source) as stream:
            while data := read_from(self._source, stream, _BLOCK_BYTES):
                whole, newline, rest_of_data = data.rpartition(b"\n")
                if newline:
                    yield rest + whole
                    rest = rest_of_data
                else:
                    rest += rest_of_data
                if len(rest) > _MAX_ROW_BYTES:
                    raise DataError(
                        "a row does not end",
                        where=self._source.path,
                        expected=f"lines of '{self.form}', each shorter than {_MAX_ROW_BYTES} bytes",
                    )
        if rest:
            yield rest

    def _piece(self, rows: _Rows, cells: dict[str, pa.Array], columns: Sequence[str]) -> Piece:
        table = pa.table({name: cells[name] for name in columns})
        chunk = Chunk(table, self._source.path, self._source.position, rows.numbers, rows.rejects)
        return Piece(len(rows.numbers) + len(rows.rejects), partial(list, (chunk,)))


class LibsvmReader(_TextReader):
    """One libsvm file, as the columns `label`, `qid` where its first line has one, and `features`."""

    form = "label index:value ..."
    pattern = f"[0-9]+:{_NUMBER}"

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        first = next((line for block in self._blocks() for line in _tidy(block)), b"")
        is_ranked = re.match(rb"[^ :]+ qid:", first) is not None
        self.columns = ("label", QUERY, "features") if is_ranked else ("label", "features")
        self.groups = _QUERY if is_ranked else ""

    def pieces(self, columns: Sequence[str]) -> Iterator[Piece]:
        """Yield the rows of the file, with these columns."""
        for rows in self._rows():
            cells, rests = {"label": rows.labels}, rows.rests
            if QUERY in self.columns:
                parts = pc.extract_regex(rests, "^(?:qid:(?P<query>[^ ]+) ?)?(?P<rest>.*)$")
                cells[QUERY], rests = parts.field("query"), parts.field("rest")
            cells["features"] = pc.replace_substring(rests, " ", "|")
            yield self._piece(rows, cells, columns)


class LibffmReader(_TextReader):
    """One libffm file, as the column `label` and one column for each field that occurs in it.

    The file is read once to know its fields; a column that another file of the log has is empty here.
    """

    form = "label field:index:value ..."
    pattern = f"[0-9]{{1,9}}:[0-9]+:{_NUMBER}"

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        fields: set[int] = set()
        for rows in self._rows():
            fields.update(np.unique(_tokens(rows.rests)[0]).tolist())
        self.columns = ("label", *(f"field_{field}" for field in sorted(fields)))

    def pieces(self, columns: Sequence[str]) -> Iterator[Piece]:
        """Yield the rows of the file, with these columns."""
        for rows in self._rows():
            fields, examples, values = _tokens(rows.rests)
            by_field = np.argsort(fields, kind="stable")
            sorted_fields = fields[by_field]
            cells: dict[str, pa.Array] = {"label": rows.labels}
            for name in set(columns) - {"label"}:
                field = int(name.removeprefix("field_"))
                begin, end = np.searchsorted(sorted_fields, [field, field + 1])
                chosen = by_field[begin:end]
                offsets = np.searchsorted(examples[chosen], np.arange(len(rows.rests) + 1)).astype(np.int32)
                lists = pa.ListArray.from_arrays(offsets, values.take(pa.array(chosen)))
                cells[name] = pc.binary_join(lists, "|")
            yield self._piece(rows, cells, columns)


def _tokens(rests: pa.StringArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], pa.StringArray]:
    """Return the field, the example and the ``index:value`` of every feature."""
    lists = pc.split_pattern(rests, " ")
    examples, tokens = pc.list_parent_indices(lists), pc.list_flatten(lists)
    present = pc.not_equal(tokens, "")
    pairs = pc.list_flatten(pc.split_pattern(tokens.filter(present), ":", max_splits=1))
    fields = pairs.take(pa.array(np.arange(0, len(pairs), 2))).cast(pa.int64())
    values = pairs.take(pa.array(np.arange(1, len(pairs), 2)))
    return np.asarray(fields), np.asarray(examples.filter(present)), values


def _tidy(block: bytes) -> list[bytes]:
    """Return the lines that hold something, without comments, with single spaces."""
    if b"#" in block:
        block = re.sub(rb"#[^\n]*", b"", block)
    block = block.replace(b"\r", b" ").replace(b"\t", b" ")
    if b"  " in block:
        block = re.sub(rb" {2,}", b" ", block)
    return [stripped for line in block.split(b"\n") if (stripped := line.strip(b" "))]
