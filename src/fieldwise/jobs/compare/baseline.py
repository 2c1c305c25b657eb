"""Target encoding and a perceptron: the baseline of a locally connected layer, a target encoder trained jointly.

Every category becomes the mean of its label, shrunk towards the mean of all (scikit-learn's ``TargetEncoder``): out of
fold for the training rows, so that none sees its own label, and from all training rows for valid and test. A bag is
one category, the set of its values; a number is itself, 0 where it is missing. The encodings are standardised and go
into scikit-learn's ``MLPClassifier`` with its defaults (Adam, 200 examples a step), an epoch at a time, with the hidden
layers, epochs and patience of the configuration; the best epoch on valid is kept.

The rows are those of the prepared log, in its order, so that its probabilities can be compared with a model's in pairs.
They are what is saved: the baseline is no model to use, and has no bundle. It must fit in memory.

::

    run/
        run.json                    as of any run (`jobs.run`)
        probabilities.json          the checksum of
        probabilities.safetensors   valid and test: (B,) or (B, O)
"""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from fieldwise.config import Config
from fieldwise.data.cache import Cache, Examples
from fieldwise.errors import ConfigError
from fieldwise.events import EpochEnd, Kept, Listener, Stage, ignore
from fieldwise.io.arrays import load_verified, save_arrays
from fieldwise.io.manifests import read_manifest, write_manifest
from fieldwise.io.memory import require_memory
from fieldwise.jobs.prepare.prepare import Prepared
from fieldwise.jobs.run import Result, RunFolder
from fieldwise.kernels.layout import Layout
from fieldwise.metrics import Metrics, evaluate_predictions
from fieldwise.training.loop import goodness

__all__ = ["TARGET_ENCODING", "read_probabilities", "train_target_encoding", "verify_probabilities"]

TARGET_ENCODING = "target-encoding"
_FORMAT, _VERSION = "fieldwise-probabilities", 1
_MANIFEST, _ARRAYS = "probabilities.json", "probabilities.safetensors"
_ACTIVATIONS = {"relu": "relu", "gelu": "relu", "silu": "relu", "tanh": "tanh", "sigmoid": "logistic"}
Floats = npt.NDArray[np.floating[Any]]


class _Manifest(msgspec.Struct, forbid_unknown_fields=True):
    checksum: str


class _Trained(NamedTuple):
    network: Any
    num_weights: int
    num_biases: int
    epochs: list[EpochEnd]
    best_epoch: int


def train_target_encoding(
    config: Config, out: Path, prepared: Prepared, *, overwrite: bool = False, listen: Listener = ignore
) -> Result:
    """Train and evaluate the baseline in a run folder; one that is finished is left alone, one that is not starts anew.

    Raises
    ------
    ConfigError
        scikit-learn is not installed, or there are no hidden layers.
    ResourceError
        The encoded rows do not fit in memory.
    """
    encoder_class, folds_class, network_class = _scikit_learn()
    model, train = config.model, config.train
    if not model.hidden:
        raise ConfigError(
            "target encoding needs a hidden layer or more", where="model.hidden", expected="[widths]", got="[]"
        )
    run = RunFolder(out, config, prepared.folder.name, overwrite)
    run.config = {
        **run.config,
        "model": {"kind": TARGET_ENCODING, "hidden": list(model.hidden), "activation": model.activation},
    }
    with run:
        if run.result is not None:
            return run.result
        listen(Stage("train", TARGET_ENCODING))
        layout, num_classes = prepared.encoder.layout, len(prepared.encoder.schema.classes)
        num_rows = sum(cache.num_examples for cache in prepared.parts.values())
        width = layout.num_fields * max(num_classes if num_classes > 2 else 1, 2)
        require_memory(num_rows * width * 24, "target encoding", "leave it out of --models, or compare on fewer rows")
        columns = {part: _Columns(cache, layout) for part, cache in prepared.parts.items()}
        started = time.perf_counter()
        encodings = _encode(encoder_class, folds_class, columns, num_classes, train.seed)
        num_encodings = int((np.diff(layout.base)[layout.form != 1]).sum()) * max(1, (num_classes > 2) * num_classes)
        encoding_seconds = time.perf_counter() - started
        trained = _fit(network_class, config, columns, encodings, num_classes, listen)
        probabilities: dict[str, Floats] = {
            part: _probabilities(trained.network, encodings[part]) for part in ("valid", "test") if part in columns
        }
        seconds = sum(epoch.seconds for epoch in trained.epochs)
        checksum = save_arrays(run.folder / _ARRAYS, probabilities)
        write_manifest(run.folder / _MANIFEST, _Manifest(checksum), format=_FORMAT, version=_VERSION)
        return run.finish(
            Result(
                model=TARGET_ENCODING,
                units=None,
                parameters=num_encodings + trained.num_weights,
                biases=trained.num_biases,
                valid=_evaluate(probabilities, columns, "valid", num_classes),
                test=_evaluate(probabilities, columns, "test", num_classes),
                pretrain_seconds=encoding_seconds,
                seconds_per_epoch=seconds / len(trained.epochs),
                epochs=len(trained.epochs),
                best_epoch=trained.best_epoch,
                examples_per_second=len(trained.epochs) * prepared.parts["train"].num_examples / max(seconds, 1e-9),
                folder=str(run.folder),
                **prepared.encoder.schema.of_label,
            )
        )


def read_probabilities(run: Path, part: str) -> Floats:
    """Return the saved probabilities of a part's rows, verified.

    Raises
    ------
    ArtefactError
        They are missing or damaged.
    """
    manifest, _ = read_manifest(run / _MANIFEST, _Manifest, format=_FORMAT, version=_VERSION)
    return load_verified(run / _ARRAYS, manifest.checksum)[part]


