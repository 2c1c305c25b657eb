"""Progress on standard error: one line that moves on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numba.core.event
from rich.console import Console
from rich.live import Live
from rich.text import Text

from fieldwise.cli.names import compact, duration
from fieldwise.events import (
    EpochEnd,
    Event,
    Listener,
    Noted,
    Outlook,
    Preparing,
    Progress,
    Sampling,
    Seconds,
    Stage,
    Warned,
    tell,
)
from fieldwise.metrics import Metrics
from fieldwise.models.registry import model_label

__all__ = ["Reporter", "aside", "show_progress"]

_SECONDS_BETWEEN_LINES = 5.0
_PASSES = {
    "fit": "reading the log",
    "fit again": "reading the log again",
    "check": "reading the log",
    "transform": "encoding the log",
    "evaluate": "evaluating",
    "predict": "predicting",
}


@contextmanager
def show_progress(quiet: bool = False) -> Iterator[Listener]:
    """Yield a listener that shows events on standard error; one that shows nothing where `quiet`."""
    if quiet:
        yield tell
        return
    console = Console(stderr=True, highlight=False)
    with ExitStack() as stack:
        live = None
        if console.is_terminal:
            live = stack.enter_context(Live(console=console, transient=True, redirect_stdout=False))
        reporter = Reporter(console, live)
        stack.enter_context(_notes_of_the_library(reporter))
        stack.enter_context(numba.core.event.install_listener("numba:compile", _Compilation(reporter)))
        yield reporter


@contextmanager
def aside(listener: Listener) -> Iterator[None]:
    """Keep the line that moves away while something is printed to standard output."""
    live = listener.live if isinstance(listener, Reporter) else None
    if live is None:
        yield
        return
    live.stop()
    try:
        yield
    finally:
        live.start()


class Reporter:
    """A listener that writes lines.

    Parameters
    ----------
    console
        Where to.
    live
        The line that moves; None where there is no terminal.
    """

    def __init__(self, console: Console, live: Live | None = None) -> None:
        self.console, self.live = console, live
        self.label = ""
        self.pretraining = False
        self.wrote_at = time.monotonic()

    def __call__(self, event: Event) -> None:
        """Show an event."""
        tell(event)
        if isinstance(event, Stage):
            self._begin(event)
        elif isinstance(event, Preparing):
            self.moment(_preparing(event))
        elif isinstance(event, Progress):
            self.moment(f"{self.label}  {_progress(event)}")
        elif isinstance(event, Sampling):
            left = duration(event.seconds_left)
            self.moment(f"{self.label} (pretraining)  sweep {event.sweep} of {event.total}  {left} left")
        elif isinstance(event, EpochEnd):
            self.line(f"{self.label}  {_epoch(event)}")
        elif isinstance(event, Outlook):
            self.line(_outlook(event))
        elif isinstance(event, Noted):
            self.line(event.text)
        elif isinstance(event, Warned):
            self.line(f"warning: {event.text}")

    def moment(self, text: str) -> None:
        """Show what will have changed soon: in the line that moves, or as a line if the last is some seconds old."""
        if self.live is not None:
            self.live.update(Text(text, no_wrap=True, overflow="ellipsis"))
        elif time.monotonic() - self.wrote_at >= _SECONDS_BETWEEN_LINES:
            self.line(text)

    def line(self, text: str) -> None:
        """Write a line that stays."""
        self.console.print(Text(text), soft_wrap=self.live is None)
        self.wrote_at = time.monotonic()

    def _begin(self, stage: Stage) -> None:
        # A pretraining announces itself, then comes as the training of a model like any other; or not at all, where
        # that model is there already.
        if stage.name == "pretrain":
            self.pretraining = True
            return
        pretraining = self.pretraining and stage.model == "lr"
        self.label = model_label(stage.model) + (" (pretraining)" if pretraining else "")
        self.pretraining = False
        self.moment(f"{self.label}  {stage.name}")


def _preparing(event: Preparing) -> str:
    what = _PASSES.get(event.name, event.name)
    rate = event.rows / event.seconds if event.seconds else 0.0
    speed = f"{compact(rate)} {event.unit}/s"
    if not event.total:
        return f"{what}  {compact(event.rows)} {event.unit}  {speed}"
    left = f"{duration((event.total - event.rows) / rate)} left" if rate else ""
    return f"{what}  {event.rows / event.total:4.0%} of {compact(event.total)} {event.unit}  {speed}  {left}"


def _outlook(event: Outlook) -> str:
    def range_of(seconds: Seconds) -> str:
        return f"about {duration(seconds.least)} to {duration(seconds.most)} on this machine as it is now"

    if not (event.first and event.later):
        return f"training {', '.join(event.first or event.later)}: {range_of(event.until_all)}"
    return (
        f"training first {', '.join(event.first)}, whose results come after {range_of(event.until_first)}; "
        f"then {', '.join(event.later)}: all done after {range_of(event.until_all)}"
    ).replace(" on this machine as it is now", "", 1)


def _progress(event: Progress) -> str:
    parts = [
        f"epoch {event.epoch}",
        f"{event.position / event.total:4.0%}" if event.total else "",
        f"{compact(event.examples_per_second)} examples/s",
        f"{duration(event.seconds_left)} left",
        f"loss {event.loss:.4f}",
        *_valid(event.valid),
    ]
    return "  ".join(part for part in parts if part)


def _epoch(event: EpochEnd) -> str:
    parts = [
        f"epoch {event.epoch} done in {event.seconds:.1f} s",
        f"{compact(event.examples_per_second)} examples/s",
        f"loss {event.loss:.4f}",
        *_valid(event.valid),
    ]
    return "  ".join(parts)


def _valid(metrics: Metrics | None) -> list[str]:
    if metrics is None:
        return []
    if metrics.auc is not None:
        return [f"valid AUC {metrics.auc:.4f}"]
    return [] if metrics.logloss is None else [f"valid logloss {metrics.logloss:.4f}"]


class _Compilation(numba.core.event.Listener):
    """Says, once, that time goes into compiling: numba tells it of what it does not find on disk."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self.said = False

    def on_start(self, event: object) -> None:
        if not self.said:
            self.said = True
            self.reporter.line("compiling kernels for this machine, once: they are kept on disk for the next time")

    def on_end(self, event: object) -> None:
        pass


class _NoteHandler(logging.Handler):
    def __init__(self, reporter: Reporter) -> None:
        super().__init__(logging.INFO)
        self.reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        self.reporter.line(record.getMessage())


@contextmanager
def _notes_of_the_library(reporter: Reporter) -> Iterator[None]:
    """Show what the library logs."""
    logger = logging.getLogger("fieldwise")
    handler, level = _NoteHandler(reporter), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
