"""Events that long-running functions pass to their listener."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fieldwise.metrics import Metrics

__all__ = [
    "BestSaved",
    "CheckpointSaved",
    "EpochEnd",
    "Event",
    "Listener",
    "Noted",
    "Outlook",
    "Preparing",
    "Progress",
    "Sampling",
    "SecondsRange",
    "StageStart",
    "Warned",
    "ignore",
    "register_callback",
    "tell",
]


class StageStart(NamedTuple):
    """A stage of training a model begins: ``pretrain``, ``sample``, ``train`` or ``evaluate``."""

    name: str
    model: str


class Preparing(NamedTuple):
    """Progress of a pass over a raw log, e.g. ``fit`` or ``transform``, or of the search for ``crosses``.

    Attributes
    ----------
    name
        The pass.
    rows, total
        Rows done so far (pairs of fields for ``crosses``), and all of them; None if not known.
    seconds
        Since the pass began.
    unit
        What is counted.
    """

    name: str
    rows: int
    total: int | None
    seconds: float
    unit: str = "rows"


class Progress(NamedTuple):
    """Progress of an epoch: `position` of `total` examples, the mean loss so far, and the epoch before.

    `auc` is that of the epoch's examples so far, each answered before its batch was learned from; None before both
    labels have come (`training.meter.ProgressiveAuc`). It `is_progressive`, as of new examples, in the first epoch of
    weights that begin at random: those of logistic regression have learned from these examples.
    """

    epoch: int
    position: int
    total: int
    loss: float
    examples_per_second: float
    seconds_left: float
    before: EpochEnd | None
    auc: float | None = None
    is_progressive: bool = False


class Sampling(NamedTuple):
    """Progress of Gibbs sampling: `sweep` of at most `total` sweeps over the training examples, and the logloss of the
    validation rows by the mean so far; None as long as nobody has looked. What is left is not known after the first
    sweep of a process, which compiles.
    """

    sweep: int
    total: int
    seconds_left: float | None
    logloss: float | None = None


class EpochEnd(NamedTuple):
    """An epoch has ended; `seconds` and `examples_per_second` exclude validation and the compiling of kernels.

    Where logistic regression is solved, an epoch is a penalty, `l2`, or, where `own`, penalties of fields' own that
    followed from the best of these. `stop_on` is the metric that decides.
    """

    epoch: int
    loss: float
    seconds: float
    examples_per_second: float
    valid: Metrics | None
    l2: float | None = None
    stop_on: str = "auc"
    own: bool = False


class BestSaved(NamedTuple):
    """The weights of this epoch are the best so far and have been saved."""

    epoch: int


class CheckpointSaved(NamedTuple):
    """What was learned so far is safe: training would go on from here."""

    epoch: int
    position: int


class SecondsRange(NamedTuple):
    """A range for a duration, in seconds."""

    least: float
    most: float


class Outlook(NamedTuple):
    """The models that a comparison is about to train, and about how long they take.

    Attributes
    ----------
    first, later
        The models whose results are shown first, and the other ones.
    until_first, until_all
        Time until the first models and until all models are trained.
    """

    first: tuple[str, ...]
    later: tuple[str, ...]
    until_first: SecondsRange
    until_all: SecondsRange


class Warned(NamedTuple):
    """A warning."""

    text: str


class Noted(NamedTuple):
    """An informational message."""

    text: str


Event = StageStart | Progress | Sampling | EpochEnd | BestSaved | CheckpointSaved | Preparing | Outlook | Warned | Noted
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Do nothing; the default listener."""


_CALLBACKS: list[Listener] = []


def register_callback(callback: Listener) -> None:
    """Register a callback for all events of the command line; Python functions take it as `listen`.

    Parameters
    ----------
    callback
        Called with every event, in the thread of the job; what it raises ends the job.

    Examples
    --------
    >>> register_callback(print)  # doctest: +SKIP
    """
    if callback not in _CALLBACKS:
        _CALLBACKS.append(callback)


def tell(event: Event) -> None:
    """Call all registered callbacks."""
    for callback in _CALLBACKS:
        callback(event)
