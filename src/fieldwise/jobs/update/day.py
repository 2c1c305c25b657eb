"""What a day's log looks like, in figures that are kept for each day: what the guards compare days by."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.data.chunk import Chunk
from fieldwise.features.cells import Encoded
from fieldwise.features.columns import Columns
from fieldwise.features.encoder import Encoder
from fieldwise.features.forgetting import fingerprints_of
from fieldwise.features.moments import read_moments
from fieldwise.features.row_digests import row_digests
from fieldwise.jobs.predict.coverage import Coverage
from fieldwise.jobs.update.holdout import content_columns, held_out
from fieldwise.kernels.layout import BAG, SINGLE, UNSEEN, VALUE, Batch

__all__ = ["MOST_DIGESTS", "DaySummarizer", "DaySummary", "FieldSummary", "summary_of_training"]

_DAY = 86_400
_MOST_FREQUENT = 256
MOST_DIGESTS = 1 << 20
"""Rows that are looked at for repetition: of a longer day a half, a quarter ... of all, chosen by their content."""


class FieldSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A field on one day.

    Attributes
    ----------
    missing, unseen
        As in `jobs.predict.coverage.FieldCoverage`.
    top
        Share of its most frequent value; None where it is not known.
    """

    missing: float
    unseen: float
    top: float | None = None


class DaySummary(msgspec.Struct, frozen=True, kw_only=True):
    """A day's log in figures.

    Attributes
    ----------
    rows, used
        Rows read, and those of them that could be used; None for the training log where it is not known.
    classes
        Examples of each class; empty where it is not known.
    digest
        Of the rows' content, labels apart (`features.row_digests`): a day is known by it, whatever its file's name.
    labels
        Of content and labels.
    repeated
        Share of the rows that repeat an earlier row of the same day.
    known
        Share of the held-out rows that are among those of earlier days.
    days
        Rows by the day of their time, in UTC; empty where the model knows of no time.
    columns
        Of the log.
    fields
        By name.
    auc
        Of the version in use, on the held-out rows; None where it is undefined or was not asked for.
    """

    rows: int | None
    used: int | None
    classes: list[int]
    digest: str = ""
    labels: str = ""
    repeated: float | None = None
    known: float = 0.0
    days: dict[str, int] = {}
    columns: list[str] = []
    fields: dict[str, FieldSummary] = {}
    auc: float | None = None

    @property
    def day(self) -> str | None:
        """The day that most of its rows are of."""
        return max(self.days, key=lambda day: (self.days[day], day)) if self.days else None


def summary_of_training(encoder: Encoder, classes: list[int] | None = None) -> DaySummary:
    """Return what an encoder knows of the log that it learned from, and its examples of each class where known."""
    layout, counts, shares = encoder.layout, encoder.counts, encoder.training_shares()
    fields = {}
    for number, (name, (missing, unseen)) in enumerate(shares.items()):
        own = counts[layout.base[number] : layout.base[number + 1]]
        # A day has one weekday, and need not have all hours: of these the days before tell what is usual.
        is_time = encoder.schema.fields[number].type == "time"
        is_known = not encoder.schema.fields[number].has_inputs and own.any() and not is_time
        top = float(own.max() / own.sum()) if is_known else None
        fields[name] = FieldSummary(missing=missing, unseen=unseen, top=top)
    return DaySummary(rows=None, used=None, classes=classes or [], fields=fields)


