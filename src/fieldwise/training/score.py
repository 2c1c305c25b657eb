"""A model's probabilities and metrics over examples that it does not learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt
import torch

from fieldwise.data.cache import Examples
from fieldwise.kernels.layout import Batch
from fieldwise.metrics import BinaryMetrics, Metrics, MulticlassMetrics
from fieldwise.models.click import ClickModel
from fieldwise.training.loss import probabilities

__all__ = ["Accumulator", "accumulate", "evaluate_model", "predict_batches"]

Accumulator = BinaryMetrics | MulticlassMetrics


def predict_batches(model: ClickModel, batches: Iterable[Batch]) -> Iterator[npt.NDArray[np.floating]]:
    """Yield the probabilities of each batch: (B,) of class 1, or (B, O) where there are more than two classes."""
    model.eval()
    with torch.inference_mode():
        for batch in batches:
            yield probabilities(model(batch)).numpy()


def evaluate_model(model: ClickModel, examples: Iterable[Examples]) -> Metrics:
    """Return the metrics of all examples together, which must be labelled."""
    model.eval()
    return accumulate(model, model.num_outputs, examples).compute()


def accumulate(logits: Callable[[Batch], torch.Tensor], num_outputs: int, examples: Iterable[Examples]) -> Accumulator:
    """Return all examples, which must be labelled, with the probabilities that follow from their logits."""
    metrics = BinaryMetrics() if num_outputs == 1 else MulticlassMetrics(num_outputs)
    with torch.inference_mode():
        for part in examples:
            assert part.labels is not None, "only labelled examples can be evaluated"
            metrics.update(probabilities(logits(part.batch)).numpy(), part.labels, part.weights, part.groups)
    return metrics
