"""Target encoding and a perceptron: the baseline of a locally connected layer, a target encoder trained jointly.

Every category becomes the mean of its label, shrunk towards the mean of all (scikit-learn's ``TargetEncoder``): out of
fold for the training rows, so that none sees its own label, and from all training rows for valid and test. A bag is
one category, the set of its values; a number is itself, 0 where it is missing. The encodings are standardised and go
into scikit-learn's ``MLPClassifier`` with its defaults (Adam, 200 examples a step), an epoch at a time, with the hidden
layers, epochs and patience of the configuration; the best epoch on valid is kept.

The rows are those of the prepared log, in its order, so that its probabilities can be compared with a model's in pairs.
They must fit in memory. For two classes. `baselines.py` trains it beside other models.
"""

from __future__ import annotations

import copy
import time
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import TargetEncoder

import fieldwise as fw
from fieldwise.data.cache import Cache
from fieldwise.kernels.layout import VALUE, Layout
from fieldwise.metrics import evaluate_predictions
from fieldwise.metrics.own import goodness

_ACTIVATIONS = {"relu": "relu", "gelu": "relu", "silu": "relu", "tanh": "tanh", "sigmoid": "logistic"}
Floats = npt.NDArray[np.floating[Any]]


class Baseline(NamedTuple):
    """Weights (encodings among them), seconds of training, AUC on valid, and probabilities of the test rows."""

    parameters: int
    seconds: float
    valid_auc: float
    test: Floats


def train(config: fw.Config) -> Baseline:
    """Encode the prepared log, train the perceptron, and predict its test part."""
    prepared = fw.prepare(config)
    layout, settings = prepared.encoder.layout, config.train
    columns = {part: Columns(cache, layout) for part, cache in prepared.parts.items()}
    started = time.perf_counter()
    inputs = encode(columns, settings.seed)
    network = MLPClassifier(
        hidden_layer_sizes=config.model.hidden,
        activation=_ACTIVATIONS[config.model.activation],
        random_state=settings.seed,
    )
    train, valid = columns["train"], columns["valid"]
    weights = {} if train.weights is None else {"sample_weight": train.weights}
    best, best_value, best_auc, best_epoch, epoch = network, -np.inf, 0.0, 0, 0
    while epoch < settings.epochs and epoch - best_epoch < settings.patience:
        epoch += 1
        network.partial_fit(inputs["train"], train.labels, classes=np.arange(2), **weights)
        said = network.predict_proba(inputs["valid"])[:, 1]
        metrics = evaluate_predictions(said, valid.labels, valid.weights, valid.groups, 2)
        value = goodness(metrics, settings.stop_on)
        if value is None or value > best_value:
            best, best_epoch, best_auc = copy.deepcopy(network), epoch, metrics.auc or 0.0
            best_value = best_value if value is None else value
    seconds = time.perf_counter() - started
    encodings = int(np.diff(layout.base)[layout.form != VALUE].sum())
    parameters = encodings + sum(array.size for array in best.coefs_)
    return Baseline(parameters, seconds, best_auc, np.ascontiguousarray(best.predict_proba(inputs["test"])[:, 1]))


class Columns:
    """The rows of a part: categories (B, C), numbers (B, V), labels, weights and groups."""

    def __init__(self, cache: Cache, layout: Layout) -> None:
        examples = cache.gather(np.arange(cache.num_examples))
        batch = examples.batch
        values = [int(line) for line in layout.single[layout.value >= 0]]
        singles = [line for line in range(len(batch.ids)) if line not in values]
        lines = [batch.ids[line].astype(np.int64) for line in singles]
        lines += [bag_codes(batch.bag_ids, offsets) for offsets in batch.offsets]
        self.categories = np.column_stack(lines) if lines else np.zeros((cache.num_examples, 0), dtype=np.int64)
        self.numbers = np.where(batch.ids[values] == 0, 0.0, batch.values).T.astype(np.float32)
        self.labels, self.weights, self.groups = examples.labels, examples.weights, examples.groups


def bag_codes(ids: npt.NDArray[np.uint32], offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return a number for each bag that is the same for the same set of values, and else another but for 1 in 2^64."""
    mixed = ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(32)
    sums = np.concatenate((np.zeros(1, dtype=np.uint64), np.cumsum(mixed, dtype=np.uint64)))
    return (sums[offsets[1:]] - sums[offsets[:-1]]).view(np.int64)


def encode(columns: dict[str, Columns], seed: int) -> dict[str, Floats]:
    """Return the standardised inputs of every part."""
    train = columns["train"]
    encoded: dict[str, list[Floats]] = {part: [part_columns.numbers] for part, part_columns in columns.items()}
    if train.categories.shape[1]:
        encoder = TargetEncoder(target_type="binary", cv=StratifiedKFold(5, shuffle=True, random_state=seed))
        encoded["train"].append(encoder.fit_transform(train.categories, train.labels).astype(np.float32))
        for part in columns.keys() - {"train"}:
            encoded[part].append(encoder.transform(columns[part].categories).astype(np.float32))
    inputs = {part: np.concatenate(arrays, axis=1) for part, arrays in encoded.items()}
    mean, deviation = inputs["train"].mean(axis=0), inputs["train"].std(axis=0)
    return {part: (array - mean) / np.where(deviation > 0, deviation, 1) for part, array in inputs.items()}
