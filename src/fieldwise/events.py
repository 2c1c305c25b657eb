"""What training says while it runs: one stream of events, any number of listeners."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fieldwise.metrics import Metrics

__all__ = [
    "EpochEnd",
    "Event",
    "Kept",
    "Listener",
    "Noted",
    "Outlook",
    "Preparing",
    "Progress",
    "Sampling",
    "Seconds",
    "Stage",
    "Warned",
    "ignore",
    "register_callback",
    "tell",
]


class Stage(NamedTuple):
    """A named piece of work begins: ``pretrain``, ``sample``, ``train``, ``evaluate``."""

    name: str
    model: str


class Preparing(NamedTuple):
    """A pass over the raw log (``fit`` or ``transform``): rows so far, of how many where that is known; or a search for
    ``crosses``, in pairs of fields.
    """

    name: str
    rows: int
    total: int | None
    seconds: float
    unit: str = "rows"


class Progress(NamedTuple):
    """So far: `position` of `total` examples in this epoch, the mean loss, speed and what is left of the epoch."""

    epoch: int
    position: int
    total: int
    loss: float
    examples_per_second: float
    seconds_left: float
    valid: Metrics | None


class Sampling(NamedTuple):
    """So far: `sweep` of `total` sweeps over the training examples, and what is left."""

    sweep: int
    total: int
    seconds_left: float


class EpochEnd(NamedTuple):
    """One pass is done. `seconds` is training alone, without validation."""

    epoch: int
    loss: float
    seconds: float
    examples_per_second: float
    valid: Metrics | None


class Kept(NamedTuple):
    """The weights of this epoch are the best so far, and saved."""

    epoch: int


class Seconds(NamedTuple):
    """About how long something takes: at least and at most."""

    least: float
    most: float


class Outlook(NamedTuple):
    """What a comparison is about to train: models whose results are shown first, and those after them; with what the
    first take, and all.
    """

    first: tuple[str, ...]
    later: tuple[str, ...]
    until_first: Seconds
    until_all: Seconds


class Warned(NamedTuple):
    """Something that a person should know, and that stops nothing."""

    text: str


class Noted(NamedTuple):
    """Something that a person may like to know."""

    text: str


Event = Stage | Progress | Sampling | EpochEnd | Kept | Preparing | Outlook | Warned | Noted
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Listen to nothing."""


_CALLBACKS: list[Listener] = []


def register_callback(callback: Listener) -> None:
    """Let `callback` be called with every event of the command line; functions in Python take it as `listen`."""
    if callback not in _CALLBACKS:
        _CALLBACKS.append(callback)


def tell(event: Event) -> None:
    """Call every callback that was registered."""
    for callback in _CALLBACKS:
        callback(event)
