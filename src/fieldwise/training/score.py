"""A model's probabilities and metrics over examples that it does not learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fieldwise.calibration import Calibration, Method
from fieldwise.data.cache import Examples
from fieldwise.distributed.world import ALONE, World
from fieldwise.kernels.layout import Batch
from fieldwise.metrics import Accumulator, Metrics, accumulator
from fieldwise.models.click import ClickModel
from fieldwise.models.stack import Stacker
from fieldwise.training.loss import probabilities

__all__ = [
    "Accumulator",
    "all_heads",
    "answer",
    "calibrate",
    "evaluate_model",
    "fit_stacker",
    "labelled_logits",
    "metrics_without",
    "predict_batches",
]

_PIECE = 1 << 16


def predict_batches(model: ClickModel, batches: Iterable[Batch]) -> Iterator[npt.NDArray[np.floating]]:
    """Yield the probabilities of each batch, calibrated.

    (B,) of class 1, or (B, O) for more than two classes or several labels.
    """
    model.eval()
    with torch.inference_mode():
        for batch in batches:
            yield _probabilities(model, model(batch))


def _probabilities(model: ClickModel, logits: torch.Tensor) -> npt.NDArray[np.floating]:
    if model.calibration.is_none:
        plain: npt.NDArray[np.floating] = probabilities(logits, model.labels).cpu().numpy()
        return plain
    array = logits.cpu().numpy()
    calibrated = model.calibration.probabilities(array[:, 0] if array.shape[1] == 1 else array)
    return calibrated.astype(array.dtype)


def evaluate_model(model: ClickModel, examples: Iterable[Examples], world: World = ALONE) -> Metrics:
    """Return the metrics of the labelled examples of all workers together, exactly those of one process."""
    with world.uncounted():
        parts = world.gather_arrays(_accumulate(model, examples).columns())

    def merged() -> Metrics:
        whole = _new_metrics(model)
        for part in parts:
            whole.add_columns(part)
        return whole.compute()

    return world.first(merged, Metrics)


def answer(model: ClickModel, batch: Batch) -> torch.Tensor:
    """Return the logits (B, O) of a batch that is not learnt from, on the host; every worker must call it."""
    model.eval()
    with torch.inference_mode():
        logits: torch.Tensor = model(batch)
    return logits.cpu()


def calibrate(model: ClickModel, method: Method, examples: Iterable[Examples], world: World = ALONE) -> Calibration:
    """Return the model's calibration after it has learned from the labelled examples of all workers."""
    columns = labelled_logits(lambda batch: answer(model, batch).numpy(), examples, world)

    def fitted() -> Calibration:
        logits = columns["logits"]
        plain = logits[:, 0] if logits.shape[1] == 1 else logits
        return model.calibration.fitted(method, plain, columns["labels"], columns.get("weights"))

    return world.first(fitted, Calibration)


def labelled_logits(
    logits: Callable[[Batch], npt.NDArray[np.floating[Any]]], examples: Iterable[Examples], world: World = ALONE
) -> Mapping[str, npt.NDArray[Any]]:
    """Return ``logits`` of all workers' examples, (N, M), their ``labels`` and, where there are some, ``weights`` and
    ``groups``, on the first worker; on the others nothing. Every worker must call it.
    """
    found: dict[str, list[npt.NDArray[Any]]] = {"logits": [], "labels": [], "weights": [], "groups": []}
    with world.uncounted():
        for each in examples:
            found["logits"].append(logits(each.batch))
            for name, column in (("labels", each.labels), ("weights", each.weights), ("groups", each.groups)):
                if column is not None:
                    found[name].append(column)
        return world.join_arrays({name: np.concatenate(arrays) for name, arrays in found.items() if arrays})


def fit_stacker(model: ClickModel, examples: Iterable[Examples], world: World = ALONE) -> Metrics:
    """Let the labelled examples of all workers say how much each of a stack's members counts (`models.stack`), and
    return the metrics of the stack on them. Of more than two classes it is the mean.
    """
    stacker = model.stacker
    assert stacker is not None, "only a stack is weighed"
    if model.num_outputs > 1:
        return evaluate_model(model, examples, world)
    columns = all_heads(model, examples, world)

    def fitted() -> list[float]:
        stacker.fit(columns["logits"], columns["labels"], columns.get("weights"), model.calibration.offset)
        weight: list[float] = stacker.weight.tolist()
        return weight

    stacker.weight.copy_(torch.tensor(world.first(fitted, list[float]), dtype=stacker.weight.dtype))

    return world.first(lambda: _judged(model, stacker, columns), Metrics)


def metrics_without(model: ClickModel, examples: Iterable[Examples], world: World = ALONE) -> dict[str, Metrics]:
    """Return the metrics of a stack on labelled examples without each of its members, the others weighed anew by the
    same examples; of two classes.
    """
    if model.num_outputs > 1:
        return {}
    columns, level = all_heads(model, examples, world), 0.0 if model.stacker is None else model.stacker.level
    head_of = [name for name in model.members for _ in model.stacking_weights(name)]

    def judged() -> dict[str, Metrics]:
        found = {}
        for name in model.members:
            others = columns | {"logits": columns["logits"][:, [head != name for head in head_of]]}
            stacker = Stacker([head_of.count(other) for other in model.members if other != name], level)
            stacker.fit(others["logits"], others["labels"], others.get("weights"), model.calibration.offset)
            found[name] = _judged(model, stacker, others)
        return found

    return world.first(judged, dict[str, Metrics])


def all_heads(model: ClickModel, examples: Iterable[Examples], world: World = ALONE) -> dict[str, npt.NDArray[Any]]:
    """Return `labelled_logits` of all heads of a model of two classes."""
    model.eval()

    def heads(batch: Batch) -> npt.NDArray[np.floating]:
        found: npt.NDArray[np.floating] = model.all_logits(model.augmented(batch))[:, :, 0].cpu().numpy()
        return found

    with torch.inference_mode():
        return dict(labelled_logits(heads, examples, world))


def _judged(model: ClickModel, stacker: Stacker, columns: Mapping[str, npt.NDArray[Any]]) -> Metrics:
    """Return the metrics of what `all_heads` returns."""
    metrics = _new_metrics(model)
    weights, groups = columns.get("weights"), columns.get("groups")
    with torch.inference_mode():
        for begin in range(0, len(columns["labels"]), _PIECE):
            some = slice(begin, begin + _PIECE)
            logits = stacker(torch.from_numpy(columns["logits"][some])[:, :, None].to(stacker.weight))
            metrics.update(
                _probabilities(model, logits),
                columns["labels"][some],
                None if weights is None else weights[some],
                None if groups is None else groups[some],
            )
    return metrics.compute()


def _new_metrics(model: ClickModel) -> Accumulator:
    return accumulator(max(model.num_outputs, 2), [head.label for head in model.labels])


def _accumulate(model: ClickModel, examples: Iterable[Examples]) -> Accumulator:
    """Return labelled examples with the model's probabilities."""
    model.eval()
    metrics = _new_metrics(model)
    with torch.inference_mode():
        for part in examples:
            assert part.labels is not None, "only labelled examples can be evaluated"
            metrics.update(_probabilities(model, model(part.batch)), part.labels, part.weights, part.groups)
    return metrics
