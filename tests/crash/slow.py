"""``fieldwise`` that waits at one kind of its work, so that a signal can be sent into it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, NamedTuple

from fieldwise.cli import main
from fieldwise.jobs import evaluate
from fieldwise.jobs.check import check
from fieldwise.jobs.predict.answers import Answers
from fieldwise.jobs.prepare import passes
from fieldwise.jobs.train import model
from fieldwise.kernels.newton import LogisticProblem
from fieldwise.training import loop
from fieldwise.training.gibbs import GibbsSampler
from fieldwise.training.step import Stepper


class Gate(NamedTuple):
    """Where the work waits: `there` says that it does, and `go_on` lets it go on."""

    there: Event
    go_on: Event

    def wait(self) -> None:
        self.there.set()
        self.go_on.wait()


def wait_before(gate: Gate, place: Any, name: str, when: Callable[..., bool] = lambda *_: True) -> None:
    """Let a function wait before it is called."""
    function = getattr(place, name)

    def call(*arguments: Any, **options: Any) -> Any:
        if when(*arguments):
            gate.wait()
        return function(*arguments, **options)

    setattr(place, name, call)


def wait_in_evaluation(gate: Gate, when: Callable[[], bool]) -> None:
    """Let an evaluation wait before its first batch, and have at least 100 of them."""
    evaluate = model.evaluate_model
    model._EVALUATION_BATCH = 3

    def watched(examples: Any) -> Any:
        for part in examples:
            if when():
                gate.wait()
            yield part

    def watching(own: Any, examples: Any, *others: Any) -> Any:
        return evaluate(own, watched(examples), *others)

    model.evaluate_model = loop.evaluate_model = watching


def is_validating() -> bool:
    """Return whether the loop of training is among the callers."""
    frame = sys._getframe()
    while frame is not None and frame.f_code.co_name != "_validate":
        frame = frame.f_back
    return frame is not None


PLACES: dict[str, Callable[[Gate], None]] = {
    "fit": lambda gate: wait_before(gate, passes, "_learn"),
    "transform": lambda gate: wait_before(gate, passes, "_encode_record"),
    "pretrain": lambda gate: wait_before(gate, Stepper, "step", lambda own, *_: own.model.logistic_bias is not None),
    "solve": lambda gate: wait_before(gate, LogisticProblem, "_sweep"),
    "train": lambda gate: wait_before(gate, Stepper, "step", lambda own, *_: own.model.logistic_bias is None),
    "validation": lambda gate: wait_in_evaluation(gate, is_validating),
    "evaluation": lambda gate: wait_in_evaluation(gate, lambda: not is_validating()),
    "sample": lambda gate: wait_before(gate, GibbsSampler, "sweep"),
    "check": lambda gate: wait_before(gate, check, "_read"),
    "evaluate": lambda gate: wait_before(gate, evaluate, "encode_log"),
    "predict": lambda gate: wait_before(gate, Answers, "table"),
}


def run(place: str, gate: Gate, arguments: list[str], messages: Path) -> None:
    """Run ``fieldwise ARGUMENTS`` up to the end of the process; what it says on standard error goes to a file."""
    with messages.open("wb") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    # A shell that starts the tests in its background lets them ignore Ctrl-C, and so would this process.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    PLACES[place](gate)
    main(arguments)
