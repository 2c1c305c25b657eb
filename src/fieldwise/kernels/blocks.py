"""Which blocks of a table's rows a batch reads."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.jit import kernel
from fieldwise.kernels.layout import BAG, Batch, Layout

__all__ = ["mark_blocks"]

_U = np.uint64


@kernel
def mark_blocks(batch: Batch, layout: Layout, shift: int, marks: npt.NDArray[np.bool_]) -> None:
    """Set ``marks[row >> shift]`` for the row of every feature in a batch."""
    bits = _U(shift)
    for f in range(len(layout.form)):
        base = _U(layout.base[f])
        ids = batch.bag_ids
        if layout.form[f] == BAG:
            offsets = batch.offsets[layout.bag[f]]
            ids = ids[offsets[0] : offsets[len(offsets) - 1]]
        else:
            ids = batch.ids[layout.single[f]]
        for i in range(_U(len(ids))):
            marks[(base + _U(ids[i])) >> bits] = True
