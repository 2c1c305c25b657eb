"""One pass over a day in the order of its log: each batch is predicted, then learned from.

Of several workers each predicts and learns from its share of a batch; what they said adds up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fieldwise.data.batches import Batches
from fieldwise.data.cache import Cache, Examples
from fieldwise.errors import UserError
from fieldwise.jobs.update.result import Figures
from fieldwise.metrics import BinaryMetrics, MulticlassMetrics
from fieldwise.models.click import ClickModel
from fieldwise.training.guard import Divergence, NotFinite
from fieldwise.training.interrupt import Interrupt, Interrupted
from fieldwise.training.score import Accumulator, predict_batches
from fieldwise.training.step import ControlFlags, Stepper

__all__ = ["Progressive", "learn", "said_of"]

_AT_ONCE = 1 << 16
_FIX = "lower update.learning_rate, or look at the day's numbers (`fieldwise check`); nothing was changed"


class Progressive:
    """What the model said of examples before it learned from them: all, by hour, and by slice (McMahan et al. 2013).

    Parameters
    ----------
    num_classes
        Two or more.
    hours
        (N,) of each example, in the order in which they come; below 0 for none. None where no times are known.
    slices
        Of each field whose values are slices, the place of its ids in a batch, and their names (`judge.slice_names`).
    """

    def __init__(
        self,
        num_classes: int,
        hours: npt.NDArray[np.int64] | None = None,
        slices: Mapping[str, tuple[int, Sequence[str]]] | None = None,
    ) -> None:
        self._num_classes, self._hours, self._num_examples = num_classes, hours, 0
        self._slices = dict(slices or {})
        self._by_slice: dict[str, dict[int, Accumulator]] = {name: {} for name in self._slices}
        self._all, self._by_hour = self._new(), [self._new() for _ in range(24)]

    def _new(self) -> Accumulator:
        return BinaryMetrics() if self._num_classes == 2 else MulticlassMetrics(self._num_classes)

    def add(self, said: npt.NDArray[np.floating], examples: Examples) -> None:
        """Add a batch: probabilities (B,), or (B, O) of more than two classes."""
        labels, weights = examples.labels, examples.weights
        assert labels is not None, "a day is read with its labels"
        self._all.update(said, labels, weights)
        first = self._num_examples
        self._num_examples += len(labels)
        if self._hours is not None:
            for hour, own in _rows_by_value(self._hours[first : self._num_examples]):
                if hour >= 0:
                    self._by_hour[hour].update(said[own], labels[own], None if weights is None else weights[own])
        for name, (place, _) in self._slices.items():
            found = self._by_slice[name]
            for feature, own in _rows_by_value(examples.batch.ids[place]):
                of = found.setdefault(feature, self._new())
                of.update(said[own], labels[own], None if weights is None else weights[own])

    def by_slice(self) -> dict[str, dict[str, Figures]]:
        """Return the figures of the values of each field whose values are slices, of those that have come."""
        return {
            name: {
                names[feature]: Figures.of(found.compute()) for feature, found in sorted(self._by_slice[name].items())
            }
            for name, (_, names) in self._slices.items()
        }

    def compute(self) -> tuple[Figures, dict[str, Figures]]:
        """Return the figures of all examples, and by the hour, of those that have any."""
        hours = {f"{hour:02d}": Figures.of(metrics.compute()) for hour, metrics in enumerate(self._by_hour)}
        return Figures.of(self._all.compute()), {hour: each for hour, each in hours.items() if each.num_examples}


def _rows_by_value(values: npt.NDArray[np.integer]) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Yield each value, ascending, with the rows that have it, in order."""
    order = np.argsort(values, kind="stable")
    found, first = np.unique(values[order], return_index=True)
    yield from zip(found.tolist(), np.split(order, first[1:]), strict=True) if len(order) else ()


