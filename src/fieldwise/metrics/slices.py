"""Calibration by slice: predicted against observed label rates, by probability and by field value.

For the examples of a slice, with weights w, probabilities p and labels y::

    ratio = sum w p / sum w y                              above 1 the model predicts too many clicks
    z     = sum w (p - y) / sqrt(sum w^2 p (1 - p))        significant beyond about 3

and for a field, whose slices are its values (an example of a bag counts in the slice of each of its values)::

    error = sum over slices of abs(sum w (p - y)) / sum over slices of sum w

The error of a small slice may be due to chance; see `z`.
"""

from __future__ import annotations

from math import sqrt

import msgspec
import numpy as np
import numpy.typing as npt

__all__ = ["FieldSlices", "Slice", "SliceSums", "by_probability"]

Floats = npt.NDArray[np.float64]


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """The calibration of the examples with one value of a field, or with probabilities in one range.

    Attributes
    ----------
    name
        The value, or the range of probabilities.
    examples, weight
        Number of examples, and sum w.
    predicted, observed
        Weighted means of p and y.
    ratio
        predicted / observed; None if observed is 0.
    z
        Standardized deviation; None if all probabilities are 0 or 1.
    """

    name: str
    examples: int
    weight: float
    predicted: float
    observed: float
    ratio: float | None
    z: float | None


class FieldSlices(msgspec.Struct, frozen=True, kw_only=True):
    """The non-empty slices of a field, the largest first, and the calibration error over all of them."""

    field: str
    error: float
    slices: list[Slice]


class SliceSums:
    """Accumulates the calibration of every slice of a field; takes 40 bytes per slice, and O(B) per update.

    Examples
    --------
    >>> sums = SliceSums(3)
    >>> sums.update(np.array([2, 0, 2]), np.array([0.5, 0.2, 0.7]), np.array([1, 0, 0]))
    >>> found = sums.compute("city", ["?", "-", "Rome"])
    >>> [(each.name, each.examples, round(each.predicted, 2), each.observed) for each in found.slices]
    [('Rome', 2, 0.6, 0.5), ('?', 1, 0.2, 0.0)]
    >>> round(found.error, 4)
    0.1333
    """

    def __init__(self, num_slices: int) -> None:
        self._sums = np.zeros((5, num_slices))

    def update(
        self,
        ids: npt.NDArray[np.integer],
        probabilities: npt.NDArray[np.floating],
        labels: npt.NDArray[np.integer],
        weights: npt.NDArray[np.floating] | None = None,
    ) -> None:
        """Add B examples.

        Parameters
        ----------
        ids
            (B,) slices, 0 to num_slices - 1.
        probabilities, labels, weights
            (B,) p, y and w; w is 1 by default.
        """
        p, y = probabilities.astype(np.float64), labels.astype(np.float64)
        w = np.ones(len(p)) if weights is None else weights.astype(np.float64)
        for line, column in enumerate((np.ones(len(p)), w, w * p, w * y, w * w * p * (1 - p))):
            np.add.at(self._sums[line], ids, column)  # a bincount would cost as much as there are slices

    def occupied(self) -> list[int]:
        """Return the numbers of the non-empty slices, the largest first."""
        order = np.argsort(-self._sums[0], kind="stable")
        return [int(number) for number in order[self._sums[0][order] > 0]]

    def compute(self, field: str, names: list[str]) -> FieldSlices:
        """Return the calibration of the non-empty slices; `names` are the names of all slices."""
        total = self._sums[1].sum()
        error = float(np.abs(self._sums[2] - self._sums[3]).sum() / total) if total else 0.0
        return FieldSlices(
            field=field,
            error=error,
            slices=[_slice(names[number], self._sums[:, number]) for number in self.occupied()],
        )


def by_probability(
    probabilities: Floats, labels: npt.NDArray[np.bool_], weights: Floats, bounds: list[tuple[int, int]]
) -> list[Slice]:
    """Return the calibration of examples sorted by probability, in the given ranges ``(begin, end)``."""
    found = []
    for begin, end in bounds:
        if end > begin:
            p, y, w = probabilities[begin:end], labels[begin:end].astype(np.float64), weights[begin:end].astype(float)
            sums = np.array([len(p), w.sum(), (w * p).sum(), (w * y).sum(), (w * w * p * (1 - p)).sum()])
            found.append(_slice(f"{p[0]:.4g} to {p[-1]:.4g}", sums))
    return found


def _slice(name: str, sums: Floats) -> Slice:
    examples, weight, predicted, observed, variance = map(float, sums)
    return Slice(
        name=name,
        examples=int(examples),
        weight=weight,
        predicted=predicted / weight if weight else 0.0,
        observed=observed / weight if weight else 0.0,
        ratio=predicted / observed if observed else None,
        z=(predicted - observed) / sqrt(variance) if variance > 0 else None,
    )
