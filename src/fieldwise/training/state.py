"""Where training is, and what happened on the way: what a checkpoint holds beside the weights."""

from __future__ import annotations

import msgspec

from fieldwise.events import EpochEnd
from fieldwise.training.guard import Divergence

__all__ = ["TrainingState"]


class TrainingState(msgspec.Struct, kw_only=True):
    """Where training is, and what happened on the way.

    Attributes
    ----------
    epochs
        Every epoch that is done.
    best_epoch, best_value
        The epoch whose weights were kept (1-based; 0 before the first, and where the initial model is better than all),
        and what their metric was, more being better.
    own_epoch, own_value
        The same at the end of epochs alone, whatever the initial model is worth: by these training stops. None and 0 in
        checkpoints of versions without initial models.
    best_position
        After how many of its batches they were kept; None at its end.
    num_saves
        How often weights were kept.
    looked
        After how many batches of the first epoch valid was looked at last.
    position, loss_sum, seconds
        Of the epoch that is not done: batches trained on, sum of loss times examples, seconds of training.
    penalties
        Of the fields, where logistic regression was solved and each has its own; empty where all have one.
    divergence
        What is known of a diverging loss; None before the first step, and in checkpoints of versions that did not keep
        it, with which it is looked for anew.
    """

    epochs: list[EpochEnd] = []
    best_epoch: int = 0
    best_value: float | None = None
    own_epoch: int = 0
    own_value: float | None = None
    best_position: int | None = None
    num_saves: int = 0
    looked: int = 0
    position: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    penalties: list[float] = []
    divergence: Divergence | None = None

    @property
    def keeps_initial(self) -> bool:
        """Whether the initial model was saved, and no weights since."""
        return bool(self.num_saves) and not self.best_epoch

    @property
    def seconds_per_epoch(self) -> float:
        """Mean seconds of training, without validation."""
        return sum(epoch.seconds for epoch in self.epochs) / len(self.epochs)

    @property
    def examples_per_second(self) -> float:
        """Examples trained on in a second, over all epochs."""
        seconds = sum(epoch.seconds for epoch in self.epochs)
        return sum(epoch.examples_per_second * epoch.seconds for epoch in self.epochs) / seconds if seconds else 0.0
