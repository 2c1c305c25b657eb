"""One pass over a day in the order of its log: each batch is predicted, then learned from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from fieldwise.data.batches import Batches
from fieldwise.data.cache import Cache
from fieldwise.errors import UserError
from fieldwise.events import EpochEnd, Listener
from fieldwise.metrics import BinaryMetrics, MulticlassMetrics
from fieldwise.training.guard import Divergence, NotFinite
from fieldwise.training.interrupt import Interrupt
from fieldwise.training.score import predict_batches
from fieldwise.training.step import Stepper

__all__ = ["learn"]

_FIX = "lower update.learning_rate, or look at the day's numbers (`fieldwise check`); nothing was changed"


def learn(
    stepper: Stepper, cache: Cache, batch_size: int, factor: float, interrupt: Interrupt, listen: Listener
) -> npt.NDArray[np.floating]:
    """Learn from a day, and return what the model said of each example before it learned from it: (N,) or (N, O).

    This is progressive validation (McMahan et al. 2013): every example is a test of a model that has not seen it.

    Parameters
    ----------
    factor
        Of the learning rates.

    Raises
    ------
    UserError
        Something is not finite, or training diverges: the day is not fit to learn from.
    Interrupted
        On request.
    """
    batches, model = Batches(cache, batch_size, shuffle=False), stepper.model
    divergence = Divergence.of(stepper.num_classes)
    said = []
    try:
        with stepper.at_work(), stepper.reading(batches, 0, 0) as coming:
            for number, examples in enumerate(interrupt.watch(coming)):
                said.extend(predict_batches(model, [examples.batch]))
                model.train()
                loss = stepper.step(examples, factor)
                if divergence.add(loss, batches.size(number), stepper.class_weights):
                    raise UserError("training diverges on this day", where=f"batch {number + 1}", fix=_FIX)
            stepper.refuse_written()
    except NotFinite as error:
        raise UserError(f"{error.what} is not a finite number", where=f"batch {len(said)}", fix=_FIX) from None
    return np.concatenate(said) if said else np.zeros(0)
