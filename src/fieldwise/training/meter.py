"""What an epoch under way tells of itself: speed, the mean loss, and the progressive AUC.

Letters: B examples, O outputs.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldwise.data.batches import Batches
from fieldwise.data.cache import Examples
from fieldwise.events import Listener, Progress
from fieldwise.kernels.jit import clock
from fieldwise.kernels.joint_labels import MISSING_LABEL, label_states
from fieldwise.training.state import TrainingState
from fieldwise.training.step import Stepper

__all__ = ["Meter", "ProgressiveAuc"]

_SECONDS_BETWEEN_REPORTS = 0.5
_MOST_LOGITS = 512
"""Of a batch: to look at all of them would take up to 4 % of the time of a small network's step."""
_BINS_PER_UNIT, _LIMIT = 64, 16

Floats = npt.NDArray[np.floating[Any]]


class ProgressiveAuc:
    """AUC of examples that come in batches, in memory that does not grow: 32 KiB for each output.

    Logits from -16 to 16 are counted in bins of 1/64, and those of a bin are ties, which the AUC counts half::

        AUC = sum over bins of  neg (pos_above + pos / 2) / (all neg  all pos)

    For a display: metrics that decide anything are exact (`metrics`).

    Parameters
    ----------
    num_outputs
        O: of more than two classes, whose mean AUC of one against the rest is taken; else 1.

    Examples
    --------
    >>> auc = ProgressiveAuc()
    >>> auc.add(np.array([[-2.0], [-0.5], [-1.0], [1.5]]), np.array([0, 0, 1, 1]))
    >>> auc.value
    0.75
    """

    def __init__(self, num_outputs: int = 1) -> None:
        self._weights = np.zeros((num_outputs, 2, 2 * _LIMIT * _BINS_PER_UNIT))

    def add(self, logits: Floats, labels: npt.NDArray[np.integer[Any]], weights: Floats | None = None) -> None:
        """Add examples: logits (B, O), labels (B,) and, where not all are 1, weights (B,)."""
        num_bins = self._weights.shape[2]
        if logits.shape[1] > 1:
            logits = _against_the_rest(logits)
        bins = np.clip((logits + _LIMIT) * _BINS_PER_UNIT, 0, num_bins - 1).astype(np.int64)
        for output, counts in enumerate(self._weights):
            positive = labels == (output if len(self._weights) > 1 else 1)
            counts += np.bincount(bins[:, output] + num_bins * positive, weights, counts.size).reshape(counts.shape)

    @property
    def value(self) -> float | None:
        """The AUC so far; None where an output has seen one label alone."""
        negative, positive = self._weights[:, 0], self._weights[:, 1]
        pairs = negative.sum(axis=1) * positive.sum(axis=1)
        if not pairs.all():
            return None
        above = positive[:, ::-1].cumsum(axis=1)[:, ::-1] - positive / 2
        return float(((negative * above).sum(axis=1) / pairs).mean())


def _against_the_rest(logits: Floats) -> Floats:
    """Return the log-odds (B, O) of each class from the logits of all."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted, dtype=np.float64)
    rest = exponentials.sum(axis=1, keepdims=True) - exponentials
    found: Floats = shifted - np.log(np.maximum(rest, np.finfo(np.float64).tiny))
    return found


class Meter:
    """Counts batches, loss and seconds of the epoch under way, and reports them now and then.

    Parameters
    ----------
    history
        Where the epoch is; moved on.
    train
        The batches of the epoch.
    stepper
        Asked what a batch was predicted before it was learned from. Of several workers each looks at its own share; of
        several labels, at the first.
    listen
        Called with a `Progress` every half a second.
    is_progressive
        Whether no weight has learned from these examples before.
    """

    def __init__(
        self, history: TrainingState, train: Batches, stepper: Stepper, listen: Listener, *, is_progressive: bool
    ) -> None:
        self.history, self.train, self.stepper, self.listen = history, train, stepper, listen
        self.is_progressive = is_progressive
        self.before = history.epochs[-1] if history.epochs else None
        self.num_examples = history.position * train.batch_size
        model = stepper.model
        self.num_outputs = 1 if model.labels else model.num_outputs
        self.auc = ProgressiveAuc(self.num_outputs)
        self.started = clock() - history.seconds
        self.reported = time.perf_counter()

    def add(self, examples: Examples, num_examples: int, loss: float) -> None:
        """Count a batch of so many examples, after its step; `examples` are this worker's share."""
        self._look(examples)
        history, now = self.history, time.perf_counter()
        self.num_examples += num_examples
        history.position += 1
        history.loss_sum += loss * num_examples
        history.seconds = max(clock() - self.started, 1e-9)
        if now - self.reported >= _SECONDS_BETWEEN_REPORTS:
            self.reported = now
            rate = self.num_examples / history.seconds
            self.listen(
                Progress(
                    len(history.epochs) + 1,
                    self.num_examples,
                    self.train.num_examples,
                    history.loss_sum / self.num_examples,
                    rate,
                    (self.train.num_examples - self.num_examples) / rate,
                    self.before,
                    self.auc.value,
                    self.is_progressive,
                )
            )

    def _look(self, examples: Examples) -> None:
        assert examples.labels is not None, "training needs labels"
        every = max(len(examples.labels) * self.num_outputs // _MOST_LOGITS, 1)
        logits, labels = self.stepper.logits(every)[:, : self.num_outputs], examples.labels[::every]
        weights = None if examples.weights is None else examples.weights[::every]
        if self.stepper.model.labels:
            labels = label_states(labels, 0)
            known = labels != MISSING_LABEL
            logits, labels = logits[known], labels[known]
            weights = None if weights is None else weights[known]
        self.auc.add(logits, labels, weights)
