"""What a report says of a model on a part of its log: curves, calibration, importance, values and days.

The part is answered anew by the saved model, so that a report can be drawn at any time; that takes about a third of an
epoch of as many rows. The metrics are those of `jobs.evaluate.evaluate` on the same rows. Two things are bounded:
importance looks at some thousand rows for half a minute at most, and values of fields at a million rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.bundle import Bundle
from fieldwise.config import Config
from fieldwise.counted import counted
from fieldwise.data.batches import Batches
from fieldwise.data.cache import Cache, Examples
from fieldwise.errors import UserError
from fieldwise.features.encoder import Encoder
from fieldwise.features.numbers import ScaleEncoder, range_text
from fieldwise.jobs.by_field import occurrences, value_names
from fieldwise.jobs.explain import importance_on
from fieldwise.jobs.predict.answers import probabilities_of
from fieldwise.jobs.predict.coverage import Coverage
from fieldwise.jobs.report.days import days_of_rows
from fieldwise.kernels.layout import MISSING
from fieldwise.metrics import BinaryMetrics, accumulator
from fieldwise.metrics.curves import curves
from fieldwise.metrics.intervals import Estimate, auc_estimate, logloss_estimate, wilson
from fieldwise.report.content import FieldValues, Named, PartFigures, ValueRates

__all__ = ["measure"]

_BATCH = 8192
_NUMBERS = 8_000_000
"""Of the rows that importance looks at: their fields' numbers are in memory three times."""
_FEWEST_ROWS, _MOST_ROWS, _SECONDS = 500, 20_000, 30.0
_NUM_FIELDS, _NUM_VALUES, _NUM_RANGES = 6, 12, 10
_MOST_BATCHES = 128
"""Whose values are looked at."""

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]


class _Answered(NamedTuple):
    """Labels, probabilities and weights of examples."""

    labels: Ints
    probabilities: Floats
    weights: Floats | None

    def some(self, rows: npt.NDArray[Any]) -> _Answered:
        return _Answered(
            self.labels[rows], self.probabilities[rows], None if self.weights is None else self.weights[rows]
        )


def measure(bundle: Bundle, cache: Cache, part: str, config: Config) -> tuple[PartFigures, Coverage]:
    """Return what a model reaches on a part of its log, and how the part's fields differ from training.

    Parameters
    ----------
    bundle
        The model.
    cache, part
        The examples of the part, and its name.
    config
        Of the run: where the raw log is, for the days.
    """
    answer, encoder = probabilities_of(bundle), bundle.encoder
    metrics = accumulator(len(encoder.schema.classes), [label.label for label in encoder.schema.labels])
    coverage, answered = Coverage(encoder), list[_Answered]()
    for examples in Batches(cache, _BATCH, shuffle=False).epoch(0, keep=0):
        predicted = answer(examples.batch)
        assert examples.labels is not None, "the log has a label"
        metrics.update(predicted, examples.labels, examples.weights, examples.groups)
        coverage.add(examples.batch)
        if isinstance(metrics, BinaryMetrics):
            answered.append(_Answered(examples.labels, predicted, examples.weights))
    if not isinstance(metrics, BinaryMetrics):
        notes = ["Curves, importance and calibration are measured only for models of one label with two classes."]
        return PartFigures(
            part=part,
            metrics=metrics.compute(),
            by_probability=[],
            auc=None,
            logloss=None,
            curves=None,
            notes=notes,
        ), coverage
    whole = _joined(answered)
    importance, notes = _importance(bundle, cache)
    of_values = [field.name for field in encoder.schema.fields if field.type != "vector"]
    chosen = [each.name for each in importance if each.estimate.low > 0 and each.name in of_values][:_NUM_FIELDS]
    chosen = chosen or of_values[:_NUM_FIELDS]
    days: list[ValueRates] = []
    if encoder.schema.time is not None:
        found = days_of_rows(config, encoder, part, cache.num_examples)
        if isinstance(found, str):
            notes.append(f"There are no metrics by day: {found}.")
        else:
            days = [_rates(name, whole.some(found.days == day)) for day, name in enumerate(found.names)]
    return PartFigures(
        part=part,
        metrics=metrics.compute(),
        by_probability=metrics.by_probability(),
        auc=auc_estimate(*whole),
        logloss=logloss_estimate(*whole),
        curves=curves(*whole),
        importance=importance,
        values=[_values(encoder, name, cache, whole) for name in chosen],
        days=days,
        notes=notes,
    ), coverage


def _joined(answered: Sequence[_Answered]) -> _Answered:
    weights = [each.weights for each in answered if each.weights is not None]
    return _Answered(
        np.concatenate([each.labels for each in answered]),
        np.concatenate([each.probabilities for each in answered]),
        np.concatenate(weights) if weights else None,
    )


