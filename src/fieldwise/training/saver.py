"""When a checkpoint of a training is saved."""

from __future__ import annotations

import time

import msgspec

from fieldwise.training.averaging import Average
from fieldwise.training.checkpoint import Checkpoints
from fieldwise.training.config import TrainConfig
from fieldwise.training.state import TrainingState
from fieldwise.training.step import Stepper

__all__ = ["Saver"]


class Saver:
    """Saves a checkpoint when enough steps or minutes have passed since the last."""

    def __init__(
        self,
        stepper: Stepper,
        average: Average | None,
        checkpoints: Checkpoints | None,
        config: TrainConfig,
        batches_per_epoch: int,
    ) -> None:
        self.stepper, self.average = stepper, average
        self.checkpoints, self.batches_per_epoch = checkpoints, batches_per_epoch
        self.every_steps, self.every_seconds = config.checkpoint_steps, config.checkpoint_minutes * 60
        self.saved = time.monotonic()
        self.newest_step: int | None = None

    def newest(self) -> str:
        """Say which checkpoint is the newest."""
        if self.newest_step is None:
            return "no checkpoint was saved"
        return f"the checkpoint of step {self.newest_step} is kept"

    def resumed(self, history: TrainingState) -> None:
        """Training goes on from the checkpoint of `history`, or begins."""
        self.newest_step = self._step(history) or None

    def is_late(self) -> bool:
        """Whether enough minutes have passed; workers agree on it, for their clocks do not."""
        return time.monotonic() - self.saved >= self.every_seconds

    def is_due(self, history: TrainingState) -> bool:
        """Whether enough steps have passed."""
        return self.every_steps is not None and self._step(history) % self.every_steps == 0

    def save(self, history: TrainingState) -> None:
        """Save all that training goes on from."""
        if self.checkpoints is None:
            return
        self.stepper.refuse_written()
        state = msgspec.to_builtins(history)
        rows, arrays = self.stepper.table.rows, self.stepper.arrays()
        if self.average is None:
            self.checkpoints.save(self._step(history), rows, arrays, state)
        else:
            self.checkpoints.save(self._step(history), self.average.beside(rows), arrays | self.average.arrays(), state)
        self.saved = time.monotonic()
        self.newest_step = self._step(history)

    def _step(self, history: TrainingState) -> int:
        return len(history.epochs) * self.batches_per_epoch + history.position
