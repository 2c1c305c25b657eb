"""The rows of a chunk once they are read: what the fields hold in them, and which of them can be used.

This is the one thing that `Encoder.encode` takes: made of a table by `read_rows`, when a model answers and when a log
is prepared alike. Preparing puts it aside between its passes (`jobs.prepare.spool`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.features.columns import Columns, Reject
from fieldwise.kernels.layout import Batch, Examples

if TYPE_CHECKING:
    from fieldwise.features.fields import FieldEncoder
    from fieldwise.features.labels import Labels
    from fieldwise.features.target import TargetEncoder

__all__ = ["NO_FINGERPRINTS", "Arrays", "Cells", "Encoded", "ReadRows", "TextsAt", "read_rows"]

TextsAt = Callable[[npt.NDArray[np.int64]], pa.Array]
"""From positions among the values of a chunk to their texts."""

Arrays = dict[str, npt.NDArray[Any]]
"""What is saved of a field, or of all."""

NO_FINGERPRINTS = np.zeros(0, dtype=np.uint64)


def _no_texts(positions: npt.NDArray[np.int64]) -> pa.Array:
    raise AssertionError("the texts of these values are not at hand")


class Cells(NamedTuple):
    """The values of one field in B examples, N in all: as fingerprints, as codes or as numbers.

    Attributes
    ----------
    fingerprints
        (N,) uint64, 0 for missing; for a number with bins and a part of a time the local id.
    texts
        Canonical texts of the values at given positions. Asked for by people and for new values only.
    offsets
        (B + 1,) int64 for a bag, whose values are those at ``offsets[b] .. offsets[b + 1]``, one or more: an empty bag
        holds one value, missing. None where every example has one value (N = B).
    weights
        (N,) float32 for a bag.
    numbers
        (B,) float64, NaN for missing: of a number without bins, or whose bins are not known yet; (N,) of a vector. Then
        there are no fingerprints.
    codes
        (N,) unsigned integers in place of fingerprints, once a field has counted the values: its own numbers for them
        (`features.indexed.IndexedEncoder.condense`). They take fewer bytes, and their ids are found without a search.
    rejects
        Cells that cannot be read.
    num_cut
        Cells of a bag that hold more values than are kept.
    """

    fingerprints: npt.NDArray[np.uint64] = NO_FINGERPRINTS
    texts: TextsAt = _no_texts
    offsets: npt.NDArray[np.int64] | None = None
    weights: npt.NDArray[np.float32] | None = None
    numbers: npt.NDArray[np.float64] | None = None
    codes: npt.NDArray[np.unsignedinteger[Any]] | None = None
    rejects: tuple[Reject, ...] = ()
    num_cut: int = 0


class ReadRows(NamedTuple):
    """The rows of a chunk as they were read: of R rows, B can be used, unless their label turns out to be no class.

    Attributes
    ----------
    cells
        Of each field, by name: B examples, perhaps read when first asked for.
    labels
        Of all R rows; None where labels are not asked for.
    weights, groups
        (B,) as in `Examples`.
    rejects, accepted
        As in `Encoded`.
    """

    cells: Mapping[str, Cells]
    labels: Labels | None
    weights: npt.NDArray[np.float32] | None
    groups: npt.NDArray[np.uint64] | None
    rejects: list[Reject]
    accepted: npt.NDArray[np.int64]

    @property
    def num_examples(self) -> int:
        """B."""
        return len(self.accepted)


class Encoded(NamedTuple):
    """A chunk of the log as examples, and what became of its rows; B rows are accepted.

    Attributes
    ----------
    examples
        The accepted rows: no labels, weights and groups where labels were not asked for.
    rejects
        The rows left out, in order, each once with the first reason.
    accepted
        (B,) int64: positions of the accepted rows in the table given, ascending.
    cut
        How many cells of each bag were cut to its `max_length`; those of bags without such cells are left out.
    """

    examples: Examples
    rejects: list[Reject]
    accepted: npt.NDArray[np.int64]
    cut: Mapping[str, int] = {}

    @property
    def batch(self) -> Batch:
        """The features of the accepted rows."""
        return self.examples.batch

    @property
    def labels(self) -> npt.NDArray[np.int32] | None:
        """See `Examples`."""
        return self.examples.labels

    @property
    def weights(self) -> npt.NDArray[np.float32] | None:
        """See `Examples`."""
        return self.examples.weights

    @property
    def groups(self) -> npt.NDArray[np.uint64] | None:
        """See `Examples`."""
        return self.examples.groups

    def leave_out(self, rejects: Iterable[Reject]) -> Encoded:
        """Return what is left without these rows; of one that was left out before, this reason is the first."""
        first = {reject.row: reject for reject in (*self.rejects, *rejects)}
        kept = ~np.isin(self.accepted, list(first))
        examples = self.examples if kept.all() else self.examples.select(kept)
        return Encoded(examples, [first[row] for row in sorted(first)], self.accepted[kept], self.cut)


class _CellsByField(dict[str, Cells]):
    """The cells of a chunk, each field's read when it is first asked for: by a cross, by learning, by encoding."""

    def __init__(self, fields: Mapping[str, FieldEncoder], columns: Columns) -> None:
        super().__init__()
        self._fields, self._columns = fields, columns

    def __missing__(self, name: str) -> Cells:
        cells = self[name] = self._fields[name].read(self._columns, self)
        return cells


def read_rows(fields: Mapping[str, FieldEncoder], target: TargetEncoder | None, table: pa.Table) -> ReadRows:
    """Read what may be rejected first; where something is, read the rows that remain."""
    columns = Columns(table)
    cells = _CellsByField(fields, columns)
    labels, weights, groups, target_rejects = target.read(columns) if target is not None else (None, None, None, [])
    first: dict[int, Reject] = {}
    for reject in chain(target_rejects, *(cells[name].rejects for name in fields if fields[name].strict)):
        first.setdefault(reject.row, reject)
    accepted = np.arange(table.num_rows, dtype=np.int64)
    if first:
        accepted = np.delete(accepted, list(first))
        cells = _CellsByField(fields, Columns(table.take(pa.array(accepted))))
        weights = None if weights is None else weights[accepted]
        groups = None if groups is None else groups[accepted]
    rejects = [first[row] for row in sorted(first)]
    return ReadRows(cells, labels, weights, groups, rejects, accepted)
