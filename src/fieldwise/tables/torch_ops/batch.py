"""A batch on a device, and its features in the order of the rows that they touch.

Letters: B examples, F fields, M features in the batch, U rows that it touches at most, D features of the table.

The features lie field by field, and inside a field example by example. *Cell* ``f B + b`` is what field f has in
example b: one feature, or those of a bag. Where no field is a bag, feature i is that of cell i.

To merge the gradients of a row, features are sorted by row, and those of a row are summed in the order of their
examples::

    sorted features     a a a a a | b | c c c c
    rows                a           b   c
    starts              0           5   6         10      of each row, its first feature; then the end

So no sum depends on who comes first: there are no atomics. The arrays are as long as a batch of this size can need, so
the host waits for no count.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fieldwise.kernels.layout import BAG, SINGLE, VALUE, Batch, Layout
from fieldwise.tables.torch_ops.staging import Staging

__all__ = ["DeviceBatch", "Merge", "Placing", "join_batches", "merge_plan"]


class DeviceBatch(NamedTuple):
    """The features of B examples.

    Attributes
    ----------
    num_examples
        B.
    rows
        (M,) int32 or int64: of each feature, its row of the table.
    cells
        (M,) int64: of each feature, its cell; None where that is its place.
    offsets
        (F B + 1,) int64: the first feature of each cell, then the end; None where cell i has feature i alone.
    inputs
        (M,) float32; None where all are 1.
    most_rows
        U.
    """

    num_examples: int
    rows: Tensor
    cells: Tensor | None
    offsets: Tensor | None
    inputs: Tensor | None
    most_rows: int


class Placing:
    """Brings batches of one layout to a device.

    Parameters
    ----------
    layout, device
        Of the batches, and where they go.
    staging
        On the way there; made unless given.
    """

    def __init__(self, layout: Layout, device: torch.device, staging: Staging | None = None) -> None:
        self.layout, self.staging = layout, staging or Staging(device)
        # The spare row after the last (`tables.device`) has a number, too.
        dtype = torch.int32 if layout.num_features < 2**31 - 1 else torch.int64
        self._base = torch.from_numpy(layout.base[:-1].copy()).to(device, dtype)
        self._bag_fields = torch.from_numpy(np.flatnonzero(layout.form == BAG)).to(device)
        self._sizes = np.diff(layout.base)
        self._runs = _runs(layout)

    def place(self, batch: Batch) -> DeviceBatch:
        """Bring a batch over: one copy, which is only queued where the device is a GPU."""
        num_fields, num_examples = self.layout.num_fields, batch.num_examples
        lengths = np.diff(batch.offsets, axis=1).astype(np.int32)
        ids, inputs = [_NO_IDS], [_NO_INPUTS]
        for run in self._runs:
            if run.form == BAG:
                here = slice(int(batch.offsets[run.first, 0]), int(batch.offsets[run.first, -1]))
                ids.append(batch.bag_ids[here])
                inputs.append(batch.bag_weights[here])
            else:
                ids.append(batch.ids[run.first : run.first + run.num_fields])
            if run.form == VALUE:
                inputs.append(batch.values[run.value : run.value + run.num_fields])
        local, numbers, bag_lengths = self.staging.send([[part.view(np.int32) for part in ids], inputs, [lengths]])
        counts = np.full(num_fields, num_examples)
        counts[self.layout.form == BAG] = lengths.sum(axis=1)
        rows = local if self._base.dtype == torch.int32 else local.to(torch.int64) & 0xFFFFFFFF
        offsets = cells = None
        if len(self._bag_fields):
            of_cells = torch.ones(num_fields, num_examples, dtype=torch.int64, device=rows.device)
            of_cells[self._bag_fields] = bag_lengths.view(len(self._bag_fields), num_examples).long()
            of_cells = of_cells.view(-1)
            numbered = torch.arange(len(of_cells), device=rows.device)
            cells = torch.repeat_interleave(numbered, of_cells, output_size=len(rows))
            offsets = torch.zeros(len(of_cells) + 1, dtype=torch.int64, device=rows.device)
            torch.cumsum(of_cells, 0, out=offsets[1:])
            rows = rows + self._base[torch.div(cells, max(num_examples, 1), rounding_mode="floor")]
        else:
            rows = (rows.view(num_fields, num_examples) + self._base.unsqueeze(1)).view(-1)
        return DeviceBatch(
            num_examples=num_examples,
            rows=rows,
            cells=cells,
            offsets=offsets,
            inputs=self._with_ones(numbers, inputs[1:], num_examples),
            most_rows=int(np.minimum(counts, self._sizes).sum()),
        )

    def _with_ones(self, numbers: Tensor, inputs: list[npt.NDArray[np.float32]], num_examples: int) -> Tensor | None:
        """Return the inputs of all features: the numbers that have come, and 1 for the fields that have none."""
        if all(run.form == SINGLE for run in self._runs):
            return None
        parts, start, of_runs = [], 0, iter(inputs)
        for run in self._runs:
            if run.form == SINGLE:
                parts.append(torch.ones(run.num_fields * num_examples, device=numbers.device))
            else:
                size = next(of_runs).size
                parts.append(numbers[start : start + size])
                start += size
        return torch.cat(parts)


class _Run(NamedTuple):
    """Fields that lie together in a host's batch: their form, the first line of their kind, how many they are; and of
    numbers the first line of `values`.
    """

    form: int
    first: int
    num_fields: int
    value: int


def _runs(layout: Layout) -> list[_Run]:
    """Return the runs of a layout; every bag is one.

    Examples
    --------
    >>> [tuple(run) for run in _runs(Layout.of([SINGLE, SINGLE, VALUE, BAG, BAG, SINGLE], [9] * 6))]
    [(0, 0, 2, -1), (1, 2, 1, 0), (2, 0, 1, -1), (2, 1, 1, -1), (0, 3, 1, -1)]
    """
    runs: list[_Run] = []
    for form, single, value, bag in zip(*(part.tolist() for part in layout[:4]), strict=True):
        if form != BAG and runs and runs[-1].form == form:
            runs[-1] = runs[-1]._replace(num_fields=runs[-1].num_fields + 1)
        else:
            runs.append(_Run(form, bag if form == BAG else single, 1, value))
    return runs


_NO_INPUTS = np.empty(0, dtype=np.float32)
_NO_IDS = np.empty(0, dtype=np.uint32)


def join_batches(batches: list[DeviceBatch], num_fields: int) -> DeviceBatch:
    """Return one batch of the features of several, for `merge_plan`: its features lie batch by batch."""
    if len(batches) == 1:
        return batches[0]
    num_examples, before = sum(batch.num_examples for batch in batches), 0
    cells, inputs = [], []
    for batch in batches:
        own = batch.cells
        if own is None:
            own = torch.arange(len(batch.rows), device=batch.rows.device)
        count = max(batch.num_examples, 1)
        field = torch.div(own, count, rounding_mode="floor")
        cells.append(field * num_examples + own % count + before)
        inputs.append(torch.ones_like(own, dtype=torch.float32) if batch.inputs is None else batch.inputs)
        before += batch.num_examples
    return DeviceBatch(
        num_examples=num_examples,
        rows=torch.cat([batch.rows for batch in batches]),
        cells=torch.cat(cells),
        offsets=None,
        inputs=torch.cat(inputs),
        most_rows=sum(batch.most_rows for batch in batches),
    )


class Merge(NamedTuple):
    """The features of a batch by rows; see the module's picture.

    Attributes
    ----------
    order
        (M,) int64: the features, those of a row together and in the order of the examples.
    rows
        (U,): the rows that are touched, ascending; the number of the spare row from the last one on.
    starts
        (U + 1,) int64: where each row's features begin in `order`; M from the last one's end on.
    """

    order: Tensor
    rows: Tensor
    starts: Tensor


def merge_plan(batch: DeviceBatch, spare_row: int) -> Merge:
    """Sort the features of a batch by row, without waiting for the device.

    Examples
    --------
    >>> rows = torch.tensor([4, 2, 4])
    >>> merge = merge_plan(DeviceBatch(3, rows, None, None, None, most_rows=3), spare_row=9)
    >>> [part.tolist() for part in merge]
    [[1, 0, 2], [2, 4, 9], [0, 1, 3, 3]]
    """
    count, most_rows = len(batch.rows), batch.most_rows
    ordered, order = torch.sort(batch.rows, stable=True)
    places = torch.arange(count, device=ordered.device)
    new = torch.ones_like(ordered, dtype=torch.bool)
    torch.ne(ordered[1:], ordered[:-1], out=new[1:])
    # A feature that is not the first of its row is written to a last place, which is cut off.
    at = torch.where(new, new.cumsum(0) - 1, most_rows + 1)
    rows = torch.full((most_rows + 2,), spare_row, dtype=ordered.dtype, device=ordered.device)
    rows[at] = ordered
    starts = torch.full((most_rows + 2,), count, device=ordered.device)
    starts[at] = places
    return Merge(order, rows[:most_rows], starts[: most_rows + 1])
