"""The logistic regression that a model starts from: what is kept until something is better by more than noise."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from fieldwise.bundle import BundleWriter, open_bundle
from fieldwise.data.batches import Batches
from fieldwise.distributed.world import World
from fieldwise.jobs.result import Result
from fieldwise.kernels.joint_labels import MISSING_LABEL, label_states
from fieldwise.kernels.layout import Batch
from fieldwise.kernels.newton import LogisticSolution, logits_of
from fieldwise.kernels.storage import decode_weights
from fieldwise.metrics.own import goodness
from fieldwise.models.click import ClickModel
from fieldwise.nn.joint_logits import joint_logits
from fieldwise.training.initial import LrWeights
from fieldwise.training.loop import Initial
from fieldwise.training.noise import exceeds_noise, has_noise_of
from fieldwise.training.score import answer, labelled_logits

__all__ = ["Pretrained", "initial_of", "lr_weights"]


class Pretrained(NamedTuple):
    """A trained logistic regression: the weights that others start from, what training took, its run and result."""

    start: LrWeights
    seconds: float
    folder: Path
    result: Result


def lr_weights(folder: Path) -> LrWeights:
    """Return the weights of a run of logistic regression."""
    bundle = open_bundle(folder).verify()
    [bias] = bundle.dense.values()
    return LrWeights(decode_weights(bundle.table), bias)


def initial_of(
    pretrained: Pretrained, stop_on: str, writer: BundleWriter, valid: Batches, num_classes: int, world: World
) -> Initial | None:
    """Return logistic regression as the initial model of `training.loop.fit`; None where valid says nothing of it.

    Parameters
    ----------
    pretrained
        Its run, from which it is saved into the bundle of `writer`.
    stop_on
        The metric by which weights are kept.
    valid
        The validation examples in order, this worker's share of each batch.
    num_classes, world
        Of the label; the workers.
    """
    value = goodness(pretrained.result.valid, stop_on)
    if value is None:
        return None

    def keep() -> None:
        bundle = open_bundle(pretrained.folder).verify()
        own = BundleWriter(
            writer.folder, writer.encoder, bundle.model, bundle.dtype, bundle.csv, bundle.calibration, bundle.format
        )
        own.save(1, bundle.table, bundle.dense, bundle.network, bundle.no_network, bundle.ranking)

    def is_exceeded(model: ClickModel) -> bool:
        metric, _, label = stop_on.partition(":")
        if not has_noise_of(metric, num_classes, valid.num_examples):
            return True
        number = next((place for place, head in enumerate(model.labels) if head.label == label), 0)
        weights, bias = lr_weights(pretrained.folder)
        optima = [
            LogisticSolution(w.astype(np.float64), float(b), 0.0, 0) for w, b in zip(weights.T, bias, strict=True)
        ]

        def both(batch: Batch) -> npt.NDArray[np.floating]:
            own = answer(model, batch)[:, number].numpy()
            of_labels = np.stack([logits_of(optimum, batch, valid.cache.layout) for optimum in optima], axis=1)
            initial = joint_logits(torch.from_numpy(of_labels), [head.among for head in model.labels]).numpy()
            return np.stack([own, initial[:, number]], axis=1)

        found = labelled_logits(both, valid.epoch(0), world)

        def decided() -> bool:
            labels = label_states(found["labels"], number)
            known = labels != MISSING_LABEL
            own, initial = found["logits"][known].T
            weights = found["weights"][known] if "weights" in found else None
            return exceeds_noise(metric, labels[known], own, initial, weights)

        return world.first(decided, bool)

    return Initial(value, lambda: world.first(keep, type(None)), is_exceeded)