def learn(
    stepper: Stepper,
    cache: Cache,
    batch_size: int,
    factor: float,
    interrupt: Interrupt,
    fakes: npt.NDArray[np.bool_] | None = None,
    passes: int = 1,
    negative_rate: float = 1.0,
) -> npt.NDArray[np.floating]:
    """Learn from a day's examples, each batch after it was predicted, and return what was predicted of each when it
    came first: (N,), or (N, O) of more than two classes, 0 where another worker has predicted it.

    Parameters
    ----------
    factor
        Of the learning rates.
    fakes
        (N,): which of the examples are fake negatives, whose weight is what is missing of their prediction to 1
        (`jobs.update.late`).
    passes
        How often.
    negative_rate
        The share of negatives that are learned from, as in training; all are predicted, those that are left out with
        the batch that they come before.

    Raises
    ------
    UserError
        Something is not finite, or training diverges: the day is not fit to learn from.
    Interrupted
        On request.
    """
    share = stepper.world.rank, stepper.world.size
    batches, whole = (
        Batches(cache, batch_size, seed=stepper.seed, shuffle=False, share=part, negative_rate=negative_rate)
        for part in (share, (0, 1))
    )
    model, number, done = stepper.model, 0, 0
    divergence, said = Divergence.of(stepper.num_classes), _Said(cache, batch_size, batches.kept, share)
    try:
        with stepper.at_work():
            for epoch in range(passes):
                rows, all_rows = batches.rows(0), whole.rows(0)
                with stepper.reading(batches, 0, 0) as coming:
                    for number, examples in enumerate(interrupt.watch(coming)):
                        own, end = next(rows), int(next(all_rows)[-1]) + 1
                        if not epoch:
                            said.predict_left_out(model, done, end)
                            done = end
                        if not epoch or fakes is not None:
                            [found] = predict_batches(model, [examples.batch])
                            if not epoch:
                                said.put(own, found)
                            if fakes is not None:
                                _weigh(examples, found, fakes[own])
                        model.train()
                        loss = stepper.step(examples, factor)
                        if divergence.add(loss, batches.size(number), stepper.class_weights):
                            raise UserError("training diverges on this day", where=f"batch {number + 1}", fix=_FIX)
                        if stepper.agree(ControlFlags(interrupt.requested and not interrupt.alone, False)).stop:
                            raise Interrupted
                if not epoch:
                    said.predict_left_out(model, done, cache.num_examples)
            if batches.num_batches:
                stepper.refuse_written()
    except NotFinite as error:
        raise UserError(f"{error.what} is not a finite number", where=f"batch {number + 1}", fix=_FIX) from None
    return said.found


class _Said:
    """What was predicted of a day's examples, by the row of the cache."""

    def __init__(
        self, cache: Cache, batch_size: int, kept: npt.NDArray[np.bool_] | None, share: tuple[int, int]
    ) -> None:
        self.found: npt.NDArray[np.floating] = np.zeros(0)
        self._cache, self._batch_size, self._kept, self._share = cache, batch_size, kept, share

    def put(self, rows: npt.NDArray[np.int64], said: npt.NDArray[np.floating]) -> None:
        """Keep what was predicted of some rows."""
        if not len(self.found):
            self.found = np.zeros((self._cache.num_examples, *said.shape[1:]), said.dtype)
        self.found[rows] = said

    def predict_left_out(self, model: ClickModel, first: int, end: int) -> None:
        """Predict the examples from `first` to `end` that are not learned from, this worker's share of each piece."""
        if self._kept is None:
            return
        rank, size = self._share
        left_out = first + np.flatnonzero(~self._kept[first:end])
        for begin in range(0, len(left_out), self._batch_size):
            piece = left_out[begin : begin + self._batch_size]
            own = piece[len(piece) * rank // size : len(piece) * (rank + 1) // size]
            [said] = predict_batches(model, [self._cache.gather(own).batch])
            self.put(own, said)


def said_of(
    said: npt.NDArray[np.floating], cache: Cache, fakes: npt.NDArray[np.bool_] | None = None
) -> Iterator[tuple[npt.NDArray[np.floating], Examples]]:
    """Yield what was predicted of the examples, (N,) or (N, O), piece by piece with them, and with the weights that
    they were learned with.
    """
    # Not the batches of learning: figures of a few hundred slices cost as much for 512 examples as for 64 thousand.
    batches = Batches(cache, _AT_ONCE, shuffle=False)
    for examples, rows in zip(batches.epoch(0), batches.rows(0), strict=True):
        if fakes is not None:
            _weigh(examples, said[rows], fakes[rows])
        yield said[rows], examples


def _weigh(examples: Examples, said: npt.NDArray[np.floating], fakes: npt.NDArray[np.bool_]) -> None:
    assert examples.weights is not None, "fake negatives are weighed"
    examples.weights[fakes] *= 1 - said[fakes]
