"""A bundle's rows and network: from ids to logits, in numpy, numba and ONNX Runtime."""

from __future__ import annotations

import math
from functools import lru_cache, partial
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fieldwise.bundle import Bundle
from fieldwise.calibration import Calibration, sigmoid
from fieldwise.errors import ArtefactError, DataError
from fieldwise.features.encoder import Encoder
from fieldwise.kernels.cooccurrence import Cooccurrence, Link, augment, join
from fieldwise.kernels.layout import BAG, VALUE, Batch, Layout
from fieldwise.kernels.storage import decode_weights, num_weights
from fieldwise.kernels.table import gather_part
from fieldwise.serving.ranking import RankingGraph
from fieldwise.serving.session import open_session

__all__ = ["Network", "refuse_no_number"]

_FEW = 32
"""Fewer rows are not worth a cut."""

Floats = npt.NDArray[np.floating[Any]]
Fields = npt.NDArray[np.int64]


class Network:
    """The rows of a table that a batch needs, and what the network makes of them.

    Attributes
    ----------
    layout
        Of the log's fields, and of co-occurrence bags after them.
    bags
        The co-occurrence bags.
    num_local
        K.
    calibration
        From logits to probabilities.

    Parameters
    ----------
    bundle
        With a network.

    Raises
    ------
    ArtefactError
        The bundle's network does not fit its table.
    UserError
        ONNX Runtime is not installed.
    """

    def __init__(self, bundle: Bundle, network: bytes) -> None:
        self._bundle, self._session = bundle, open_session(network, bundle.folder)
        self._ranking = None if bundle.ranking is None else RankingGraph(bundle.ranking, network, bundle.folder)
        layout = bundle.encoder.layout
        self.bags = _bags_of(bundle)
        try:
            self.calibration = msgspec.convert(bundle.calibration, Calibration)
        except msgspec.ValidationError as error:
            raise ArtefactError("the calibration is not understood", where=bundle.folder, got=error) from None
        self._log_layout = layout
        if self.bags:
            sizes = np.diff(layout.base).tolist()
            forms = [*layout.form.tolist(), *[BAG] * len(self.bags)]
            layout = Layout.of(forms, [*sizes, *(sizes[bag.value] for bag in self.bags)])
        self.layout = layout
        shapes = {each.name: each.shape for each in self._session.get_inputs()}
        self._inputs = tuple(shapes)
        self._num_full = int(shapes["full"][1]) if "full" in shapes else 0
        self.num_local = int(shapes["units"][2]) if "units" in shapes else 0
        num_fields = int(shapes["units"][1]) if "units" in shapes else layout.num_fields
        width = num_weights(bundle.table)
        fits = (len(bundle.table), width) == (layout.num_features, self.num_local + self._num_full)
        if not fits or num_fields != layout.num_fields:
            raise ArtefactError(
                "the network does not fit the table",
                where=bundle.folder,
                expected=f"{layout.num_features} rows of {self.num_local + self._num_full} numbers",
                got=f"{len(bundle.table)} of {width}",
            )
        self._dtype: Any = np.float64 if bundle.dtype == "float64" else np.float32
        is_plain = bundle.table.dtype.kind == "f"
        self._table = bundle.table.astype(self._dtype, copy=False) if is_plain else bundle.table
        self._is_verified = False
        # No method of its own: the cycle would keep a closed predictor's files open until it is collected.
        self._parts = lru_cache(maxsize=16)(partial(_parts_of, self._log_layout, self.layout))

    def gathered(self, batch: Batch) -> tuple[Floats, Floats]:
        """Return units (B, F, K) of all fields, bags last, and sums over the log's fields (B, W), of a batch."""
        return self._gathered(batch, self.num_local)

    def by_field(self, batch: Batch) -> Floats:
        """Return all K + W numbers of a row by field, (B, F, K + W): those that are summed over the fields, too."""
        return self._gathered(batch, self.num_local + self._num_full)[0]

    def rows(self, begin: int, end: int) -> npt.NDArray[np.float64]:
        """Return rows of the table, (end - begin, K + W)."""
        self._bundle.verify()
        return decode_weights(self._table[begin:end]).astype(np.float64)

    def _gathered(self, batch: Batch, num_local: int) -> tuple[Floats, Floats]:
        num_rows = batch.num_examples
        links: tuple[Link, ...] = ()
        if self.bags:
            batch, num_rows, links = augment(batch, self._log_layout, self.bags)
        self._admit(batch)
        num_fields = self.layout.num_fields
        units, full = self._rows_of(batch, self.layout, num_local, batch.num_examples)
        if not links:
            return units, full
        whole, own = (np.stack([getattr(link, name) for link in links]) for name in ("whole", "own"))
        known = np.stack([(link.others > 0) / np.sqrt(np.maximum(link.others, 1)) for link in links])
        leave = known * np.stack([link.has_own for link in links])
        joined = np.empty((num_rows, num_fields, num_local), dtype=self._dtype)
        join(units, whole, own, known.astype(self._dtype), leave.astype(self._dtype), 0, num_rows, joined)
        return joined, full[:num_rows]

    def _admit(self, batch: Batch) -> None:
        if not self._is_verified:
            self._bundle.admit(batch, self.layout)
            self._is_verified = self._bundle.is_verified

    def _rows_of(self, batch: Batch, layout: Layout, num_local: int, num_rows: int) -> tuple[Floats, Floats]:
        """Return units (B, F, K) and sums over the fields (B, W) of the fields of a layout in the first B rows."""
        local = np.empty((num_rows, layout.num_fields * num_local), dtype=self._dtype)
        full = np.empty((num_rows, self.num_local + self._num_full - num_local), dtype=self._dtype)
        gather_part(self._table, batch, layout, num_local, local, full, 0, num_rows)
        return local.reshape(num_rows, layout.num_fields, num_local), full

    def probabilities(self, batch: Batch) -> Floats:
        """Return the calibrated probabilities of a batch: (B,) of the positive class, or (B, O) for O > 2 classes or O
        labels.
        """
        return self._calibrated(self.logits(*self.gathered(batch)))

    def of_candidates(self, batch: Batch, alike: npt.NDArray[np.bool_]) -> Floats:
        """Return the probabilities of a batch whose rows have the same features in some fields of the log, (F,).

        What these fields add to the first layer is computed once, where the model's graph can be cut so
        (`models.ranking`).
        """
        num_rows = batch.num_examples
        cannot = self.num_local > 0 and self._ranking is None
        if cannot or num_rows < _FEW or not alike.any():
            return self.probabilities(batch)
        shared, own, of_shared, of_own = self._parts(alike.tobytes())
        context = np.zeros((1, self.layout.num_fields, self.num_local), dtype=self._dtype)
        if self.bags:
            whole, full = self.gathered(batch)
            context[:, shared], units = whole[:1, shared], whole[:, own]
        else:
            self._admit(batch)
            context[:, shared], once = self._rows_of(batch, of_shared, self.num_local, 1)
            units, full = self._rows_of(batch, of_own, self.num_local, num_rows)
            full += once
        if self._ranking is None:
            return self._calibrated(self.logits(units, full))
        return self._calibrated(self._ranking.logits(context, units, own, full))

    def _calibrated(self, logits: Floats) -> Floats:
        if self._bundle.encoder.schema.labels:
            return sigmoid(logits.astype(np.float64)).astype(logits.dtype)
        plain = logits[:, 0] if logits.shape[1] == 1 else logits
        return self.calibration.probabilities(plain).astype(logits.dtype)

    def logits(self, units: Floats, full: Floats) -> Floats:
        """Return the logits (B, O) of what `gathered` returns."""
        given = {"units": units, "full": full}
        found: Floats = self._session.run(None, {name: given[name] for name in self._inputs})[0]
        return found


