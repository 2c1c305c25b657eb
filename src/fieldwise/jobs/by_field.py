"""The calibration of a model by the values of each field."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fieldwise.errors import ConfigError, did_you_mean
from fieldwise.features.encoder import Encoder
from fieldwise.kernels.layout import BAG, MISSING, UNSEEN, Batch, Layout
from fieldwise.metrics.slices import FieldSlices, SliceSums

__all__ = ["SlicesByField", "occurrences", "value_names"]

Floats = npt.NDArray[np.floating]
Ids = npt.NDArray[np.integer]

_FEW = 1_000
_WITHOUT_TEXT = {MISSING: "(missing)", UNSEEN: "(unseen)"}


def occurrences(batch: Batch, layout: Layout, number: int) -> tuple[Ids, Ids]:
    """Return the local ids of a field in a batch, (N,), and the example of each, (N,)."""
    if layout.form[number] != BAG:
        return batch.ids[layout.single[number]], np.arange(batch.num_examples)
    offsets = batch.offsets[layout.bag[number]]
    return batch.bag_ids[offsets[0] : offsets[-1]], np.repeat(np.arange(batch.num_examples), np.diff(offsets))


def value_names(encoder: Encoder, field: str, ids: Sequence[int]) -> list[str]:
    """Return what local ids of a field stand for, in words."""
    texts = encoder.feature_texts(field, ids)
    return [
        text if text is not None else _WITHOUT_TEXT.get(slot, f"feature {slot}")
        for slot, text in zip(ids, texts, strict=True)
    ]


class SlicesByField:
    """Sums by the values of fields: those with at most 1,000 values, and those in `by`.

    Parameters
    ----------
    encoder
        Of the model.
    by
        Names of fields.

    Raises
    ------
    ConfigError
        There is no such field, or it is a number without bins.
    """

    def __init__(self, encoder: Encoder, by: Sequence[str]) -> None:
        self.encoder, layout = encoder, encoder.layout
        fields = encoder.schema.fields
        for name in by:
            known = [field.name for field in fields if not field.has_inputs]
            if name not in known:
                raise ConfigError(
                    "not a field with discrete values",
                    where="--by",
                    got=name,
                    fix=did_you_mean(name, known),
                )
        sizes = np.diff(layout.base)
        self.sums = {
            number: SliceSums(int(sizes[number]))
            for number, field in enumerate(fields)
            if not field.has_inputs and (field.name in by or sizes[number] <= _FEW)
        }

    def update(self, batch: Batch, predicted: Floats, labels: Ids, weights: Floats | None) -> None:
        """Add B examples: their features, and probabilities, labels and weights, (B,)."""
        layout = self.encoder.layout
        for number, sums in self.sums.items():
            ids, rows = occurrences(batch, layout, number)
            sums.update(ids, predicted[rows], labels[rows], None if weights is None else weights[rows])

    def compute(self) -> list[FieldSlices]:
        """Return the calibration of each field."""
        fields = self.encoder.schema.fields
        found = []
        for number, sums in self.sums.items():
            names = [""] * int(np.diff(self.encoder.layout.base)[number])
            occupied = sums.occupied()
            for slot, text in zip(occupied, value_names(self.encoder, fields[number].name, occupied), strict=True):
                names[slot] = text
            found.append(sums.compute(fields[number].name, names))
        return found
