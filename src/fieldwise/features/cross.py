"""Crosses: one feature per combination of the values of other fields.

A cross takes the fingerprints of its parts in order and mixes them (`kernels.fingerprint.combine`); no string is built,
except for values seen for the first time, so that people can read the vocabulary. It is missing where a part is. A bag
takes part with each of its values: a cross with bags is a bag, of all combinations, and their weights are multiplied. A
number takes part by its bin, whose quantiles must be known first: such a cross learns in a second pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fieldwise.features.canonical import plain
from fieldwise.features.cells import Cells
from fieldwise.features.columns import Columns
from fieldwise.features.fields import FieldEncoder
from fieldwise.features.indexed import IndexedEncoder
from fieldwise.features.scratch import Scratch
from fieldwise.kernels.fingerprint import combine
from fieldwise.kernels.layout import BAG, SINGLE
from fieldwise.schema import Field

__all__ = ["BETWEEN", "CrossEncoder"]

Int64s = npt.NDArray[np.int64]
BETWEEN = " × "
"""Stands between the parts of a feature's text."""


class CrossEncoder(IndexedEncoder):
    """One feature per combination of the values of its parts."""

    def __init__(self, field: Field, parts: Sequence[FieldEncoder], scratch: Scratch) -> None:
        super().__init__(field, scratch)
        self.form = BAG if any(part.form == BAG for part in parts) else SINGLE
        self.cells_pass = self.fit_pass = max(part.cells_pass for part in parts)

    def read(self, columns: Columns, others: Mapping[str, Cells]) -> Cells:
        """Combine the cells of the parts."""
        parts = [others[name] for name in self.field.parts]
        if self.form == SINGLE:
            found = combine(np.stack([part.fingerprints for part in parts], axis=1), self.seed)
            return Cells(found, lambda at: _joined([part.texts(at) for part in parts]))
        offsets, places = _product(parts)
        found = combine(
            np.stack([part.fingerprints[at] for part, at in zip(parts, places, strict=True)], axis=1), self.seed
        )
        weights = np.ones(len(found), dtype=np.float32)
        for part, at in zip(parts, places, strict=True):
            if part.weights is not None:
                weights *= part.weights[at]
        weights[found == 0] = 1

        def texts(positions: Int64s) -> pa.Array:
            return _joined([part.texts(at[positions]) for part, at in zip(parts, places, strict=True)])

        return Cells(found, texts, offsets, weights)


def _joined(texts: list[pa.Array]) -> pa.Array:
    return pc.binary_join_element_wise(
        *(plain(text).cast(pa.large_string()) for text in texts), pa.scalar(BETWEEN, pa.large_string())
    )


def _product(parts: Sequence[Cells]) -> tuple[Int64s, list[Int64s]]:
    """Combine every value of each part with every value of the others, example by example.

    Returns
    -------
    The offsets of the combinations, (B + 1,), and for each part the positions of its values in them, (N,); the last
    part varies fastest. An example with a missing part has one combination.
    """
    bounds = [np.arange(len(part.fingerprints) + 1) if part.offsets is None else part.offsets for part in parts]
    missing = np.any([part.fingerprints[start[:-1]] == 0 for part, start in zip(parts, bounds, strict=True)], axis=0)
    lengths = [np.where(missing, 1, np.diff(start)) for start in bounds]
    num = np.prod(lengths, axis=0)
    offsets = np.concatenate([[0], np.cumsum(num)])
    rank = np.arange(offsets[-1]) - np.repeat(offsets[:-1], num)  # of a combination in its example
    places = []
    for start, length in zip(reversed(bounds), reversed(lengths), strict=True):
        rank, digit = np.divmod(rank, np.repeat(length, num))
        places.append(np.repeat(start[:-1], num) + digit)
    return offsets, places[::-1]
