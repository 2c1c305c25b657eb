"""A model's probabilities and metrics over examples that it does not learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fieldwise.calibration import Calibration, Method
from fieldwise.data.cache import Examples
from fieldwise.kernels.layout import Batch
from fieldwise.metrics import BinaryMetrics, Metrics, MulticlassMetrics
from fieldwise.models.click import ClickModel
from fieldwise.training.loss import probabilities

__all__ = [
    "Accumulator",
    "accumulate",
    "evaluate_model",
    "fit_calibration",
    "heads_and_labels",
    "logits_and_labels",
    "predict_batches",
    "predict_logits",
]

Accumulator = BinaryMetrics | MulticlassMetrics


def predict_batches(model: ClickModel, batches: Iterable[Batch]) -> Iterator[npt.NDArray[np.floating]]:
    """Yield the probabilities of each batch, calibrated: (B,) of class 1, or (B, O) for more than two classes."""
    model.eval()
    with torch.inference_mode():
        for batch in batches:
            yield _probabilities(model, model(batch))


def _probabilities(model: ClickModel, logits: torch.Tensor) -> npt.NDArray[np.floating]:
    if model.calibration.is_none:
        plain: npt.NDArray[np.floating] = probabilities(logits).cpu().numpy()
        return plain
    array = logits.cpu().numpy()
    calibrated = model.calibration.probabilities(array[:, 0] if array.shape[1] == 1 else array)
    return calibrated.astype(array.dtype)


def predict_logits(model: ClickModel, batches: Iterable[Batch]) -> Iterator[npt.NDArray[np.floating]]:
    """Yield the logits of each batch, uncalibrated: (B,) of class 1, or (B, O)."""
    model.eval()
    with torch.inference_mode():
        for batch in batches:
            array = model(batch).cpu().numpy()
            yield array[:, 0] if array.shape[1] == 1 else array


def evaluate_model(model: ClickModel, examples: Iterable[Examples]) -> Metrics:
    """Return the metrics of all examples together, which must be labelled."""
    model.eval()
    return accumulate(model, model, examples).compute()


def accumulate(model: ClickModel, logits: Callable[[Batch], torch.Tensor], examples: Iterable[Examples]) -> Accumulator:
    """Return all examples, which must be labelled, with the model's probabilities; `logits` takes the place of it."""
    metrics = BinaryMetrics() if model.num_outputs == 1 else MulticlassMetrics(model.num_outputs)
    with torch.inference_mode():
        for part in examples:
            assert part.labels is not None, "only labelled examples can be evaluated"
            metrics.update(_probabilities(model, logits(part.batch)), part.labels, part.weights, part.groups)
    return metrics


def logits_and_labels(
    logits: Callable[[Batch], torch.Tensor], examples: Iterable[Examples], name: str = "logits"
) -> dict[str, npt.NDArray[Any]]:
    """Return what a calibration is learned from, one array each: logits, labels and, where there are some, weights."""
    found: dict[str, list[npt.NDArray[Any]]] = {name: [], "labels": [], "weights": []}
    for each in examples:
        array = logits(each.batch).cpu().numpy()
        found[name].append(array[:, 0] if array.shape[1] == 1 else array)
        for column, values in (("labels", each.labels), ("weights", each.weights)):
            if values is not None:
                found[column].append(values)
    return {column: np.concatenate(arrays) for column, arrays in found.items() if arrays}


def heads_and_labels(
    all_logits: Callable[[Batch], torch.Tensor], examples: Iterable[Examples]
) -> dict[str, npt.NDArray[Any]]:
    """Return what a stacker is fitted to, one array each: the logits of each head (N, H), labels and, where there are
    some, weights.
    """
    return logits_and_labels(lambda batch: all_logits(batch)[:, :, 0], examples, "heads")


def fit_calibration(model: ClickModel, method: Method, columns: Mapping[str, npt.NDArray[Any]]) -> Calibration:
    """Return the model's calibration after it has learned from what `logits_and_labels` returned."""
    return model.calibration.fitted(method, columns["logits"], columns["labels"], columns.get("weights"))
