"""The loop: epochs of steps, validation after each, the best weights kept, checkpoints on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import NamedTuple

import msgspec

from fieldwise.counted import counted
from fieldwise.data.batches import Batches
from fieldwise.data.cache import Examples
from fieldwise.errors import ArtefactError, Stopped, UserError
from fieldwise.events import BestSaved, CheckpointSaved, EpochEnd, Listener, Noted, ignore
from fieldwise.metrics import Metrics
from fieldwise.metrics.own import goodness
from fieldwise.models.click import ClickModel
from fieldwise.training.averaging import Average
from fieldwise.training.checkpoint import Checkpoints
from fieldwise.training.config import TrainConfig
from fieldwise.training.guard import Divergence, NotFinite, write_batch
from fieldwise.training.interrupt import Interrupt, Interrupted
from fieldwise.training.meter import Meter
from fieldwise.training.saver import Saver
from fieldwise.training.schedule import Schedule
from fieldwise.training.score import answer, evaluate_model, fit_stacker
from fieldwise.training.state import TrainingState
from fieldwise.training.step import ControlFlags, Stepper

__all__ = ["Initial", "fit", "looks", "resume"]

_LOOKS_SHARE, _ANSWERS_PER_STEP, _PARTS = 0.05, 3.0, (8, 4, 2)
_SLOWER = (
    "lower train.table.learning_rate and train.dense.learning_rate (of lr: those of [pretrain]), and train into a new "
    "folder"
)


def fit(
    stepper: Stepper,
    train: Batches,
    valid: Batches | None,
    config: TrainConfig,
    keep: Callable[[int], None],
    *,
    before_evaluation: Callable[[], None] | None = None,
    initial: Initial | None = None,
    has_learned: bool = False,
    checkpoints: Checkpoints | None = None,
    interrupt: Interrupt | None = None,
    report: Path | None = None,
    most_seconds: float | None = None,
    listen: Listener = ignore,
) -> TrainingState:
    """Train until the epochs are over or `config.patience` epochs brought nothing better.

    Parameters
    ----------
    stepper
        The model with its weights set, and what moves them.
    train, valid
        Batches to learn from, and to choose by. Without `valid` (or where its metric is undefined) the last epoch is
        kept.
    config
        Epochs, schedule, what to stop on, how often to save a checkpoint.
    keep
        Called with the number of the save when the weights are the best so far; saves them. The weights are those of
        `averaging` where the configuration asks for an average; afterwards the model has its own.
    before_evaluation
        Called at the end of an epoch, before its weights (or their average) are judged: sets those that no example
        trains.
    initial
        The model that training begins from, where its value on valid is known: it is kept until weights are better by
        more than noise, and valid is looked at within the first epoch, too (`looks`).
    has_learned
        Whether the weights come from these examples already: what is told of the first epoch is then not progressive.
    checkpoints
        Where training goes on from the newest, and saves its own.
    interrupt
        Looked at after every step and every batch of validation: where it is requested a checkpoint is saved and
        `Stopped` raised.
    report
        A file for the batch at which training stopped because something was not finite (`guard.write_batch`).
    most_seconds
        A budget: training ends before an epoch that would not fit, after the first.
    listen
        Called with every event.

    Raises
    ------
    UserError
        A loss, a gradient or a weight is not finite, or training has diverged (`guard.Divergence`); the checkpoints
        are those of before.
    Stopped
        On request.
    """
    history, interrupt, average = TrainingState(), interrupt or Interrupt(), None
    if config.average_epochs:
        average = Average(stepper.model, config.average_epochs, train.num_batches)
    if checkpoints is not None:
        history = resume(stepper, average, checkpoints)
    schedule = Schedule(config.schedule, config.epochs * train.num_batches, config.warmup)
    saver = Saver(stepper, average, checkpoints, config, train.num_batches)
    saver.resumed(history)
    if initial is not None and not (history.epochs or history.position or history.num_saves):
        history.best_value, history.num_saves = initial.value, 1
        initial.keep()
    early = looks(train, valid, config.patience) if initial is not None else []
    with stepper.at_work():
        while len(history.epochs) < config.epochs and not _enough(history, config.patience):
            if most_seconds is not None and stepper.world.first(lambda: _is_over_budget(history, most_seconds), bool):
                listen(Noted(f"training ended after {counted(len(history.epochs), 'epoch')}, for train.minutes"))
                break
            stop = train.num_batches
            if not history.epochs:
                stop = next((look for look in early if look > history.looked), stop)
            try:
                meter = Meter(history, train, stepper, listen, is_progressive=not (has_learned or history.epochs))
                _run_epoch(stepper, train, history, schedule, saver, interrupt, meter, stop)
            except NotFinite as error:
                raise _not_finite(error, stepper, train, history, saver, report) from None
            whole = stop == train.num_batches
            try:
                with average.applied() if average is not None else nullcontext():
                    if before_evaluation is not None:
                        before_evaluation()
                    valid_metrics = _validate(stepper, valid, interrupt) if valid else None
                    epoch = len(history.epochs) + 1
                    if whole:
                        _end_epoch(history, train.num_examples, valid_metrics, config.stop_on, listen)
                    value = goodness(valid_metrics, config.stop_on)
                    if whole and (value is None or history.own_value is None or value > history.own_value):
                        history.own_epoch, history.own_value = epoch, value
                    better = value is None or history.best_value is None or value > history.best_value
                    if better and initial is not None and history.keeps_initial:
                        better = initial.is_exceeded(stepper.model)
                    if better:
                        history.best_epoch, history.best_value = epoch, value
                        history.best_position = None if whole else stop
                        history.num_saves += 1
                        keep(history.num_saves)
                        listen(BestSaved(history.best_epoch))
                    history.looked = stop
            except Interrupted:
                saver.save(history)  # all batches of the epoch are done: what goes on from here begins with validation
                raise Stopped(
                    f"stopped in the validation of epoch {len(history.epochs) + 1}; "
                    "run the same command again to resume"
                ) from None
    return history


def _is_over_budget(history: TrainingState, most_seconds: float) -> bool:
    """Whether another epoch, at the mean pace of those before, would not fit; never before the first has ended."""
    if not history.epochs or history.position:
        return False
    spent = sum(epoch.seconds for epoch in history.epochs)
    return spent + history.seconds_per_epoch > most_seconds


class Initial(NamedTuple):
    """A model that training begins from: what valid says of it, more being better, what saves it as number 1, and
    whether a model whose value is higher owes that to more than noise.
    """

    value: float
    keep: Callable[[], None]
    is_exceeded: Callable[[ClickModel], bool]


def looks(train: Batches, valid: Batches | None, patience: int) -> list[int]:
    """Return after how many batches of the first epoch valid is looked at: an eighth, a quarter and a half of them, or
    the last of these.

    An answer costs a third of a step, and an epoch is followed by `patience` others at least: all looks together take
    at most a twentieth of the time.
    """
    if valid is None or not valid.num_examples:
        return []
    most = int(_LOOKS_SHARE * _ANSWERS_PER_STEP * (patience + 1) * train.num_examples / valid.num_examples)
    positions = {train.num_batches // part for part in _PARTS[max(len(_PARTS) - most, 0) :]}
    return sorted(positions - {0, train.num_batches})


def resume(stepper: Stepper, average: Average | None, checkpoints: Checkpoints) -> TrainingState:
    """Go back to the newest checkpoint, where there is one, and return what had happened until then.

    Raises
    ------
    ArtefactError
        None is whole, or the newest is one of another model.
    """
    checkpoint = checkpoints.newest()
    if checkpoint is None:
        return TrainingState()
    try:
        history = msgspec.convert(checkpoint.state, TrainingState)
        rows = checkpoint.table
        if average is not None:
            rows = average.restore(stepper.table.rows, rows, checkpoint.dense)
        stepper.restore(rows, checkpoint.dense)
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        raise ArtefactError(
            "the newest checkpoint is one of another training",
            where=checkpoints.folder,
            got=str(error) or type(error).__name__,
            fix="train again with --overwrite, or name another folder",
        ) from error
    return history


def _validate(stepper: Stepper, valid: Batches, interrupt: Interrupt) -> Metrics:
    """Return the metrics of the validation examples; the same pass says how much each member of a stack counts."""
    with closing(valid.epoch(0, keep=0)) as coming:
        if stepper.model.stacker is not None:
            return fit_stacker(stepper.model, interrupt.watch(coming), stepper.world)
        return evaluate_model(stepper.model, interrupt.watch(coming), stepper.world)


def _enough(history: TrainingState, patience: int) -> bool:
    """Whether epochs brought nothing better for long enough: twice as long while the initial model is the best, from
    whose optimum weights lose at first (docs/log/2026-11/initial-model.md#which-penalty-for-logistic-regression).
    """
    last = max(history.own_epoch, history.best_epoch)
    if history.keeps_initial:
        patience *= 2
    return bool(history.epochs) and len(history.epochs) - last >= patience


def _run_epoch(
    stepper: Stepper,
    train: Batches,
    history: TrainingState,
    schedule: Schedule,
    saver: Saver,
    interrupt: Interrupt,
    meter: Meter,
    stop: int,
) -> None:
    """Train on the batches of the epoch that are left until `stop` are done."""
    epoch = len(history.epochs)
    divergence = history.divergence = history.divergence or Divergence.of(stepper.num_classes)
    stepper.model.train()
    with stepper.reading(train, epoch, history.position, stop) as batches:
        for examples in _until_unreadable(batches, history, saver, interrupt):
            loss = stepper.step(examples, schedule.factor(epoch * train.num_batches + history.position))
            # Of the whole batch, the same on all workers: they need not agree on what it leads to.
            num_examples = train.size(history.position)
            diverged = divergence.add(loss, num_examples, stepper.class_weights, len(stepper.model.labels))
            meter.add(examples, num_examples, loss)
            if diverged:
                raise _diverged(divergence, stepper, history, saver)
            agreed = stepper.agree(ControlFlags(interrupt.requested, saver.is_late()))
            if saver.average is not None:
                saver.average.after(epoch * train.num_batches + history.position)
            if agreed.stop:
                saver.save(history)
                raise Stopped(
                    f"stopped in epoch {epoch + 1} after {history.position:,} of {train.num_batches:,} batches; "
                    "run the same command again to resume"
                )
            if agreed.save or saver.is_due(history):
                saver.save(history)
                meter.listen(CheckpointSaved(epoch + 1, history.position))
    stepper.refuse_written()


def _until_unreadable(
    batches: Iterator[Examples], history: TrainingState, saver: Saver, interrupt: Interrupt
) -> Iterator[Examples]:
    """Yield the batches; where one cannot be read, the cache being damaged or gone, save what was learned before it."""
    while True:
        try:
            examples = next(batches)
        except StopIteration:
            return
        except ArtefactError:
            if interrupt.alone and history.position:  # several workers save together, and the others read on
                saver.save(history)
            raise
        yield examples


def _not_finite(
    error: NotFinite,
    stepper: Stepper,
    train: Batches,
    history: TrainingState,
    saver: Saver,
    report: Path | None,
) -> UserError:
    """Return what to tell of a step that was not finite, after its batch was written to `report`."""
    epoch, batch = len(history.epochs) + 1, history.position + (not error.before)
    rows = next(train.rows(epoch - 1, batch - 1))
    if report is not None:
        facts = {
            "what": error.what,
            "epoch": epoch,
            "batch": batch,
            "loss": error.loss,
            "cache": str(train.cache.folder),
        }
        examples = train.cache.gather(rows)
        write_batch(report, answer(stepper.model, examples.batch), examples, rows, facts, stepper.model.labels)
    some = ", ".join(map(str, rows[:5].tolist())) + (", ..." if len(rows) > 5 else "")
    return UserError(
        f"training stopped: {error.what} is not a finite number",
        where=f"{stepper.model.config.kind}, epoch {epoch}, batch {batch}, examples {some} of {train.cache.folder}",
        expected="finite numbers",
        got=f"loss {error.loss:g}; {saver.newest()}",
        fix=_SLOWER + (f"; the batch is in {report}" if report is not None else ""),
    )


def _diverged(divergence: Divergence, stepper: Stepper, history: TrainingState, saver: Saver) -> UserError:
    """Return what to tell of a loss that stays high."""
    return UserError(
        "training diverged: the learning rate is too high",
        where=f"{stepper.model.config.kind}, epoch {len(history.epochs) + 1}, batch {history.position}",
        expected="a loss below that of predicting the base rate",
        got=f"{divergence.ratios[-1]:.3g} times that loss; {saver.newest()}",
        fix=_SLOWER,
    )


def _end_epoch(
    history: TrainingState, num_examples: int, valid: Metrics | None, stop_on: str, listen: Listener
) -> None:
    """Turn the epoch under way into one that is done."""
    seconds = max(history.seconds, 1e-9)
    end = EpochEnd(
        len(history.epochs) + 1,
        history.loss_sum / num_examples,
        seconds,
        num_examples / seconds,
        valid,
        stop_on=stop_on,
    )
    history.epochs.append(end)
    history.position, history.loss_sum, history.seconds = 0, 0.0, 0.0
    listen(end)
