"""A chunk that has been read while its encoder still learns, and is encoded afterwards without reading it again.

What a draft holds is the outcome of the one path from a raw value to its fingerprint or number; only what depends on
the rest of the log is left open: ids, scales, bins, and the class of a label.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.features.chunk import Chunk, Encoded, make_batch
from fieldwise.features.columns import Reject
from fieldwise.features.fields import Coded, Draft
from fieldwise.features.target import TargetEncoder
from fieldwise.kernels.layout import select

__all__ = ["ChunkDraft", "draft_chunk", "encode_chunk"]


class ChunkDraft(NamedTuple):
    """A chunk of R rows, of which B are accepted unless their label turns out to be no class.

    Attributes
    ----------
    fields
        Of the accepted rows.
    label
        (R,) as it was read, as a dictionary.
    weights, groups
        (B,) as in `Encoded`.
    rejects, accepted
        As in `Encoded`.
    """

    fields: list[Draft]
    label: pa.Array
    weights: npt.NDArray[np.float32] | None
    groups: npt.NDArray[np.uint64] | None
    rejects: list[Reject]
    accepted: npt.NDArray[np.int64]


def draft_chunk(chunk: Chunk, fields: list[Draft], label: pa.Array) -> ChunkDraft:
    """Put a draft together."""
    assert chunk.target is not None
    _, weights, groups, _ = chunk.target
    return ChunkDraft(fields, label, weights, groups, chunk.rejects, chunk.accepted)


def encode_chunk(draft: ChunkDraft, coded: list[Coded], target: TargetEncoder) -> Encoded:
    """Put together what became of a draft, and leave out the rows whose label is no class."""
    batch = make_batch(coded, len(draft.accepted))
    labels, no_labels = target.labels(draft.label)
    first: dict[int, Reject] = {}
    for reject in (*no_labels, *draft.rejects):
        first.setdefault(reject.row, reject)
    accepted, weights, groups = draft.accepted, draft.weights, draft.groups
    if len(first) > len(draft.rejects):
        kept = ~np.isin(accepted, list(first))
        batch, accepted = select(batch, kept), accepted[kept]
        weights = None if weights is None else weights[kept]
        groups = None if groups is None else groups[kept]
    rejects = [first[row] for row in sorted(first)]
    return Encoded(batch, labels[accepted], weights, groups, rejects, accepted)