def verify_probabilities(run: Path) -> tuple[str, str]:
    """Compare the saved probabilities with their checksum, and name their files."""
    manifest, _ = read_manifest(run / _MANIFEST, _Manifest, format=_FORMAT, version=_VERSION)
    load_verified(run / _ARRAYS, manifest.checksum)
    return _MANIFEST, _ARRAYS


class _Columns:
    """The rows of a part: categories (B, C), numbers (B, V), labels, weights and groups."""

    def __init__(self, cache: Cache, layout: Layout) -> None:
        examples: Examples = cache.gather(np.arange(cache.num_examples))
        assert examples.labels is not None, "training needs labels"
        batch = examples.batch
        values = [int(line) for line in layout.single[layout.value >= 0]]
        singles = [line for line in range(len(batch.ids)) if line not in values]
        # An id of its own for every set of values: the fingerprint of the sorted ids.
        bags = [_sets(batch.bag_ids, offsets) for offsets in batch.offsets]
        self.categories = np.column_stack([*(batch.ids[line].astype(np.int64) for line in singles), *bags])
        if not singles and not bags:
            self.categories = np.zeros((cache.num_examples, 0), dtype=np.int64)
        self.numbers = np.where(batch.ids[values] == 0, 0.0, batch.values).T.astype(np.float32)
        self.labels, self.weights, self.groups = examples.labels, examples.weights, examples.groups


def _sets(ids: npt.NDArray[np.uint32], offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return a number for each bag that is the same for the same set of values, and else another but for 1 in 2^64."""
    mixed = ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(32)
    sums = np.concatenate((np.zeros(1, dtype=np.uint64), np.cumsum(mixed, dtype=np.uint64)))
    return (sums[offsets[1:]] - sums[offsets[:-1]]).view(np.int64)


def _encode(
    encoder_class: Any, folds_class: Any, columns: dict[str, _Columns], num_classes: int, seed: int
) -> dict[str, Floats]:
    """Return the standardised inputs of every part."""
    train = columns["train"]
    encoded: dict[str, list[Floats]] = {part: [part_columns.numbers] for part, part_columns in columns.items()}
    if train.categories.shape[1]:
        kind = "binary" if num_classes == 2 else "multiclass"
        encoder = encoder_class(target_type=kind, cv=folds_class(5, shuffle=True, random_state=seed))
        encoded["train"].append(encoder.fit_transform(train.categories, train.labels).astype(np.float32))
        for part in columns.keys() - {"train"}:
            encoded[part].append(encoder.transform(columns[part].categories).astype(np.float32))
    inputs = {part: np.concatenate(arrays, axis=1) for part, arrays in encoded.items()}
    mean, deviation = inputs["train"].mean(axis=0), inputs["train"].std(axis=0)
    return {part: (array - mean) / np.where(deviation > 0, deviation, 1) for part, array in inputs.items()}


def _fit(
    network_class: Any,
    config: Config,
    columns: dict[str, _Columns],
    encodings: dict[str, Floats],
    num_classes: int,
    listen: Listener,
) -> _Trained:
    """Train an epoch at a time and keep the network of the best on valid."""
    train, settings = columns["train"], config.train
    network = network_class(
        hidden_layer_sizes=config.model.hidden,
        activation=_ACTIVATIONS[config.model.activation],
        random_state=settings.seed,
    )
    best: Any = None
    best_value: float | None = None
    epochs: list[EpochEnd] = []
    best_epoch = 0
    weights = {} if train.weights is None else {"sample_weight": train.weights}
    while len(epochs) < settings.epochs and len(epochs) - best_epoch < settings.patience:
        started = time.perf_counter()
        network.partial_fit(encodings["train"], train.labels, classes=np.arange(num_classes), **weights)
        seconds = max(time.perf_counter() - started, 1e-9)
        valid = None
        if "valid" in columns:
            kept = {"valid": _probabilities(network, encodings["valid"])}
            valid = _evaluate(kept, columns, "valid", num_classes)
        epochs.append(EpochEnd(len(epochs) + 1, float(network.loss_), seconds, len(train.labels) / seconds, valid))
        listen(epochs[-1])
        value = goodness(valid, settings.stop_on)
        if value is None or best_value is None or value > best_value:
            best, best_value, best_epoch = copy.deepcopy(network), value, len(epochs)
            listen(Kept(best_epoch))
    num_weights, num_biases = (sum(array.size for array in arrays) for arrays in (best.coefs_, best.intercepts_))
    return _Trained(best, num_weights, num_biases, epochs, best_epoch)


def _probabilities(network: Any, inputs: Floats) -> Floats:
    probabilities: Floats = network.predict_proba(inputs)
    if probabilities.shape[1] == 2:
        return np.ascontiguousarray(probabilities[:, 1])
    return probabilities


def _evaluate(
    probabilities: dict[str, Floats], columns: dict[str, _Columns], part: str, num_classes: int
) -> Metrics | None:
    if part not in probabilities:
        return None
    rows = columns[part]
    return evaluate_predictions(probabilities[part], rows.labels, rows.weights, rows.groups, num_classes)


def _scikit_learn() -> tuple[Any, Any, Any]:
    try:
        from sklearn.model_selection import StratifiedKFold
        from sklearn.neural_network import MLPClassifier
        from sklearn.preprocessing import TargetEncoder
    except ImportError:
        raise ConfigError(
            "target encoding needs scikit-learn, which is not installed",
            where="--models",
            got=TARGET_ENCODING,
            fix="pip install 'fieldwise[baselines]'",
        ) from None
    return TargetEncoder, StratifiedKFold, MLPClassifier
