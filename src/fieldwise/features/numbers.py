"""Numbers: either scaled (the value is the input of one feature) or put into bins (one feature each)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.errors import ArtefactError
from fieldwise.features.cells import Arrays, Cells
from fieldwise.features.columns import Columns, Reject
from fieldwise.features.fields import FieldEncoder
from fieldwise.features.numerals import NOT_A_NUMBER, read_numbers, style_of, why_no_numbers
from fieldwise.features.scratch import Scratch
from fieldwise.features.sketch import Distribution, NumberSketch
from fieldwise.features.times import read_age
from fieldwise.io.arrays import expect
from fieldwise.kernels.bins import bin_ids
from fieldwise.kernels.layout import MISSING, SINGLE, UNSEEN, VALUE, Uint32s
from fieldwise.schema import Field

__all__ = ["BinEncoder", "NumberEncoder", "ScaleEncoder", "range_text", "rejected_numbers"]

Float64s = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
_FIRST_BIN = UNSEEN + 1
_LARGEST = float(np.finfo(np.float32).max)


class NumberEncoder(FieldEncoder):
    """Reads the cells of a number field, or the ages of times."""

    strict = True

    def read_numbers(self, columns: Columns) -> Cells:
        """Read the numbers, whatever becomes of them."""
        name = self.field.column
        assert name is not None
        if self.field.type == "time":
            numbers, rejects = read_age(columns, self.field)
        else:
            numbers, bad = read_numbers(columns, name, self.field.missing, style_of(self.field))
            rejects = rejected_numbers(columns, name, bad, self.field)
        if self.field.default is not None:
            numbers = np.where(np.isnan(numbers), float(self.field.default), numbers)
        return Cells(numbers=numbers, rejects=rejects)


def rejected_numbers(columns: Columns, name: str, bad: Bools, field: Field) -> tuple[Reject, ...]:
    """Return the cells of a column that are no numbers, (B,), with the reasons."""
    if not bad.any():
        return ()
    rejects = [columns.reject(row, name, NOT_A_NUMBER) for row in np.flatnonzero(bad).tolist()]
    reasons = why_no_numbers([reject.value for reject in rejects], style_of(field))
    return tuple(reject._replace(reason=reason) for reject, reason in zip(rejects, reasons, strict=True))


class ScaleEncoder(NumberEncoder):
    """A number as the input of one feature: local id 1 with the scaled value, id 0 with 1.0 where it is missing.

    Counts are of missing and present numbers. With ``g(x) = x``, ``sign(x) log(1 + abs(x))`` or ``sign(x)
    sqrt(abs(x))`` as the field's `scale` says, the input is ``(g(x) - mean) / std`` over the training rows, and x
    itself for scale ``none``. A std of 0 counts as 1. Mean and std are those of the sketch: exact up to 65,536 distinct
    values.
    """

    form = VALUE

    def __init__(self, field: Field) -> None:
        super().__init__(field, num_ids=2)
        self._sketch = NumberSketch()
        self._mean, self._std = 0.0, 1.0

    def read(self, columns: Columns, others: Mapping[str, Cells]) -> Cells:
        """Read the numbers."""
        return self.read_numbers(columns)

    def fit_chunk(self, cells: Cells) -> None:
        """Add to the distribution."""
        assert cells.numbers is not None
        num_missing = int(np.isnan(cells.numbers).sum())
        self._counts += [num_missing, len(cells.numbers) - num_missing]
        if self.field.scale == "none":
            self.largest = float(np.nanmax(np.abs(cells.numbers), initial=self.largest))
        elif self._base_counts is None:
            self._sketch.add(cells.numbers)

    def learned(self) -> Arrays:
        """Return counts and distribution."""
        return {**super().learned(), "largest": np.array([self.largest]), **self._sketch.learned()}

    def add_learned(self, arrays: Arrays) -> None:
        """Add counts and a distribution."""
        super().add_learned(arrays)
        self._sketch.add_learned(arrays)
        self.largest = max(self.largest, float(arrays["largest"][0]))

    def finish(self, scratch: Scratch) -> None:
        """Fix mean and standard deviation, unless they are known."""
        if self._base_counts is None:
            self._mean, self._std = _moments(self._sketch.finish(), self._curve)
            self._sketch = NumberSketch()
        super().finish(scratch)

    def extend(self, base: Self) -> None:
        """Go on with the same mean and standard deviation."""
        super().extend(base)
        self._mean, self._std = base._mean, base._std

    def _curve(self, numbers: Float64s) -> Float64s:
        if self.field.scale == "log":
            return np.copysign(np.log1p(np.abs(numbers)), numbers)
        if self.field.scale == "sqrt":
            return np.copysign(np.sqrt(np.abs(numbers)), numbers)
        return numbers

    def encode(self, cells: Cells) -> Uint32s:
        """Tell the numbers from those that are missing."""
        assert cells.numbers is not None
        return np.where(np.isnan(cells.numbers), MISSING, 1).astype(np.uint32)

    def inputs(self, cells: Cells) -> npt.NDArray[np.float32]:
        """Scale the numbers."""
        assert cells.numbers is not None
        numbers = cells.numbers
        with np.errstate(over="ignore"):
            scaled = (self._curve(numbers) - self._mean) / self._std
        values: npt.NDArray[np.float32] = np.clip(scaled, -_LARGEST, _LARGEST).astype(np.float32)
        values[np.isnan(numbers)] = 1.0
        return values

    def mean_inputs(self) -> Float64s:
        """Return the mean input of each feature, (2,): that of a scaled number is 0."""
        means = super().mean_inputs()
        if self.field.scale != "none":
            means[1] = 0.0
        return means

    def numbers_of(self, inputs: npt.NDArray[np.floating]) -> Float64s:
        """Return the numbers of which `inputs` are the scaled ones, as exactly as float32 has kept them.

        Examples
        --------
        >>> encoder = ScaleEncoder(Field(name="n", column="n", type="number", scale="sqrt"))
        >>> encoder.restore({"mean": 1.0, "std": 2.0}, {"counts": np.zeros(2, np.int64)})
        >>> encoder.numbers_of(np.array([-1.0, 0.5]))  # sqrt(n) = 2 input + 1
        array([-1.,  4.])
        """
        curved = inputs.astype(np.float64) * self._std + self._mean
        with np.errstate(over="ignore"):
            if self.field.scale == "log":
                return np.copysign(np.expm1(np.abs(curved)), curved)
            if self.field.scale == "sqrt":
                return np.copysign(curved * curved, curved)
        return curved

    @property
    def moments(self) -> tuple[float, float]:
        """Mean and standard deviation of the curved numbers."""
        return self._mean, self._std

    def texts(self, ids: Iterable[int]) -> list[str | None]:
        """Return None for each id: the feature is the number itself."""
        return [None for _ in ids]

    def describe(self) -> dict[str, Any]:
        """Return mean and standard deviation of the curved numbers."""
        return {"mean": self._mean, "std": self._std}

    def restore(self, described: Mapping[str, Any], arrays: Arrays) -> None:
        """Take over counts, mean and standard deviation."""
        super().restore(described, arrays)
        self._mean, self._std = float(described["mean"]), float(described["std"])
        if not (math.isfinite(self._mean) and math.isfinite(self._std) and self._std > 0):
            raise ArtefactError("invalid scale", where=self.field.name, got=(self._mean, self._std))


def _moments(distribution: Distribution, curve: Callable[[Float64s], Float64s]) -> tuple[float, float]:
    """Mean and standard deviation of ``curve(x)``, 1.0 for a standard deviation of 0."""
    curved = curve(distribution.middles)
    if len(curved) < 2:  # rounding must not give a constant a tiny standard deviation
        return float(curved.sum()), 1.0
    unit = float(np.abs(curved).max()) or 1.0  # squares of large numbers would overflow
    curved = curved / unit
    num = int(distribution.counts.sum())
    mean = math.fsum(curved * distribution.counts) / num
    std = math.sqrt(math.fsum((curved - mean) ** 2 * distribution.counts) / num)
    return mean * unit, std * unit or 1.0


class BinEncoder(NumberEncoder):
    """A number as one feature per bin: local id 2 + i for ``edges[i - 1] <= x < edges[i]``, id 0 where it is missing.

    The edges are given, or quantiles of the training rows. No number is unseen: the first and the last bin are open.
    """

    form = SINGLE

    def __init__(self, field: Field) -> None:
        super().__init__(field, num_ids=0 if field.edges is None else _FIRST_BIN + len(field.edges) + 1)
        self._edges: Float64s | None = None
        if field.edges is not None:
            self._edges = np.asarray(field.edges, dtype=np.float64)
        else:
            assert field.bins is not None
            self.cells_pass = 2
            self._sketch = NumberSketch(capacity=max(65_536, 16 * field.bins))

    def read(self, columns: Columns, others: Mapping[str, Cells]) -> Cells:
        """Read the numbers, or their bins once the edges are known."""
        cells = self.read_numbers(columns)
        if self._edges is None:
            return cells
        bins = self._bins(cells)
        return Cells(bins, lambda at: pa.array(self.texts(bins[at].tolist()), pa.string()), rejects=cells.rejects)

    def _bins(self, cells: Cells) -> npt.NDArray[np.uint64]:
        """Return the bins of cells, whether they were read before the edges were known or afterwards."""
        if cells.numbers is None:
            return cells.fingerprints
        assert self._edges is not None, "finish() comes first"
        return bin_ids(cells.numbers, self._edges, first=_FIRST_BIN)

    def fit_chunk(self, cells: Cells) -> None:
        """Add to the distribution, or count the bins."""
        if self._edges is None:
            assert cells.numbers is not None
            self._sketch.add(cells.numbers)
        else:
            super().fit_chunk(cells)

    def learned(self) -> Arrays:
        """Return the distribution, or counts of the bins."""
        return self._sketch.learned() if self._edges is None else super().learned()

    def add_learned(self, arrays: Arrays) -> None:
        """Add a distribution, or counts of the bins."""
        if self._edges is None:
            self._sketch.add_learned(arrays)
        else:
            super().add_learned(arrays)

    def finish(self, scratch: Scratch) -> None:
        """Fix the edges, unless they are known."""
        super().finish(scratch)
        if self._edges is not None:
            return
        assert self.field.bins is not None
        distribution = self._sketch.finish()
        self._edges = distribution.quantile_edges(self.field.bins or distribution.suitable_bins())
        # An edge is the lower end of a range of the sketch, so every range lies in one bin and the counts are exact.
        self._counts = np.zeros(_FIRST_BIN + len(self._edges) + 1, dtype=np.int64)
        self._counts[MISSING] = self._sketch.num_missing
        at = bin_ids(distribution.values, self._edges, first=_FIRST_BIN)
        np.add.at(self._counts, at.astype(np.int64), distribution.counts)
        self._sketch = NumberSketch()

    def extend(self, base: Self) -> None:
        """Go on with the same edges."""
        super().extend(base)
        self._edges, self.cells_pass = base._edges, 1

    def encode(self, cells: Cells) -> Uint32s:
        """Return the bins."""
        return self._bins(cells).astype(np.uint32)

    def texts(self, ids: Iterable[int]) -> list[str | None]:
        """Return the ranges of bins: ``< 18``, ``[18, 65)``, ``>= 65``."""
        assert self._edges is not None
        edges = self._edges
        return [range_text(edges, id_ - _FIRST_BIN) if id_ >= _FIRST_BIN else None for id_ in ids]

    @property
    def edges(self) -> Float64s:
        """The inner edges of the bins, once they are known."""
        assert self._edges is not None, "finish() comes first"
        return self._edges

    def arrays(self) -> Arrays:
        """Return edges and counts."""
        assert self._edges is not None
        return {"edges": self._edges, **super().arrays()}

    def restore(self, described: Mapping[str, Any], arrays: Arrays) -> None:
        """Take over edges and counts."""
        self._edges = expect(arrays, "edges", np.float64, (None,))
        self._counts = expect(arrays, "counts", np.int64, (_FIRST_BIN + len(self._edges) + 1,))
        if not (np.isfinite(self._edges).all() and (np.diff(self._edges) > 0).all()):
            raise ArtefactError("edges are not strictly increasing", where=self.field.name)


def range_text(edges: Float64s, at: int) -> str:
    """Return bin `at` of those between inner `edges` as text: ``< 18``, ``[18, 65)``, ``>= 65``."""
    if not len(edges):
        return "any number"
    if at == 0:
        return f"< {edges[0]:.15g}"
    return f">= {edges[-1]:.15g}" if at == len(edges) else f"[{edges[at - 1]:.15g}, {edges[at]:.15g})"
