"""Drift of what an update keeps: the bins and the scales of numbers.

A day is compared with all rows that the encoder has learned from before: by the population stability index over the
bins (`profile.survey.drift`); by mean and standard deviation of the scaled numbers, which were 0 and 1 in training.
"""

from __future__ import annotations

import msgspec
import numpy as np

from fieldwise.data.batches import Batches
from fieldwise.data.cache import Cache
from fieldwise.features.encoder import Encoder
from fieldwise.kernels.layout import VALUE
from fieldwise.profile.survey.cells import NUM_SETS, TEST, TRAIN
from fieldwise.profile.survey.drift import drift_of_bins

__all__ = ["FieldDrift", "drift_of"]

_MATTERS, _TIMES_CHANCE = 0.25, 3.0
_AWAY, _WIDER = 0.5, 2.0
_AT_ONCE = 1 << 14


class FieldDrift(msgspec.Struct, frozen=True, kw_only=True):
    """How far a day is from the days before: of bins the index, of scaled numbers mean and standard deviation.

    Attributes
    ----------
    psi, psi_by_chance
        See `profile.survey.drift.Drift`.
    mean, std
        Of the scaled numbers of the day, missing ones left out.
    """

    psi: float | None = None
    psi_by_chance: float | None = None
    mean: float | None = None
    std: float | None = None

    def warning(self, field: str) -> str | None:
        """Say what has changed so far that edges or scales should be made anew; None where they will do."""
        if self.psi is not None and self.psi_by_chance is not None:
            if self.psi > max(_MATTERS, _TIMES_CHANCE * self.psi_by_chance):
                return f"field {field}: its bins have drifted (index {self.psi:.2f}); edges are kept, train again"
            return None
        mean, std = self.mean or 0.0, 1.0 if self.std is None else self.std
        if abs(mean) > _AWAY or not 1 / _WIDER < std < _WIDER:
            now = f"mean {mean:.2f}, standard deviation {std:.2f}; 0 and 1 in training"
            return f"field {field}: its numbers have drifted ({now}); the scale is kept, train again"
        return None


def drift_of(before: Encoder, after: Encoder, cache: Cache) -> dict[str, FieldDrift]:
    """Return the drift of every number, by the name of its field.

    Parameters
    ----------
    before, after
        The encoder before and after it has learned from the day.
    cache
        The day's examples.
    """
    found = {}
    scaled = {}
    for number, (name, field) in enumerate(after.fields.items()):
        if field.form == VALUE:
            if field.field.scale != "none":
                scaled[name] = number
        elif field.field.discretised:  # that a day has one weekday is no drift
            known = before.fields[name].counts
            counts = np.zeros((len(known), 1, NUM_SETS), dtype=np.int64)
            counts[:, 0, TRAIN], counts[:, 0, TEST] = known, field.counts - known
            drift = drift_of_bins(counts)
            if drift is not None:
                found[name] = FieldDrift(psi=drift.psi, psi_by_chance=drift.psi_by_chance)
    if scaled:
        found |= _of_scales(after, scaled, cache)
    return found


def _of_scales(encoder: Encoder, scaled: dict[str, int], cache: Cache) -> dict[str, FieldDrift]:
    layout, sums = encoder.layout, np.zeros((len(scaled), 3))
    for examples in Batches(cache, _AT_ONCE, shuffle=False).epoch(0, keep=0):
        for place, number in enumerate(scaled.values()):
            present = examples.batch.ids[layout.single[number]] == 1
            values = examples.batch.values[layout.value[number]][present].astype(np.float64)
            sums[place] += len(values), values.sum(), (values * values).sum()
    found = {}
    for name, (count, total, squares) in zip(scaled, sums.tolist(), strict=True):
        if count:
            mean = total / count
            found[name] = FieldDrift(mean=mean, std=max(squares / count - mean * mean, 0.0) ** 0.5)
    return found
