"""How well new rows match the training data: the missing and unseen rates of every field."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

import msgspec
import numpy as np

from fieldwise.features.encoder import Encoder
from fieldwise.kernels.layout import BAG, MISSING, UNSEEN, VALUE, Batch
from fieldwise.schema import Field

__all__ = ["Coverage", "FieldCoverage"]

_NOTHING: Mapping[str, int] = MappingProxyType({})
_NOTICED, _TIMES, _DEVIATIONS = 0.1, 2.0, 3.0
"""A share is far from training's where it is larger by more than this, and so many times as large, and by more than so
many standard errors: two rows of an unknown user are no news."""


class FieldCoverage(msgspec.Struct, frozen=True, kw_only=True):
    """The missing and unseen rates of a field, in the given rows and in training.

    Attributes
    ----------
    name
        The field.
    missing, unseen
        Fractions of its values in the rows, in [0, 1]. For a bag, of the values of all cells, where an empty cell
        counts as one missing value. Invalid times are unseen; numbers and hashed values are never unseen.
    training_missing
        The fraction that was missing in the training rows.
    training_unseen
        The fraction expected to be unseen in further rows like those of training: rare values, and values that did not
        occur (`features.indexed.IndexedEncoder.training_shares`).
    cut
        Number of cells of a bag with more than `max_length` values, which were truncated.
    """

    name: str
    missing: float
    unseen: float
    training_missing: float
    training_unseen: float
    cut: int = 0


class Coverage:
    """Counts missing and unseen values over the batches of a log.

    Parameters
    ----------
    encoder
        The encoder of the model.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder, self._layout = encoder, encoder.layout
        num_fields = self._layout.num_fields
        self._values, self._missing, self._unseen = np.zeros((3, num_fields), dtype=np.int64)
        self._cut: Counter[str] = Counter()
        self._num_rows = 0

    def add(self, batch: Batch, cut: Mapping[str, int] = _NOTHING) -> None:
        """Count the values of a batch; `cut` are cells of bags, as `features.encoder.Encoded` has them."""
        layout = self._layout
        self._cut.update(cut)
        self._num_rows += batch.num_examples
        for number, field in enumerate(self._encoder.schema.fields):
            if field.type == "vector":
                firsts = batch.offsets[layout.bag[number], :-1]
                ids = batch.bag_ids[firsts]  # of a vector the first number stands for all
            elif layout.form[number] == BAG:
                offsets = batch.offsets[layout.bag[number]]
                ids = batch.bag_ids[offsets[0] : offsets[-1]]
            else:
                ids = batch.ids[layout.single[number]]
            self._values[number] += len(ids)
            self._missing[number] += np.count_nonzero(ids == MISSING)
            if layout.form[number] != VALUE:
                self._unseen[number] += np.count_nonzero(ids == UNSEEN)

    def shares(self) -> list[FieldCoverage]:
        """Return the rates of every field; empty if no row was usable."""
        if not self._num_rows:
            return []
        values = np.maximum(self._values, 1)
        missing, unseen = self._missing / values, self._unseen / values
        return [
            FieldCoverage(
                name=field.name,
                missing=float(missing[number]),
                unseen=float(unseen[number]),
                training_missing=usual[0],
                training_unseen=usual[1],
                cut=self._cut[field.name],
            )
            for number, (field, usual) in enumerate(
                zip(self._encoder.schema.fields, self._encoder.training_shares().values(), strict=True)
            )
        ]

    def remarks(self) -> list[str]:
        """Return a remark for every bag with truncated cells."""
        return [
            f"column {field.column}: {self._cut[field.name]:,} of {self._num_rows:,} cells have more than "
            f"{field.max_length:,} values and were cut to the first {field.max_length:,} (max_length), as in training"
            for field in self._encoder.schema.fields
            if self._cut[field.name]
        ]

    def warnings(self) -> list[str]:
        """Return a warning for every column whose rates differ strongly from those in training."""
        found: dict[str, None] = {}
        noted: set[str] = set()
        for number, shares in enumerate(self.shares()):
            field = self._encoder.schema.fields[number]
            count = int(self._values[number])
            if noted.intersection(field.parts):  # what is wrong with a part of a cross is said once
                continue
            for what, share, usual in (
                ("missing", shares.missing, shares.training_missing),
                ("unseen", shares.unseen, shares.training_unseen),
            ):
                if _far(share, usual, count):
                    found[_sentence(field, what, share, usual)] = None
                    noted.add(field.name)
        return list(found)


def _far(share: float, usual: float, count: int) -> bool:
    error = math.sqrt(count * usual * (1 - usual)) + 1
    return share - usual > _NOTICED and share > _TIMES * usual and count * (share - usual) > _DEVIATIONS * error


def _sentence(field: Field, what: str, share: float, usual: float) -> str:
    place = f"column {field.column}" if field.column else f"field {field.name}"
    if what == "unseen" and field.type == "time":
        spelling = f"; expected: {field.format}" if field.format else ""
        amount = "no value is a point" if share >= 1 else f"{_share(share)} of the values are not points"
        return f"{place}: {amount} in time (training: {_share(usual)}{spelling})"
    return f"{place}: {_share(share)} of the values are {what} (training: {_share(usual)})"


def _share(share: float) -> str:
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 10 or percent == 0 else f"{percent:.1f} %" if percent >= 0.1 else "< 0.1 %"
