"""A chunk of the log on its way through the encoder: first cells and rejects, in the end a batch."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.features.columns import Cells, Columns, Reject
from fieldwise.features.fields import Coded, FieldEncoder
from fieldwise.features.target import Target, TargetEncoder
from fieldwise.kernels.layout import Batch

__all__ = ["CellsByField", "Chunk", "Encoded", "make_batch", "read_chunk"]


class CellsByField(dict[str, Cells]):
    """The cells of a chunk, each field's read when it is first asked for."""

    def __init__(self, fields: Mapping[str, FieldEncoder], columns: Columns) -> None:
        super().__init__()
        self._fields, self._columns = fields, columns

    def __missing__(self, name: str) -> Cells:
        cells = self[name] = self._fields[name].read(self._columns, self)
        return cells


class Chunk(NamedTuple):
    """The rows of a chunk that are accepted, as they were read.

    Attributes
    ----------
    columns, cells, target
        Of the accepted rows; `target` is None where none is read.
    rejects
        The other rows, in order, each once with the first reason.
    accepted
        Positions of the accepted rows in the table given, ascending.
    """

    columns: Columns
    cells: CellsByField
    target: Target | None
    rejects: list[Reject]
    accepted: npt.NDArray[np.int64]


class Encoded(NamedTuple):
    """A chunk of the log as a batch, and what became of its rows; B rows are accepted.

    Attributes
    ----------
    batch
        The features of the accepted rows.
    labels
        (B,) int32: indices into the classes; None without labels.
    weights
        (B,) float32: weights of the examples; None without labels or without such a column.
    groups
        (B,) uint64: fingerprints of the groups for GAUC, 0 for missing; None without labels or without such a column.
    rejects
        The rows left out, in order, each once with the first reason.
    accepted
        (B,) int64: positions of the accepted rows in the table given, ascending.
    cut
        How many cells of each bag were cut to its `max_length`; those of bags without such cells are left out.
    """

    batch: Batch
    labels: npt.NDArray[np.int32] | None
    weights: npt.NDArray[np.float32] | None
    groups: npt.NDArray[np.uint64] | None
    rejects: list[Reject]
    accepted: npt.NDArray[np.int64]
    cut: Mapping[str, int] = {}


def read_chunk(fields: Mapping[str, FieldEncoder], target: TargetEncoder | None, table: pa.Table) -> Chunk:
    """Read what may be rejected first; where something is, read the rows that remain."""
    columns = Columns(table)
    cells = CellsByField(fields, columns)
    read = target.read(columns) if target is not None else None
    first: dict[int, Reject] = {}
    for reject in chain(
        read.rejects if read is not None else (),
        *(cells[name].rejects for name, encoder in fields.items() if encoder.strict),
    ):
        first.setdefault(reject.row, reject)
    everything = np.arange(table.num_rows, dtype=np.int64)
    if not first:
        return Chunk(columns, cells, read, [], everything)
    accepted = np.delete(everything, list(first))
    remaining = read_chunk(fields, target, table.take(pa.array(accepted)))
    return remaining._replace(rejects=[first[row] for row in sorted(first)], accepted=accepted)


def make_batch(coded: list[Coded], num_examples: int) -> Batch:
    """Put the fields of a batch together, field-major."""
    ids = [field.ids for field in coded if field.offsets is None]
    values = [field.values for field in coded if field.values is not None]
    bags = [(field, field.offsets) for field in coded if field.offsets is not None]
    offsets = np.zeros((len(bags), num_examples + 1), dtype=np.int64)
    end = 0
    for line, (_, of_bag) in zip(offsets, bags, strict=True):
        line[:] = of_bag + end
        end = line[-1]
    return Batch(
        ids=np.stack(ids) if ids else np.zeros((0, num_examples), dtype=np.uint32),
        values=np.stack(values) if values else np.zeros((0, num_examples), dtype=np.float32),
        offsets=offsets,
        bag_ids=np.concatenate([np.zeros(0, dtype=np.uint32), *(bag.ids for bag, _ in bags)]),
        bag_weights=np.concatenate(
            [np.zeros(0, dtype=np.float32), *(bag.weights for bag, _ in bags if bag.weights is not None)]
        ),
    )
