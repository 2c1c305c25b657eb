"""Vectors: lists of one fixed length of numbers, such as embeddings, each number an input of a feature of its own.

Of a vector of n numbers, number d is the input of local id 2 + d. With mean and standard deviation over the training
rows of each of the n, the input is ::

    (x_d - mean_d) / (std_d sqrt(n))                                   and x_d itself for scale "none"

so that the inputs of an average row have a Euclidean norm of 1, as those of any other field. A std of 0 counts as 1. A
number that is missing (null, NaN) has the mean in its place. A vector that is missing as a whole, null, empty or of
missing numbers alone, is local id 0 with input 1, as a missing number is. Another length, or a number that is not
finite, is a reject. Text is split at the field's separator, and text in brackets is a list.

Numbers are read as float32. Means and deviations are exact (`kernels.exact_sums`), so they depend on the rows alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import sqrt
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fieldwise.errors import ArtefactError, DataError
from fieldwise.features.bags import split_cells
from fieldwise.features.canonical import as_text, is_text, plain
from fieldwise.features.cells import Arrays, Cells
from fieldwise.features.columns import Columns, Reject, reading
from fieldwise.features.fields import FieldEncoder
from fieldwise.features.numerals import NOT_A_NUMBER
from fieldwise.features.parse import as_floats, parse_text
from fieldwise.features.scratch import Scratch
from fieldwise.io.arrays import expect
from fieldwise.kernels.exact_sums import NUM_DIGITS, add_exactly, exact_sum
from fieldwise.kernels.layout import BAG, MISSING, UNSEEN, Uint32s
from fieldwise.schema import Field

__all__ = ["VectorEncoder", "read_vectors"]

Float64s = npt.NDArray[np.float64]
_FIRST = UNSEEN + 1
_LARGEST = float(np.finfo(np.float32).max)
_SHOWN = 100
_IN_BRACKETS = r"(?s)^\s*[\[({].*[\])}]\s*$"
_BETWEEN = r"\s*[,;|\s]\s*"
_SEPARATOR = "\x1f"


class VectorEncoder(FieldEncoder):
    """A vector as the inputs of one feature for each of its n numbers.

    Counts are of missing vectors and of the present numbers in each place; no row is unseen.
    """

    form = BAG
    strict = True

    def __init__(self, field: Field) -> None:
        assert field.length is not None, "a vector has a length"
        super().__init__(field, num_ids=_FIRST + field.length)
        self.length = field.length
        self._digits = np.zeros((2, self.length, NUM_DIGITS), dtype=np.int64)
        self._means, self._stds = np.zeros(self.length), np.ones(self.length)

    def read(self, columns: Columns, others: Mapping[str, Cells]) -> Cells:
        """Read the numbers: n of a vector, one NaN where it is missing."""
        numbers, offsets, rejects = read_vectors(columns, self.field)
        return Cells(numbers=numbers, offsets=offsets, rejects=rejects)

    def _present(self, cells: Cells) -> tuple[Float64s, npt.NDArray[np.bool_]]:
        """Return the vectors that are present, (P, n), and which of all numbers are theirs, (N,)."""
        assert cells.numbers is not None
        assert cells.offsets is not None
        lengths = np.diff(cells.offsets)
        present = lengths == self.length
        if self.length == 1:
            present &= ~np.isnan(cells.numbers)
        present = np.repeat(present, lengths)
        return cells.numbers[present].reshape(-1, self.length), present

    def fit_chunk(self, cells: Cells) -> None:
        """Add to counts and sums."""
        vectors, present = self._present(cells)
        self._counts[MISSING] += np.count_nonzero(~present)
        self._counts[_FIRST:] += np.count_nonzero(~np.isnan(vectors), axis=0)
        if self.field.scale == "none" and vectors.size:
            self.largest = max(self.largest, float(np.nanmax(np.abs(vectors))))
        if self._base_counts is None:
            vectors = np.ascontiguousarray(vectors)
            for power in (1, 2):
                add_exactly(vectors, vectors.view(np.int64), power, self._digits[power - 1])

    def learned(self) -> Arrays:
        """Return counts and sums."""
        return {**super().learned(), "largest": np.array([self.largest]), "digits": self._digits}

    def add_learned(self, arrays: Arrays) -> None:
        """Add counts and sums."""
        super().add_learned(arrays)
        self._digits += arrays["digits"]
        self.largest = max(self.largest, float(arrays["largest"][0]))

    def finish(self, scratch: Scratch) -> None:
        """Fix means and deviations, unless they are known."""
        if self._base_counts is None:
            for place, count in enumerate(self._counts[_FIRST:].tolist()):
                if count:
                    mean, square = (exact_sum(self._digits[of, place]) / count for of in (0, 1))
                    self._means[place], self._stds[place] = float(mean), sqrt(square - mean * mean) or 1.0
            self._digits = np.zeros((2, self.length, NUM_DIGITS), dtype=np.int64)
        super().finish(scratch)

    def extend(self, base: Self) -> None:
        """Go on with the same means and deviations."""
        super().extend(base)
        self._means, self._stds = base._means, base._stds

    def encode(self, cells: Cells) -> Uint32s:
        """Number the places of the vectors that are present."""
        _, present = self._present(cells)
        ids = np.full(len(present), MISSING, dtype=np.uint32)
        ids[present] = np.tile(np.arange(_FIRST, self.rows, dtype=np.uint32), int(present.sum()) // self.length)
        return ids

    def inputs(self, cells: Cells) -> npt.NDArray[np.float32]:
        """Scale the numbers."""
        vectors, present = self._present(cells)
        vectors = np.where(np.isnan(vectors), self._means, vectors)
        if self.field.scale != "none":
            vectors = (vectors - self._means) / (self._stds * sqrt(self.length))
        found = np.ones(len(present), dtype=np.float32)
        found[present] = np.clip(vectors, -_LARGEST, _LARGEST).reshape(-1)
        return found

    def mean_inputs(self) -> Float64s:
        """Return the mean input of each feature over the training rows, (rows,)."""
        num_missing, num_present = (
            self._counts[MISSING],
            self._counts[_FIRST:].max(),
        )  # some place is hardly ever missing
        means = np.zeros(self.rows)
        means[MISSING] = num_missing / max(num_missing + num_present, 1)
        if self.field.scale == "none":
            means[_FIRST:] = self._means * (1 - means[MISSING])
        return means

    def training_shares(self) -> tuple[float, float]:
        """Return which share of the vectors was missing; none is unseen."""
        return float(self.mean_inputs()[MISSING]), 0.0

    def texts(self, ids: Iterable[int]) -> list[str | None]:
        """Return the places of numbers in the vector: ``[0]`` is the first."""
        return [f"[{id_ - _FIRST}]" if id_ >= _FIRST else None for id_ in ids]

    def arrays(self) -> Arrays:
        """Return counts, means and deviations."""
        return {**super().arrays(), "means": self._means, "stds": self._stds}

    def restore(self, described: Mapping[str, object], arrays: Arrays) -> None:
        """Take over counts, means and deviations."""
        super().restore(described, arrays)
        self._means = expect(arrays, "means", np.float64, (self.length,))
        self._stds = expect(arrays, "stds", np.float64, (self.length,))
        if not (np.isfinite(self._means).all() and np.isfinite(self._stds).all() and (self._stds > 0).all()):
            raise ArtefactError("invalid scales", where=self.field.name)


def read_vectors(columns: Columns, field: Field) -> tuple[Float64s, npt.NDArray[np.int64], tuple[Reject, ...]]:
    """Read the vectors of a field's column.

    Returns
    -------
    The numbers end to end, NaN for missing; the offsets of the cells, (B + 1,): n numbers each, one NaN where the
    vector is missing or rejected; the rejects.

    Raises
    ------
    DataError
        The column's type holds no numbers.
    """
    name = field.column
    assert name is not None
    assert field.length is not None
    lengths, values = _split(columns, name, field)
    with reading(name):
        numbers, bad = _numbers(plain(values), field.missing)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    rows = np.repeat(np.arange(len(lengths)), lengths)
    empty = np.bincount(rows[~np.isnan(numbers) | bad], minlength=len(lengths)) == 0
    other = (lengths != field.length) & ~(empty & (lengths <= 1))
    rejects = {
        row: _reject(columns, row, name, f"expected {field.length} numbers, got {lengths[row]}")
        for row in np.flatnonzero(other).tolist()
    }
    for row in np.unique(rows[bad]).tolist():
        at = slice(starts[row], starts[row + 1])
        place = int(np.flatnonzero(bad[at])[0])
        rejects.setdefault(row, _reject(columns, row, name, f"{NOT_A_NUMBER}: number {place + 1} of the vector"))
    present = ~(empty | other)
    offsets = np.concatenate([[0], np.cumsum(np.where(present, field.length, 1))])
    found = np.full(offsets[-1], np.nan)
    found[np.repeat(present, np.diff(offsets))] = np.where(bad, np.nan, numbers)[np.repeat(present, lengths)]
    return found, offsets, tuple(rejects[row] for row in sorted(rejects))


def _split(columns: Columns, name: str, field: Field) -> tuple[npt.NDArray[np.int64], pa.Array]:
    """As `split_cells`, but a text in brackets is a list, whatever stands between the numbers of other texts: a model
    of a log with lists is asked in JSON, and numpy prints spaces.
    """
    if field.brackets or field.custom or not is_text(columns.array(name).type):
        return split_cells(columns, name, field)
    written = columns.written(name)
    listed = pc.match_substring_regex(written, _IN_BRACKETS).fill_null(False)
    if not pc.any(listed).as_py():
        return split_cells(columns, name, field)
    inside = pc.replace_substring_regex(pc.ascii_trim(written, " \t\r\n[](){}"), _BETWEEN, _SEPARATOR)
    others = pc.replace_substring(written, field.separator, _SEPARATOR)
    lists = pc.split_pattern(pc.if_else(listed, inside, others), _SEPARATOR)
    numbers = lists.flatten()
    missing = pc.is_in(numbers, value_set=pa.array(["None", "null"], numbers.type))
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return lengths, pc.if_else(missing, pa.scalar(None, numbers.type), numbers)


def _reject(columns: Columns, row: int, name: str, reason: str) -> Reject:
    """Return a reject with the beginning of the vector."""
    found = columns.reject(row, name, reason)
    return found if len(found.value) <= _SHOWN else found._replace(value=f"{found.value[:_SHOWN]}...")


def _numbers(values: pa.Array, missing: tuple[str, ...]) -> tuple[Float64s, npt.NDArray[np.bool_]]:
    """Read numbers of any type as float32 holds them, NaN for missing, and say which are not finite."""
    kind = values.type
    if is_text(kind):
        numbers, bad = parse_text(as_text(values), missing)
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind):
        numbers = as_floats(values.cast(pa.float64(), safe=False))
        bad = np.isinf(numbers)
    elif pa.types.is_decimal(kind):
        numbers, bad = parse_text(values.cast(pa.string()), missing)
    else:
        raise DataError(
            "a column of this type holds no vectors", expected="lists of numbers, or text", got=f"values of {kind}"
        )
    with np.errstate(over="ignore"):
        rounded = numbers.astype(np.float32).astype(np.float64)
    return rounded, bad | np.isinf(rounded)
