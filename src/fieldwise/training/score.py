"""A model's probabilities and metrics over examples that it does not learn from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import torch

from fieldwise.data.cache import Examples
from fieldwise.kernels.layout import Batch
from fieldwise.metrics import BinaryMetrics, Metrics, MulticlassMetrics
from fieldwise.models.click import ClickModel
from fieldwise.training.loss import probabilities

__all__ = ["evaluate_model", "predict_batches", "predict_logits"]


def predict_batches(model: ClickModel, batches: Iterable[Batch]) -> Iterator[npt.NDArray[np.floating]]:
    """Yield the probabilities of each batch, calibrated: (B,) of class 1, or (B, O) for more than two classes."""
    model.eval()
    with torch.inference_mode():
        for batch in batches:
            logits = model(batch)
            if model.calibration.is_none:
                yield probabilities(logits).numpy()
            else:
                array = logits.numpy()
                calibrated = model.calibration.probabilities(array[:, 0] if array.shape[1] == 1 else array)
                yield calibrated.astype(array.dtype)


def predict_logits(model: ClickModel, batches: Iterable[Batch]) -> Iterator[npt.NDArray[np.floating]]:
    """Yield the logits of each batch, uncalibrated: (B,) of class 1, or (B, O)."""
    model.eval()
    with torch.inference_mode():
        for batch in batches:
            array = model(batch).numpy()
            yield array[:, 0] if array.shape[1] == 1 else array


def evaluate_model(model: ClickModel, examples: Iterable[Examples]) -> Metrics:
    """Return the metrics of all examples together, which must be labelled."""
    metrics = BinaryMetrics() if model.num_outputs == 1 else MulticlassMetrics(model.num_outputs)
    for part in examples:
        assert part.labels is not None, "only labelled examples can be evaluated"
        [predicted] = predict_batches(model, [part.batch])
        metrics.update(predicted, part.labels, part.weights, part.groups)
    return metrics.compute()
