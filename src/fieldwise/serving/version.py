"""A version of a model in memory: what answers from it, what is counted of it, and who uses it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fieldwise.errors import ArtefactError
from fieldwise.serving.batching import Batcher
from fieldwise.serving.folders import Signature, signature_of
from fieldwise.serving.limits import Limits
from fieldwise.serving.metrics import ModelMetrics
from fieldwise.serving.predictor import Predictor
from fieldwise.serving.rows import Reads
from fieldwise.serving.unseen import UnseenCounter

__all__ = ["Version"]


class Version:
    """A version of a model in memory.

    Parameters
    ----------
    model, name
        Its names; an empty name becomes the first 12 digits of the checksum.
    path
        Its folder.
    limits, executor
        As for `Batcher`.

    Raises
    ------
    ArtefactError
        It is damaged or incomplete.
    """

    def __init__(self, model: str, name: str, path: Path, limits: Limits, executor: Executor) -> None:
        self.signature: Signature = signature_of(path)
        self.predictor = Predictor(path)
        self.model, self.path = model, path
        self.name = name or self.predictor.version[:12]
        bundle = self.predictor.bundle
        self.reads = Reads(bundle.encoder.schema)
        self.classes = self.predictor.classes
        self.outputs = self.predictor.outputs
        self.metrics = ModelMetrics(self.outputs or self.classes[1:] or ("1",))
        self.unseen = UnseenCounter(self.predictor.fields, bundle.encoder.layout)
        self.batcher = Batcher(self.predictor, self.reads.names, self.unseen, self.metrics, limits, executor)
        self.loaded_at = self.last_used = time.time()
        self.users = 0
        self._retired = False
        self._prove()

    def _prove(self) -> None:
        """Verify all weights, compile what is needed, and answer a row."""
        self.predictor.warm()
        probabilities = self.predictor.predict({column.name: [None] for column in self.predictor.columns})
        if not np.isfinite(probabilities).all():
            raise ArtefactError("the model does not answer with probabilities", where=self.path, got=probabilities)
        self.dtype = "FP32" if probabilities.dtype == np.float32 else "FP64"
        self.batcher.no_rows = probabilities[:0]
        self.output_shape = [-1, *probabilities.shape[1:]]
        if signature_of(self.path) != self.signature:
            raise ArtefactError("the files changed while they were read", where=self.path)

    @contextmanager
    def in_use(self) -> Iterator[Version]:
        """Keep the version open while a request needs it."""
        self.users += 1
        try:
            yield self
        finally:
            self.users -= 1
            self.last_used = time.time()
            if self._retired and not self.users:
                self.predictor.close()

    def retire(self) -> None:
        """Close the version once nobody uses it."""
        self._retired = True
        if not self.users:
            self.predictor.close()