class DaySummarizer:
    """Sums up a day's log, chunk by chunk, in any order.

    Parameters
    ----------
    encoder
        Of the version in use.
    earlier
        (N,) digests of the rows held out on earlier days.
    share
        Of the rows that are held out.
    """

    def __init__(self, encoder: Encoder, earlier: npt.NDArray[np.uint64] | None = None, share: float = 0.1) -> None:
        self._encoder, self._share = encoder, share
        self._earlier = np.zeros(0, dtype=np.uint64) if earlier is None else earlier
        self._coverage = Coverage(encoder)
        self._rows = self._used = 0
        self._classes = np.zeros(max(len(encoder.schema.classes), 2), dtype=np.int64)
        self._sums, self._xors = np.zeros(2, dtype=np.uint64), np.zeros(2, dtype=np.uint64)
        self._num_held = self._num_known = 0
        self._digests: list[npt.NDArray[np.uint64]] = []
        self._largest_digest = np.uint64(2**64 - 1)
        self._days: Counter[str] = Counter()
        self._columns: dict[str, None] = {}
        fields = encoder.schema.fields
        self._counts: list[Counter[float]] = [Counter() for _ in fields]
        self._totals = np.zeros(len(fields), dtype=np.int64)

    def add(self, chunk: Chunk, encoded: Encoded) -> npt.NDArray[np.bool_]:
        """Add a chunk, and return which of its accepted rows are held out, (B,).

        The chunk carries the columns of `holdout.content_columns` beside those of the encoder.
        """
        schema = self._encoder.schema
        self._rows += chunk.num_rows
        self._used += len(encoded.accepted)
        self._columns.update(dict.fromkeys(chunk.table.column_names))
        assert encoded.labels is not None, "a day is read with its labels"
        self._classes += np.bincount(encoded.labels, minlength=len(self._classes))
        digests = row_digests(chunk.table, content_columns(schema, chunk.table.column_names))[encoded.accepted]
        labelled = digests * (2 * encoded.labels.astype(np.uint64) + np.uint64(1))
        self._sums += np.array([digests.sum(dtype=np.uint64), labelled.sum(dtype=np.uint64)])
        self._xors ^= np.array([np.bitwise_xor.reduce(digests), np.bitwise_xor.reduce(labelled)])
        held = held_out(digests, self._share)
        self._num_held += int(np.count_nonzero(held))
        self._num_known += int(np.count_nonzero(np.isin(digests[held], self._earlier)))
        self._digests.append(digests[digests <= self._largest_digest])
        while sum(map(len, self._digests)) > MOST_DIGESTS:
            self._largest_digest //= np.uint64(2)
            self._digests = [each[each <= self._largest_digest] for each in self._digests]
        self._coverage.add(encoded.batch, encoded.cut)
        self._count_values(encoded.batch, chunk.table)
        self._count_days(chunk.table, encoded.accepted)
        return held

    def compute(self) -> DaySummary:
        """Return the figures of all chunks."""
        seen = np.concatenate(self._digests) if self._digests else self._earlier[:0]
        digest, labels = (
            f"{self._used:x}{int(sum_):016x}{int(xor):016x}" for sum_, xor in zip(self._sums, self._xors, strict=True)
        )
        fields = {
            shares.name: FieldSummary(
                missing=shares.missing,
                unseen=shares.unseen,
                top=_top(counts, int(total), field.serve_as is not None),
            )
            for shares, counts, total, field in zip(
                self._coverage.shares(), self._counts, self._totals, self._encoder.schema.fields, strict=False
            )
        }
        return DaySummary(
            rows=self._rows,
            used=self._used,
            classes=self._classes.tolist(),
            digest=digest,
            labels=labels,
            repeated=1 - len(np.unique(seen)) / max(len(seen), 1),
            known=self._num_known / max(self._num_held, 1),
            days=dict(self._days),
            columns=list(self._columns),
            fields=fields,
        )

    def _count_values(self, batch: Batch, table: pa.Table) -> None:
        layout = self._encoder.layout
        for number, counts in enumerate(self._counts):
            form = layout.form[number]
            values: npt.NDArray[Any]
            if self._encoder.schema.fields[number].type == "vector":  # a stuck one repeats its first number
                values, form = batch.bag_weights[batch.offsets[layout.bag[number], :-1]], VALUE
            elif form == BAG:
                offsets = batch.offsets[layout.bag[number]]
                values = batch.bag_ids[offsets[0] : offsets[-1]]
            else:
                values = batch.values[layout.value[number]] if form == VALUE else batch.ids[layout.single[number]]
            told = values if form == VALUE else values[values != UNSEEN]
            column = self._encoder.schema.fields[number].column
            if form == SINGLE and column is not None and 2 * len(told) < len(values):
                # Values that are not known may be many, or one: that of a stuck column.
                name = self._encoder.schema.fields[number].name
                unknown, times = np.unique(fingerprints_of(self._encoder, name, table)[0], return_counts=True)
                largest = int(np.argmax(times))
                counts[int(unknown[largest])] += int(times[largest])
            found, times = np.unique(told, return_counts=True)
            # A value that is most of a day's is among the most frequent of most chunks.
            for place in np.argsort(-times, kind="stable")[:_MOST_FREQUENT].tolist():
                counts[found[place].item()] += int(times[place])
            self._totals[number] += len(values)

    def _count_days(self, table: pa.Table, accepted: npt.NDArray[np.int64]) -> None:
        time = self._encoder.schema.time
        if time is None or time.column is None or time.column not in table.column_names:
            return
        seconds = read_moments(Columns(table.select([time.column])), time.column, time)[0][accepted]
        days, times = np.unique(seconds[~np.isnan(seconds)] // _DAY, return_counts=True)
        self._days.update(
            {str(np.datetime64(int(day), "D")): int(count) for day, count in zip(days, times, strict=True)}
        )


def _top(counts: Counter[float], total: int, is_fixed: bool) -> float | None:
    """Return the share of the most frequent value; None where all rows have the one with which a model answers."""
    share = max(counts.values(), default=0) / max(total, 1)
    return None if is_fixed and share == 1 else share