def _importance(bundle: Bundle, cache: Cache) -> tuple[list[Named], list[str]]:
    """Return the importance of each field, on rows spread evenly over a part, and what is to be said of it."""
    width = bundle.encoder.layout.num_fields * max(bundle.table.shape[1], 1)
    num_rows = min(max(_NUMBERS // width, _FEWEST_ROWS), _MOST_ROWS, cache.num_examples)

    def some() -> Examples:
        return cache.gather(np.linspace(0, cache.num_examples - 1, num_rows).astype(np.int64))

    try:
        found = importance_on(bundle, some, _SECONDS)
    except UserError as error:  # no network to ask, or rows of one class
        return [], [f"The importance of fields is not measured: {error.what}."]
    left_out = bundle.encoder.layout.num_fields - len(found)
    notes = (
        [f"Importance was measured for {_SECONDS:.0f} s: {counted(left_out, 'field is', 'fields are')} left out."]
        if left_out
        else []
    )
    return [Named(each.field, Estimate(each.loss, each.low, each.high)) for each in found], notes


def _values(encoder: Encoder, field: str, cache: Cache, answered: _Answered) -> FieldValues:
    """Return what the examples with each of the most frequent values of a field are like."""
    batches = Batches(cache, _BATCH, shuffle=False)
    step = -(-batches.num_batches // _MOST_BATCHES)
    number = next(place for place, each in enumerate(encoder.schema.fields) if each.name == field)
    layout, own = encoder.layout, encoder.fields[field]
    of_number = own if isinstance(own, ScaleEncoder) else None
    codes, rows = [], []
    for begin in range(0, cache.num_examples, _BATCH * step):
        here = np.arange(begin, min(begin + _BATCH, cache.num_examples))
        batch = cache.gather(here).batch
        ids, places = occurrences(batch, layout, number)
        inputs = batch.values[layout.value[number]] if of_number is not None else None
        codes.append(ids if inputs is None else np.where(ids == MISSING, np.nan, inputs))
        rows.append(here[places])
    code, row = np.concatenate(codes), np.concatenate(rows)
    groups = _frequent(encoder, field, code, row) if of_number is None else _ranges(of_number.numbers_of(code), row)
    return FieldValues(field, [_rates(name, answered.some(those)) for name, those in groups])


def _frequent(encoder: Encoder, field: str, ids: Ints, rows: Ints) -> Sequence[tuple[str, Ints]]:
    """Return the names of the most frequent values, and the rows that have each."""
    values, counts = np.unique(ids, return_counts=True)
    most = values[np.argsort(-counts, kind="stable")[:_NUM_VALUES]]
    if next(each for each in encoder.schema.fields if each.name == field).type in (
        "number",
        "time",
    ):  # ranges and hours have an order
        most = np.sort(most)
    names = value_names(encoder, field, most.tolist())
    return [(name, np.unique(rows[ids == value])) for name, value in zip(names, most, strict=True)]


def _ranges(values: Floats, rows: Ints) -> Sequence[tuple[str, Ints]]:
    """Return ten ranges of a number with as many rows each, from the least, as far as ties allow, and what is missing.

    Examples
    --------
    >>> found = _ranges(np.array([0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, np.nan]), np.arange(8))
    >>> [(name, len(rows)) for name, rows in found]
    [('[0, 0.6)', 4), ('[0.6, 1.2)', 1), ('[1.8, 2.4)', 1), ('>= 2.4', 1), ('(missing)', 1)]
    """
    known = ~np.isnan(values)
    inner = np.linspace(0, 1, _NUM_RANGES + 1)[1:-1] if known.any() else np.empty(0)
    edges = np.unique([float(f"{edge:.5g}") for edge in np.quantile(values[known], inner)]) if known.any() else inner
    place = np.searchsorted(edges, values[known], side="right")
    ranges = [(range_text(edges, number), rows[known][place == number]) for number in range(len(edges) + 1)]
    return [
        *((name, own) for name, own in ranges if len(own)),
        *([("(missing)", rows[~known])] if not known.all() else []),
    ]


def _rates(name: str, answered: _Answered) -> ValueRates:
    weights = answered.weights
    count = len(answered.labels)
    mean = np.average(answered.labels, weights=weights if weights is not None and weights.any() else None)
    predicted = np.average(answered.probabilities, weights=weights if weights is not None and weights.any() else None)
    return ValueRates(
        name=name,
        examples=count,
        observed=wilson(float(mean), count),
        predicted=float(predicted),
        auc=auc_estimate(*answered),
        logloss=logloss_estimate(*answered),
    )
