"""``fieldwise explain``: what each field adds to the logit of a row, and how much the model relies on each field."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fieldwise.bundle import Bundle, open_bundle
from fieldwise.counted import counted
from fieldwise.data.log import encode_log
from fieldwise.errors import ConfigError, DataError
from fieldwise.features.columns import Columns, shown
from fieldwise.jobs.predict.identifiers import RowCounter
from fieldwise.jobs.predict.rows import open_rows
from fieldwise.kernels.layout import BAG, MISSING, Examples
from fieldwise.kernels.layout import join as join_batches
from fieldwise.metrics.delong import delong
from fieldwise.outcome import Outcome
from fieldwise.serving.explain import Explainer
from fieldwise.serving.network import Network
from fieldwise.serving.predictor import network_of

__all__ = ["ExplainedField", "ExplainedRow", "Importance", "explain_row", "field_importance", "importance_on"]

_INTERVAL = 1.959963984540054
_SEED = 0


class ExplainedField(msgspec.Struct, frozen=True, kw_only=True):
    """One field of a row.

    Attributes
    ----------
    field
        Its name.
    raw
        The cells that it reads, as they came; none for a cross.
    features
        The texts of its features; None for missing, unseen, and where no text is kept.
    ids
        Their local ids: 0 is missing, 1 unseen.
    weight
        What its features add to linear parts that are summed over the fields, such as logistic regression's; None where
        the model has none.
    units
        The sums of its features' rows otherwise.
    contribution
        What it adds to the logit (`serving.explain`).
    """

    field: str
    raw: list[str]
    features: list[str | None]
    ids: list[int]
    weight: float | None
    units: list[float]
    contribution: float


class ExplainedRow(Outcome, msgspec.Struct, frozen=True, kw_only=True):
    """A row, its fields in order; logit = base + contributions + residual, and the probability after calibration."""

    row: int
    probability: float
    logit: float
    base: float
    residual: float
    fields: list[ExplainedField]


class Importance(msgspec.Struct, frozen=True, kw_only=True):
    """How much AUC is lost when a field's values are exchanged between the rows.

    Attributes
    ----------
    field
        Its name; a cross is a field of its own, and keeps its values when those of its parts are exchanged.
    loss
        AUC with the field's own values less AUC with those of other rows.
    low, high
        A 95 % confidence interval of the loss, by DeLong's test.
    """

    field: str
    loss: float
    low: float
    high: float


def explain_row(run: str | Path, data: Any, row: int = 1, format: str | None = None) -> ExplainedRow:
    """Return what each field of one row of a raw log adds to its logit.

    Parameters
    ----------
    run, data, format
        As for `predict`.
    row
        Its number in the log, over all files, from 1.

    Raises
    ------
    ArtefactError, ConfigError
        The model is missing or damaged, or cannot be explained.
    DataError
        There is no such row, or it cannot be used.
    """
    bundle = open_bundle(run)
    network = Network(bundle, network_of(bundle))
    explainer = Explainer(bundle, network)
    counter, num_rows = RowCounter(), 0
    with open_rows(bundle, data, format) as log:
        for chunk, encoded in encode_log(log, bundle.encoder, labelled=False):
            kept = counter.numbers(chunk)[encoded.accepted] == row
            num_rows += chunk.num_rows
            if kept.any():
                cells = Columns(chunk.table.slice(int(encoded.accepted[kept.argmax()]), 1))
                return _explained(row, bundle, network, explainer, encoded.examples.select(kept), cells)
            for line in chunk.reject_lines(encoded.rejects):
                if counter.before + line["row"] == row:
                    where, got = "{file}, row {row}, column {column}", "{reason}: {value!r}"
                    raise DataError("the row cannot be used", where=where.format(**line), got=got.format(**line))
    raise DataError("there is no such row", expected=f"1 to {num_rows}", got=row)


def _explained(
    row: int, bundle: Bundle, network: Network, explainer: Explainer, example: Examples, cells: Columns
) -> ExplainedRow:
    encoder, batch = bundle.encoder, example.batch
    layout, found = encoder.layout, explainer.explain(batch)
    numbers = network.by_field(batch)[0].astype(np.float64)
    fields = []
    for place, field in enumerate(encoder.schema.fields):
        if layout.form[place] == BAG:
            begin, end = batch.offsets[layout.bag[place]]
            ids = batch.bag_ids[begin:end].tolist()
        else:
            ids = batch.ids[layout.single[place]].tolist()
        ids = [id_ for id_ in ids if field.type != "vector" or id_ == MISSING]  # the places of a vector say nothing
        has_sum = numbers.shape[1] > network.num_local
        fields.append(
            ExplainedField(
                field=field.name,
                raw=[shown(cells.array(name)[0]) for name in field.columns],
                features=encoder.feature_texts(field.name, ids),
                ids=ids,
                weight=float(numbers[place, network.num_local]) if has_sum else None,
                units=numbers[place, : network.num_local].tolist(),
                contribution=float(found.contributions[0, place]),
            )
        )
    return ExplainedRow(
        row=row,
        probability=float(network.calibration.probabilities(found.logits)[0]),
        logit=float(found.logits[0]),
        base=float(found.contributions[0, -1]),
        residual=float(found.residuals[0]),
        fields=fields,
    )


def field_importance(run: str | Path, data: Any, *, format: str | None = None, most: int = 50_000) -> list[Importance]:
    """Return how much AUC a model loses on a labelled log when the values of a field are exchanged between its rows.

    Parameters
    ----------
    run, data, format
        As for `evaluate`.
    most
        The first rows that are looked at, so many at most.

    Returns
    -------
    Of each field, the largest loss first. Fields that say the same stand in for each other: neither is then important.

    Raises
    ------
    ArtefactError, ConfigError, DataError
        The model is missing or damaged, or has more than two classes; the log is invalid, or has one class alone.
    """
    bundle = open_bundle(run)
    return importance_on(bundle, lambda: _some(bundle, data, format, most))


def importance_on(bundle: Bundle, examples_of: Callable[[], Examples], seconds: float = math.inf) -> list[Importance]:
    """Return what `field_importance` does, on labelled examples, of as many fields as `seconds` allow."""
    started = time.monotonic()
    if outputs := bundle.encoder.schema.outputs:
        raise ConfigError(
            "only models of one label of two classes are explained", where=bundle.folder, got=", ".join(outputs)
        )
    network = Network(bundle, network_of(bundle))
    examples = examples_of()
    assert examples.labels is not None, "the rows are read with their labels"
    labels = examples.labels
    if not len(labels) or labels.min() == labels.max():
        raise DataError("importance needs rows of both classes", got=counted(len(labels), "row"))
    numbers = network.by_field(examples.batch)
    order = np.random.default_rng(_SEED).permutation(len(labels))
    own = _logits(network, numbers)
    found = []
    owners = [*range(bundle.encoder.layout.num_fields), *(bag.key for bag in network.bags)]
    for place, field in enumerate(bundle.encoder.schema.fields):
        if time.monotonic() - started > seconds:
            break
        mixed = numbers.copy()
        for number, owner in enumerate(owners):
            if owner == place:  # a co-occurrence bag goes with its key
                mixed[:, number] = numbers[order, number]
        told = delong(labels, own, _logits(network, mixed))
        far = _INTERVAL * told.standard_error
        low, high = told.difference - far, told.difference + far
        found.append(Importance(field=field.name, loss=told.difference, low=low, high=high))
    return sorted(found, key=lambda each: -each.loss)


def _some(bundle: Bundle, data: Any, format: str | None, most: int) -> Examples:
    """Return the first labelled examples of a log."""
    batches, labels, left = [], [], most
    with open_rows(bundle, data, format) as log:
        for _, encoded in encode_log(log, bundle.encoder, labelled=True):
            examples = encoded.examples
            assert examples.labels is not None
            num_examples = len(examples.labels)
            some = examples if num_examples <= left else examples.select(np.arange(num_examples) < left)
            assert some.labels is not None
            batches.append(some.batch)
            labels.append(some.labels)
            left -= len(some.labels)
            if left <= 0:
                break
    if not batches:
        raise DataError("there are no rows to explain")
    return Examples(join_batches(batches), np.concatenate(labels), None, None)


def _logits(network: Network, numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the logits (B,) of rows by field (B, F, K + W)."""
    num_log = network.layout.num_fields - len(network.bags)
    units = np.ascontiguousarray(numbers[:, :, : network.num_local])
    full = numbers[:, :num_log, network.num_local :].sum(axis=1)
    return network.logits(units, full)[:, 0]
