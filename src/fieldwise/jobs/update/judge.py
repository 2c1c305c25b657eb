"""Versions of a model asked about held-out rows, each through its own encoder, and what the gate says of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.bundle import Bundle, open_bundle
from fieldwise.features.encoder import Encoder
from fieldwise.jobs.update.gate import HeldOutAnswers, SliceColumn, judge
from fieldwise.jobs.update.result import Figures, HeldOutFigures
from fieldwise.kernels.layout import SINGLE, Examples
from fieldwise.metrics import BinaryMetrics
from fieldwise.models.click import ClickModel
from fieldwise.models.load import load_model
from fieldwise.training.score import predict_batches
from fieldwise.training.update_config import GateConfig

__all__ = ["Judged", "Version", "answers_of", "auc_of", "judge_version", "open_version", "slice_names"]

_ROWS = 1 << 14
_FEW = 50
"""Fields with so many features at most are slices, where none are named."""


class Version(NamedTuple):
    """A model that answers raw rows."""

    encoder: Encoder
    model: ClickModel


class Judged(NamedTuple):
    """What the gate says of a version; all that is left out where there is no gate.

    Attributes
    ----------
    publish, reasons, warnings
        See `gate.Decision`.
    too_few
        Whether it is not published for want of examples alone: nothing speaks against going on from it.
    figures
        Of the held-out examples.
    """

    publish: bool
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    too_few: bool = False
    figures: HeldOutFigures | None = None


def open_version(folder: Path) -> Version:
    """Open a saved version."""
    bundle = open_bundle(folder).verify()
    return Version(bundle.encoder, load_model(bundle))


def auc_of(bundle: Bundle, tables: Sequence[pa.Table]) -> float | None:
    """Return the AUC of a model on labelled rows of two classes; None where it is undefined."""
    metrics = BinaryMetrics()
    version = Version(bundle.encoder, load_model(bundle))
    for said, examples in chain.from_iterable(answers_of(version, rows) for rows in tables):
        metrics.update(said, _labels(examples), examples.weights)
    return metrics.compute().auc


def judge_version(
    new: Version, old: Version, week_before: Version | None, days: Sequence[tuple[int, pa.Table]], settings: GateConfig
) -> Judged:
    """Ask versions about the held-out rows of some days, each with its number, and let the gate decide."""
    answers = [
        [(said, examples) for _, rows in days for said, examples in answers_of(version, rows)]
        for version in (new, old, week_before)
        if version is not None
    ]
    if not answers[0]:
        return Judged(publish=False, reasons=("no rows are held out to judge by",), too_few=True)
    probabilities = [np.concatenate([said for said, _ in of_version]) for of_version in answers]
    labels = np.concatenate([_labels(examples) for _, examples in answers[0]])
    weighted = answers[0][0][1].weights is not None
    weights = np.concatenate([examples.weights for _, examples in answers[0]]) if weighted else None
    held_out = HeldOutAnswers(
        labels=labels,
        days=np.repeat([day for day, _ in days], [rows.num_rows for _, rows in days]),
        new=probabilities[0],
        old=probabilities[1],
        week_before=probabilities[2] if week_before is not None else None,
        weights=weights,
        slices=_slices(new.encoder, [examples for _, examples in answers[0]], settings),
    )
    decision = judge(held_out, settings)
    others = decision.examples - decision.clicks
    figures = []
    for said in probabilities[:2]:
        metrics = BinaryMetrics()
        metrics.update(said, labels, weights)
        figures.append(Figures.of(metrics.compute()))
    return Judged(
        publish=decision.publish,
        reasons=tuple(decision.reasons),
        warnings=tuple(decision.warnings),
        too_few=not decision.publish and min(decision.clicks, others) < settings.min_clicks,
        figures=HeldOutFigures(new=figures[0], old=figures[1]),
    )


def answers_of(
    version: Version, rows: pa.Table, *, labelled: bool = True
) -> Iterator[tuple[npt.NDArray[np.floating], Examples]]:
    """Yield the probabilities of raw rows, in order, and the examples that they are."""
    for first in range(0, rows.num_rows, _ROWS):
        encoded = version.encoder.transform(rows.slice(first, _ROWS), labelled=labelled)
        [said] = predict_batches(version.model, [encoded.batch])
        yield said, encoded.examples


def _labels(examples: Examples) -> npt.NDArray[np.int32]:
    assert examples.labels is not None, "held-out rows have labels"
    return examples.labels


def _slices(encoder: Encoder, examples: Sequence[Examples], settings: GateConfig) -> dict[str, SliceColumn]:
    """Return the fields whose values are slices."""
    found = {}
    for name, (place, names) in slice_names(encoder, settings.slices).items():
        ids = np.concatenate([each.batch.ids[place] for each in examples])
        found[name] = SliceColumn(ids.astype(np.int64), names)
    return found


def slice_names(encoder: Encoder, wanted_fields: Sequence[str] | None) -> dict[str, tuple[int, list[str]]]:
    """Return the fields whose values are slices, those named or all with few: the place of the ids, and the names."""
    layout, sizes = encoder.layout, np.diff(encoder.layout.base).tolist()
    found = {}
    for number, (name, field) in enumerate(encoder.fields.items()):
        wanted = sizes[number] <= _FEW if wanted_fields is None else name in wanted_fields
        if wanted and field.form == SINGLE:
            texts = encoder.feature_texts(name, range(sizes[number]))
            names = [text if text is not None else f"({place})" for place, text in enumerate(texts)]
            names[:2] = ["(missing)", "(unseen)"]
            found[name] = int(layout.single[number]), names
    return found
