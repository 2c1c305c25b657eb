"""``fieldwise`` with one kind of its work slowed down, so that a signal can be sent into it; a script of its own.

    python -m tests.crash.slow PLACE ARGUMENTS...

Prints "there" when PLACE, one of `PLACES`, is reached. Everything else is as it is.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from fieldwise.cli import main
from fieldwise.jobs import evaluate
from fieldwise.jobs.check import check
from fieldwise.jobs.predict import predict
from fieldwise.jobs.prepare import passes
from fieldwise.jobs.train import train
from fieldwise.training.linear import LinearStepper
from fieldwise.training.posterior import Sampler
from fieldwise.training.step import Stepper

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


def slow_evaluation(when: Callable[[], bool]) -> None:
    """Let an evaluation pause before every one of its batches, and have at least 100 of them."""
    evaluate = Stepper.evaluate
    train._EVALUATION_BATCH = 3

    def slowly(examples: Any) -> Any:
        for part in examples:
            if when():
                pause()
            yield part

    Stepper.evaluate = lambda stepper, examples: evaluate(stepper, slowly(examples))


def is_validating() -> bool:
    """Return whether the loop of training is among the callers."""
    frame = sys._getframe()
    while frame is not None and frame.f_code.co_name != "_validate":
        frame = frame.f_back
    return frame is not None


PLACES: dict[str, Callable[[], None]] = {
    "fit": lambda: slow(passes, "_learn", seconds=3),
    "transform": lambda: slow(passes, "_encode_record", seconds=3),
    "pretrain": lambda: slow(LinearStepper, "step"),
    "train": lambda: slow(Stepper, "step", lambda stepper, *_: not isinstance(stepper, LinearStepper)),
    "validation": lambda: slow_evaluation(is_validating),
    "evaluation": lambda: slow_evaluation(lambda: not is_validating()),
    "sample": lambda: slow(Sampler, "sweep"),
    "check": lambda: slow(check, "_read", seconds=3),
    "evaluate": lambda: slow(evaluate, "predict_batches", seconds=3),
    "predict": lambda: slow(predict, "predict_batches", seconds=3),
}

if __name__ == "__main__":
    # A shell that starts the tests in its background lets them ignore Ctrl-C, and so would this process.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    PLACES[sys.argv[1]]()
    main(sys.argv[2:])
