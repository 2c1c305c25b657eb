"""``fieldwise evaluate``: a saved model's metrics on a raw log."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from fieldwise.bundle import open_bundle
from fieldwise.data.cache import Examples
from fieldwise.data.csv import CsvOptions
from fieldwise.data.encode import encode_log
from fieldwise.data.log import open_log
from fieldwise.metrics import Metrics
from fieldwise.models.load import load_model
from fieldwise.training.events import Listener, Preparing, ignore
from fieldwise.training.score import evaluate_model

__all__ = ["Evaluation", "evaluate"]


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """The metrics of all rows together, and how many rows could not be used."""

    metrics: Metrics
    rejected_rows: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**self.metrics.as_dict(), "rejected_rows": self.rejected_rows}


def evaluate(
    run: str | Path,
    data: str | Path | Sequence[str | Path],
    *,
    format: str | None = None,
    listen: Listener = ignore,
) -> Evaluation:
    """Evaluate the model of a run folder or bundle on labelled raw logs.

    Parameters
    ----------
    run
        A run folder of ``train``, a model's folder in a comparison, or a bundle.
    data
        Files, globs or folders; they need the columns of the fields and of the label.
    format
        Of the files, where their names do not tell.
    listen
        Called with `Preparing` events.

    Raises
    ------
    ArtefactError, DataError
        The model or the log is not what it must be.
    """
    bundle = open_bundle(run)
    model = load_model(bundle)
    log = open_log(data, format=format, csv=msgspec.convert(bundle.csv, CsvOptions))
    rejected = accepted = 0
    started = time.perf_counter()

    def examples() -> Iterator[Examples]:
        nonlocal rejected, accepted
        for chunk, encoded in encode_log(log, bundle.encoder, labelled=True):
            rejected += len(chunk.rejects) + len(encoded.rejects)
            yield Examples(encoded.batch, encoded.labels, encoded.weights, encoded.groups)
            accepted += len(encoded.accepted)
            listen(Preparing("evaluate", accepted, None, time.perf_counter() - started))

    metrics = evaluate_model(model, examples())
    return Evaluation(metrics=metrics, rejected_rows=rejected)
