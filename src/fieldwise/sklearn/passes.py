"""``partial_fit``: a pass over new rows that begins with the weights of the model."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
import pyarrow as pa
import torch

from fieldwise.bundle import Bundle, BundleWriter
from fieldwise.config import Config
from fieldwise.data.batches import Batches
from fieldwise.data.cache import Cache
from fieldwise.data.cache_writer import CacheWriter
from fieldwise.data.log import encode_log, open_table
from fieldwise.distributed.world import ALONE
from fieldwise.errors import DataError
from fieldwise.features.encoder import Encoder
from fieldwise.jobs.train.settings import settings_of
from fieldwise.jobs.train.team import stepper_of
from fieldwise.kernels.layout import Batch
from fieldwise.kernels.storage import decode_weights
from fieldwise.models.load import load_dense, load_model
from fieldwise.sklearn.base import ClickClassifier, errors_of_values
from fieldwise.sklearn.labels import check_labels
from fieldwise.sklearn.rows import kind_of
from fieldwise.sklearn.saved import SavedModel
from fieldwise.training.loop import fit
from fieldwise.training.saving import save_weights

__all__ = ["Learner", "PartialFit"]

_COMPARED_ROWS = 64
"""Rows to which a network is asked before it is saved."""


class Learner:
    """A model that goes on learning, with its optimizers' state, which a saved model does not have.

    Parameters
    ----------
    bundle
        The model; its encoder stays: a value that it does not know is the field's unseen feature.
    config
        Of its training.
    num_examples
        Of the first pass, which decides the size of a batch unless the configuration does.
    """

    def __init__(self, bundle: Bundle, config: Config, num_examples: int) -> None:
        settings = settings_of(config, bundle.model["kind"])
        settings = msgspec.structs.replace(settings, epochs=1, average_epochs=0.0, schedule="constant", warmup=0.0)
        self._bundle, self._settings = bundle.verify(), settings.for_examples(num_examples)
        self._model = load_model(bundle)
        self._stepper = stepper_of(self._model, self._settings, ALONE)
        weights = decode_weights(bundle.table)
        for column in range(weights.shape[1]):
            self._model.table.start(column, weights[:, column])
        load_dense(self._model, bundle.dense)
        self._num_passes = 0
        self._some: Batch | None = None
        self.unsaved = False

    def learn(self, table: pa.Table) -> None:
        """Take one pass over rows with labels.

        Raises
        ------
        DataError
            A row cannot be used.
        UserError
            Training diverged.
        """
        settings = self._settings
        with tempfile.TemporaryDirectory(prefix="fieldwise-fit-") as folder:
            cache = _encoded(self._bundle.encoder, table, Path(folder, "rows"))
            seed = (settings.seed + self._num_passes) % (1 << 31)
            batches = Batches(cache, settings.batch_size, seed=seed, negative_rate=settings.negative_rate)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                fit(self._stepper, batches, None, settings, keep=lambda number: None)
            self._some = cache.gather(np.arange(min(_COMPARED_ROWS, cache.num_examples))).batch
        self._num_passes += 1
        self.unsaved = True

    def saved(self) -> SavedModel:
        """Return the model as it is now."""
        bundle = self._bundle
        of_all = bundle.encoder, bundle.model, bundle.dtype, bundle.csv, bundle.calibration, bundle.format
        with tempfile.TemporaryDirectory(prefix="fieldwise-fit-") as folder:
            save_weights(self._model, BundleWriter(folder, *of_all), 1, rows=self._some)
            self.unsaved = False
            return SavedModel(Path(folder))


def _encoded(encoder: Encoder, table: pa.Table, folder: Path) -> Cache:
    schema = encoder.schema
    columns = {"weights": schema.weight is not None, "groups": schema.group is not None}
    with CacheWriter(folder, encoder.layout, num_classes=len(schema.classes), **columns) as writer:
        for chunk, (examples, rejects, *_) in encode_log(open_table(table), encoder, labelled=True):
            for line in chunk.reject_lines(rejects):
                row, column, value, reason = (line[key] for key in ("row", "column", "value", "reason"))
                raise DataError("a row cannot be used", where=f"row {row}, column {column}", got=f"{reason}: {value!r}")
            writer.add(examples)
    return Cache.open(folder)


class PartialFit(ClickClassifier):
    """An estimator that can go on learning from new rows."""

    _learner: Learner | None = None

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Take one pass over rows, from the weights that there are; on the first call, `fit` with one epoch.

        The first call learns the fields and their values; of later rows, values that are new train the feature of
        unseen values, unless their field has ``buckets``. The state of the optimizers goes on from call to call, and
        begins anew after `fit` and in an unpickled estimator.

        Parameters
        ----------
        X, y
            Rows and their labels (B,).
        classes
            On the first call, all classes, where `y` does not hold each of them.
        sample_weight
            (B,) weights of the examples; only where the first call had some, too.

        Raises
        ------
        ValueError
            A row cannot be used, or a label is none of the classes.
        """
        if kind_of(X) == "paths":
            raise ValueError("partial_fit takes rows in memory; fit takes the paths of files")
        if not self.__sklearn_is_fitted__():
            return self._fit(X, y, sample_weight=sample_weight, classes=classes, first_pass=True)
        if classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"classes are {list(classes)}, and were {self.classes_.tolist()} on the first call")
        table, _ = self._read(X, self._kind, reset=False)
        labels = self._classes.column(check_labels(self, y, table.num_rows))
        bundle = self._current().predictor.bundle
        schema = bundle.encoder.schema
        if sample_weight is not None and schema.weight is None:
            raise ValueError("sample_weight is given, and was not on the first call")
        if schema.weight is not None:
            table = table.append_column(schema.weight, pa.array(self._weights(sample_weight, table)))
        with errors_of_values():
            if self._learner is None:
                self._learner = Learner(bundle, self._config, table.num_rows)
            self._learner.learn(table.append_column(schema.label, labels))
        return self

    def _fit(self, *data: Any, **further: Any) -> Self:
        self._learner = None
        return super()._fit(*data, **further)

    def _current(self) -> SavedModel:
        if self._learner is not None and self._learner.unsaved:
            self._model = self._learner.saved()
        return super()._current()

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: the model as it is now, without the state of its optimizers."""
        if self.__sklearn_is_fitted__():
            self._current()
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_learner"}
