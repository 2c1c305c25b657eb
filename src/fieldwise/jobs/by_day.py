"""The metrics of a model day by day: whether it keeps up with a world that changes."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.data.cache import Examples
from fieldwise.errors import ConfigError
from fieldwise.features.columns import Columns
from fieldwise.features.missing import IN_NUMBERS
from fieldwise.features.moments import read_moments
from fieldwise.metrics import Accumulator, Metrics, accumulator
from fieldwise.schema import Field, Schema

__all__ = ["DayMetrics", "MetricsByDay"]

_DAY = 86_400
_NO_DAY = np.iinfo(np.int64).max


class DayMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """The metrics of the examples of a day, in UTC, as ``2026-11-08``; of those without a time the day is None."""

    day: str | None
    metrics: Metrics


class MetricsByDay:
    """Accumulates examples by the day of their time.

    Parameters
    ----------
    schema
        Of the model: how the times of the column are written, where a field is made of it.
    time
        The column; that of ``data.time`` unless given.
    cutoff
        See `metrics.BinaryMetrics`.

    Raises
    ------
    ConfigError
        Neither is given.
    """

    def __init__(self, schema: Schema, time: str | None = None, cutoff: int = 10) -> None:
        own = schema.time
        column = time or (own.column if own is not None else None)
        if column is None:
            raise ConfigError(
                "there is no column of times to take days from",
                where="--by-day",
                fix="name one with --time COLUMN; models trained with data.time know theirs",
            )
        # How its times are written is known of the column that the parts were cut by, or that a field is made of.
        known = (field for field in (own, *schema.fields) if field and field.type == "time" and field.column == column)
        self.column: str = column
        usual = Field(name=column, type="time", column=column, part="hour", missing=IN_NUMBERS)
        self._field = next(known, usual)
        self._schema, self._cutoff = schema, cutoff
        self._days: dict[int, Accumulator] = {}

    def update(
        self,
        table: pa.Table,
        accepted: npt.NDArray[np.int64],
        predicted: npt.NDArray[np.floating],
        examples: Examples,
    ) -> None:
        """Add examples: the rows `accepted` of a table, with the probabilities (B,) or (B, O) that a model gives."""
        seconds = read_moments(Columns(table.select([self.column])), self.column, self._field)[0][accepted]
        days = np.floor(np.nan_to_num(seconds) / _DAY).astype(np.int64)
        days[np.isnan(seconds)] = _NO_DAY
        assert examples.labels is not None, "evaluated examples have labels"
        for day in np.unique(days).tolist():
            own = days == day
            self._metrics_of(day).update(
                predicted[own],
                examples.labels[own],
                None if examples.weights is None else examples.weights[own],
                None if examples.groups is None else examples.groups[own],
            )

    def compute(self) -> list[DayMetrics]:
        """Return the metrics of each day, in order; those of examples without a time come last."""
        return [
            DayMetrics(day=None if day == _NO_DAY else str(np.datetime64(day, "D")), metrics=self._days[day].compute())
            for day in sorted(self._days)
        ]

    def _metrics_of(self, day: int) -> Accumulator:
        if day not in self._days:
            labels = [label.label for label in self._schema.labels]
            self._days[day] = accumulator(len(self._schema.classes), labels, self._cutoff)
        return self._days[day]
