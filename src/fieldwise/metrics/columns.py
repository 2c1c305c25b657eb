"""Validated columns of examples, which accumulators append to and join on demand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from fieldwise.errors import DataError
from fieldwise.kernels.auc import Weights, lexsort, unweighted

__all__ = [
    "Accumulator",
    "ColumnArrays",
    "group_column",
    "label_column",
    "probability_column",
    "sort_by",
    "weight_column",
    "weights_of",
]

ColumnArrays = Mapping[str, npt.NDArray[Any]]
"""Columns of equal length, by name; a missing column is absent for all examples."""

_SMALLEST_WEIGHT, _LARGEST_WEIGHT = 1e-100, 1e100  # products of two sums of weights neither overflow nor underflow


class Accumulator:
    """The base of the metrics: a list of chunks of examples with the same columns, joined on demand.

    Parameters
    ----------
    num_classes
        O.
    """

    def __init__(self, num_classes: int = 2) -> None:
        self._num_classes = num_classes
        self._chunks: list[ColumnArrays] = []

    def add_columns(self, columns: ColumnArrays) -> None:
        """Add examples returned by the `columns` of another accumulator, without copying them.

        Raises
        ------
        ValueError
            They have other columns or types than earlier ones.
        """
        if not columns or not len(next(iter(columns.values()))):
            return
        if self._chunks and _types(columns) != _types(self._chunks[0]):
            raise ValueError(
                f"every update must have the same columns with the same types: "
                f"expected {_types(self._chunks[0])}, got {_types(columns)}"
            )
        self._chunks.append(columns)

    def merge(self, other: Self) -> None:
        """Add the examples of another accumulator, which is not changed.

        Raises
        ------
        ValueError
            It has another number of classes.
        """
        if other._num_classes != self._num_classes:
            raise ValueError(f"`other` must have {self._num_classes} classes, got {other._num_classes}")
        for chunk in tuple(other._chunks):
            self.add_columns(chunk)

    def columns(self) -> ColumnArrays:
        """Return all examples as arrays that another process can pass to `add_columns`; empty if there are none."""
        if len(self._chunks) > 1:
            names = self._chunks[0]
            self._chunks = [{name: np.concatenate([chunk[name] for chunk in self._chunks]) for name in names}]
        return self._chunks[0] if self._chunks else {}


def _types(chunk: ColumnArrays) -> str:
    return ", ".join(f"{name} {column.dtype}{list(column.shape[1:]) or ''}" for name, column in chunk.items())


def sort_by(chunk: ColumnArrays, *names: str) -> ColumnArrays:
    """Return the examples sorted by the last named column, ties by the one before it; absent columns are ignored."""
    order = lexsort(*(chunk[name].view(f"u{chunk[name].itemsize}") for name in names if name in chunk))
    return {name: column[order] for name, column in chunk.items()}


def weights_of(chunk: ColumnArrays) -> Weights:
    """Return the weights of a chunk, or ones if it has none."""
    return chunk["weights"] if "weights" in chunk else unweighted(len(next(iter(chunk.values()))))


def probability_column(probabilities: npt.ArrayLike, num_classes: int) -> npt.NDArray[np.floating[Any]]:
    """Validate probabilities and return them without a copy, (B,) or (B, O) for O > 2 classes.

    Raises
    ------
    ValueError
        They are not float32 or float64, or have another shape.
    DataError
        A probability is NaN or outside [0, 1], or a row does not sum to 1 within 1e-3.
    """
    column = np.asarray(probabilities)
    if column.dtype not in (np.float32, np.float64):
        raise ValueError(f"`probabilities` must be float32 or float64, got {column.dtype}")
    if column.ndim != (1 if num_classes == 2 else 2) or (column.ndim == 2 and column.shape[1] != num_classes):
        expected = "(B,)" if num_classes == 2 else f"(B, {num_classes})"
        raise ValueError(f"`probabilities` must have shape {expected}, got {column.shape}")
    _refuse(~((column >= 0) & (column <= 1)), column, "a probability is out of range", "0 to 1")
    if column.ndim == 2:
        sums = column.sum(axis=1, dtype=np.float64)
        _refuse(abs(sums - 1) > 1e-3, sums, "the probabilities of the classes do not sum to 1", "1 within 0.001")
    return column


def label_column(labels: npt.ArrayLike, num_examples: int, num_classes: int) -> npt.NDArray[np.int32]:
    """Validate labels, booleans, integers or integral floats, and return them as (B,) int32 in 0 .. O - 1.

    Raises
    ------
    ValueError
        They have another type, or another length than the probabilities.
    DataError
        A label is not one of the classes.
    """
    column = _of_kind("labels", labels, num_examples, "buif", "numbers")
    known = (column >= 0) & (column < num_classes)  # false for NaN
    classes = np.where(known, column, 0).astype(np.int32)
    expected = "0 or 1" if num_classes == 2 else f"an integer from 0 to {num_classes - 1}"
    _refuse(~known | (classes != column), column, "a label is not a class", expected)
    return classes


def weight_column(weights: npt.ArrayLike, num_examples: int) -> npt.NDArray[np.float64]:
    """Validate weights, each 0 or from 1e-100 to 1e100, and return them as a (B,) float64 copy.

    Raises
    ------
    ValueError
        They are not numbers, or have another length than the probabilities.
    DataError
        A weight is NaN, negative or out of range.
    """
    column = _of_kind("weights", weights, num_examples, "buif", "numbers").astype(np.float64) + 0.0  # no -0.0
    usable = (column == 0) | ((column >= _SMALLEST_WEIGHT) & (column <= _LARGEST_WEIGHT))
    _refuse(~usable, column, "a weight is out of range", f"0, or {_SMALLEST_WEIGHT} to {_LARGEST_WEIGHT}")
    return column


def group_column(groups: npt.ArrayLike, num_examples: int) -> npt.NDArray[np.uint64]:
    """Validate group ids, any integers, and return them as a (B,) uint64 copy.

    Raises
    ------
    ValueError
        They are not integers, or have another length than the probabilities.
    """
    return _of_kind("groups", groups, num_examples, "ui", "integers").astype(np.uint64)


def _of_kind(name: str, values: npt.ArrayLike, num_examples: int, kinds: str, what: str) -> npt.NDArray[Any]:
    column = np.asarray(values)
    if column.shape != (num_examples,):
        raise ValueError(f"`{name}` must have shape ({num_examples},), got {column.shape}")
    if column.dtype.kind not in kinds:
        raise ValueError(f"`{name}` must be {what}, got {column.dtype}")
    return column


def _refuse(wrong: npt.NDArray[np.bool_], column: npt.NDArray[Any], what: str, expected: str) -> None:
    """Raise DataError for the first invalid example, if there is one."""
    if wrong.any():
        where = np.unravel_index(int(wrong.argmax()), wrong.shape)
        raise DataError(what, where=f"example {where[0]} of the update", expected=expected, got=column[where])