def refuse_no_number(probabilities: Floats, batch: Batch, encoder: Encoder) -> None:
    """Raise DataError where a row's answer is no number: one of its own was so large that products of it are infinite.

    The largest number of the row is named.
    """
    if math.isfinite(probabilities.sum()):
        return
    row = int(np.argmin(np.isfinite(probabilities.reshape(len(probabilities), -1)).all(axis=1)))
    sizes: dict[str, float] = {}
    layout = encoder.layout
    for field, form, value, bag in zip(
        encoder.schema.fields, *(each.tolist() for each in (layout.form, layout.value, layout.bag)), strict=True
    ):
        if form == VALUE:
            sizes[field.name] = abs(float(batch.values[value, row]))
        elif form == BAG:
            begin, end = batch.offsets[bag, row : row + 2]
            sizes[field.name] = float(np.abs(batch.bag_weights[begin:end]).max(initial=0.0))
    name = max(sizes, key=sizes.__getitem__, default="")
    raise DataError(
        "the model has no probability for this row",
        where=f"row {row + 1}" + (f", column {encoder.fields[name].field.column}" if name else ""),
        got=f"a number that is {sizes[name]:.2g} once it is scaled" if name else None,
        fix="a number is in the unit and range of the training log",
    )


def _parts_of(log_layout: Layout, layout: Layout, alike: bytes) -> tuple[Fields, Fields, Layout, Layout]:
    """Return which fields are alike in all rows and which are not, and the layout of each."""
    is_alike = np.zeros(layout.num_fields, dtype=np.bool_)
    is_alike[: log_layout.num_fields] = np.frombuffer(alike, np.bool_)
    shared, own = np.flatnonzero(is_alike), np.flatnonzero(~is_alike)
    return shared, own, _part_of(layout, shared), _part_of(layout, own)


def _part_of(layout: Layout, fields: npt.NDArray[np.int64]) -> Layout:
    """Return the layout of some fields: the same lines of a batch, and the same rows of the table."""
    form, single, value, bag = (each[fields] for each in layout[:4])
    return Layout(form, single, value, bag, np.append(layout.base[fields], layout.num_features))


def _bags_of(bundle: Bundle) -> list[Cooccurrence]:
    bags = Cooccurrence.saved(bundle.dense, "cooccurrence.")
    if not all(bag.fits(bundle.encoder.layout) for bag in bags):
        raise ArtefactError("a co-occurrence bag names fields or values that do not exist", where=bundle.folder)
    return bags
