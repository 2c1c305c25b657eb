"""``fieldwise`` with one kind of its work slowed down, so that a signal can be sent into it; a script of its own.

    python -m tests.crash.slow PLACE ARGUMENTS...

Prints "there" when PLACE, one of `PLACES`, is reached. Everything else is as it is.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from fieldwise.cli import main
from fieldwise.training import loop
from fieldwise.training.step import Stepper
from fieldwise.verbs import passes, train

_reached = False


def pause(seconds: float = 0.2) -> None:
    global _reached
    if not _reached:
        print("there", flush=True)
        _reached = True
    time.sleep(seconds)


def slow(place: Any, name: str, when: Callable[..., bool] = lambda *_: True, seconds: float = 0.2) -> None:
    """Let a function pause before it is called."""
    function = getattr(place, name)

    def call(*arguments: Any, **options: Any) -> Any:
        if when(*arguments):
            pause(seconds)
        return function(*arguments, **options)

    setattr(place, name, call)


def slow_evaluation(place: Any) -> None:
    """Let an evaluation pause before every one of its batches, and have at least 100 of them."""
    evaluate = place.evaluate_model
    place._EVALUATION_BATCH = train._EVALUATION_BATCH = 3

    def slowly(examples: Any) -> Any:
        for part in examples:
            pause()
            yield part

    place.evaluate_model = lambda model, examples: evaluate(model, slowly(examples))


PLACES: dict[str, Callable[[], None]] = {
    "fit": lambda: slow(passes, "_learn", seconds=3),
    "transform": lambda: slow(passes, "_encode", seconds=3),
    "pretrain": lambda: slow(Stepper, "step", lambda stepper, *_: stepper.model.config.kind == "lr"),
    "train": lambda: slow(Stepper, "step", lambda stepper, *_: stepper.model.config.kind != "lr"),
    "validation": lambda: slow_evaluation(loop),
    "evaluation": lambda: slow_evaluation(train),
}

if __name__ == "__main__":
    PLACES[sys.argv[1]]()
    main(sys.argv[2:])
