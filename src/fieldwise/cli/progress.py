"""Progress: a live display on a terminal (standard error) or in a notebook, otherwise a plain line every few seconds.

::

    LC-DNN  epoch 2  ━━━━━━━━━━━━━━━━━━━━━━╸━━━━━━━━━━━━━━━━  62%  412k examples/s  0:31 left
    loss 0.3333  training AUC 0.8912  valid AUC 0.8750  best AUC 0.8750 of epoch 1
    memory 1.21 GB  checkpoint 2:10 ago
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numba.core.event
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fieldwise.cli.notebook import NotebookLive
from fieldwise.cli.output import compact, duration
from fieldwise.events import (
    BestSaved,
    CheckpointSaved,
    EpochEnd,
    Event,
    Listener,
    Noted,
    Outlook,
    Preparing,
    Progress,
    Sampling,
    SecondsRange,
    StageStart,
    Warned,
    tell,
)
from fieldwise.io.memory import readable_bytes, resident_bytes
from fieldwise.metrics.own import metric_value
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
    "compare": "comparing",
    "search": "searching for what is left",
}


_STAGES = {
    "train": "training",
    "sample": "sampling",
    "evaluate": "evaluating",
    "read": "reading the day",
    "report": "drawing the report",
}


@contextmanager
def show_progress(quiet: bool = False) -> Iterator[Listener]:
    """Yield a listener that shows events on standard error, or nothing if `quiet`."""
    if quiet:
        yield tell
        return
    console = Console(stderr=True, highlight=False)
    with ExitStack() as stack:
        live: Live | NotebookLive | None = None
        if console.is_jupyter:
            live = stack.enter_context(NotebookLive())
        elif console.is_terminal:
            live = stack.enter_context(Live(console=console, transient=True, redirect_stdout=False))
        reporter = Reporter(console, live)
        stack.enter_context(_notes_of_the_library(reporter))
        stack.enter_context(numba.core.event.install_listener("numba:compile", _Compilation(reporter)))
        yield reporter


@contextmanager
def aside(listener: Listener) -> Iterator[None]:
    """Hide the live line while something is printed to standard output."""
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
    """A listener that writes events as lines of text.

    Parameters
    ----------
    console
        Where lines are written.
    live
        The live line; None if the output is not a terminal.
    """

    def __init__(self, console: Console, live: Live | NotebookLive | None = None) -> None:
        self.console, self.live = console, live
        self.label = ""
        self.pretraining = False
        self.wrote_at = time.monotonic()
        self.best = ""
        self.last: EpochEnd | None = None
        self.saved_at: float | None = None

    def __call__(self, event: Event) -> None:
        """Show an event."""
        tell(event)
        if isinstance(event, StageStart):
            self._begin(event)
        elif isinstance(event, Preparing):
            self.moment(_preparing(event))
        elif isinstance(event, Progress):
            self.moment(f"{self.label}  {_progress(event)}", self._display(event))
        elif isinstance(event, Sampling):
            loss = "" if event.logloss is None else f"  validation logloss {event.logloss:.4f}"
            left = "" if event.seconds_left is None else f"  at most {duration(event.seconds_left)} left"
            self.moment(f"{self.label} (sampling)  sweep {event.sweep} of {event.total}{loss}{left}")
        elif isinstance(event, EpochEnd):
            self.last = event
            self.line(f"{self.label}  {_epoch(event)}")
        elif isinstance(event, BestSaved):
            self.best = self._best(event)
        elif isinstance(event, CheckpointSaved):
            self.saved_at = time.monotonic()
        elif isinstance(event, Outlook):
            self.line(_outlook(event))
        elif isinstance(event, Noted):
            self.line(event.text)
        elif isinstance(event, Warned):
            self.line(f"warning: {event.text}")

    def moment(self, text: str, display: RenderableType | None = None) -> None:
        """Show a transient state: live, as `display` if given, or as a line if the last one is some seconds old."""
        if self.live is not None:
            self.live.update(display or Text(text, no_wrap=True, overflow="ellipsis"))
        elif time.monotonic() - self.wrote_at >= _SECONDS_BETWEEN_LINES:
            self.line(text)

    def line(self, text: str) -> None:
        """Write a permanent line."""
        self.console.print(Text(text), soft_wrap=self.live is None)
        self.wrote_at = time.monotonic()

    def _display(self, event: Progress) -> RenderableType:
        """Return what a terminal shows of training: a bar, and what one looks at below it."""
        first = Table.grid(padding=(0, 2))
        share = event.position / event.total if event.total else 0.0
        bar = ProgressBar(total=1.0, completed=share, width=None if event.total else 1)
        speed = f"{compact(event.examples_per_second)} examples/s"
        first.add_row(
            Text(f"{self.label}  epoch {event.epoch}"),
            bar,
            Text(f"{share:4.0%}"),
            Text(speed),
            Text(f"{duration(event.seconds_left)} left"),
        )
        first.columns[1].ratio = 1
        for column in (first.columns[0], *first.columns[2:]):
            column.no_wrap = True
        memory = resident_bytes()
        of_model = [*_learned(event), self.best]
        of_process = [
            "" if memory is None else f"memory {readable_bytes(memory)}",
            "" if self.saved_at is None else f"checkpoint {duration(time.monotonic() - self.saved_at)} ago",
        ]
        lines = ("  ".join(filter(None, parts)) for parts in (of_model, of_process))
        return Group(first, *(Text(line, no_wrap=True, overflow="ellipsis", style="dim") for line in lines if line))

    def _best(self, event: BestSaved) -> str:
        """Return what is known of the weights that are kept; of a look within an epoch, no metrics were told."""
        last = self.last
        if last is None or last.epoch != event.epoch:
            return f"best so far in epoch {event.epoch}"
        return f"best {' '.join(_valid(last)).removeprefix('valid ')} of epoch {event.epoch}"

    def _begin(self, stage: StageStart) -> None:
        # Pretraining announces itself, then appears as the training of an ordinary model; or not at all if that model
        # has already been trained.
        if stage.name == "pretrain":
            self.pretraining = True
            return
        pretraining = self.pretraining and stage.model == "lr"
        self.label = model_label(stage.model) + (" (pretraining)" if pretraining else "")
        self.pretraining, self.best, self.last, self.saved_at = False, "", None, None
        self.moment(f"{self.label}  {_STAGES.get(stage.name, stage.name)}")


def _preparing(event: Preparing) -> str:
    what = _PASSES.get(event.name, event.name)
    rate = event.rows / event.seconds if event.seconds else 0.0
    speed = f"{compact(rate)} {event.unit}/s"
    if not event.total:
        return f"{what}  {compact(event.rows)} {event.unit}  {speed}"
    left = f"{duration((event.total - event.rows) / rate)} left" if rate else ""
    return f"{what}  {event.rows / event.total:4.0%} of {compact(event.total)} {event.unit}  {speed}  {left}"


def _outlook(event: Outlook) -> str:
    def range_of(seconds: SecondsRange) -> str:
        return f"about {duration(seconds.least)} to {duration(seconds.most)} at the current load of this machine"

    if not (event.first and event.later):
        return f"training {', '.join(event.first or event.later)}: {range_of(event.until_all)}"
    return (
        f"training {', '.join(event.first)} first, results after {range_of(event.until_first)}; "
        f"then {', '.join(event.later)}, finished after {range_of(event.until_all)}"
    ).replace(" at the current load of this machine", "", 1)


def _progress(event: Progress) -> str:
    parts = [
        f"epoch {event.epoch}",
        f"{event.position / event.total:4.0%}" if event.total else "",
        f"{compact(event.examples_per_second)} examples/s",
        f"{duration(event.seconds_left)} left",
        *_learned(event),
    ]
    return "  ".join(part for part in parts if part)


def _learned(event: Progress) -> list[str]:
    """Return what is known of the model; the AUC of examples that were learned from before is not a progressive one."""
    kind = "progressive" if event.is_progressive else "training"
    return [
        f"loss {event.loss:.4f}",
        *([] if event.auc is None else [f"{kind} AUC {event.auc:.4f}"]),
        *(_valid(event.before) if event.before is not None else []),
    ]


def _epoch(event: EpochEnd) -> str:
    parts = [
        f"epoch {event.epoch} done in {event.seconds:.1f} s  {compact(event.examples_per_second)} examples/s"
        if event.l2 is None
        else f"{'penalties by field' if event.own else f'penalty {event.l2:g}'} solved in {event.seconds:.1f} s",
        f"loss {event.loss:.4f}",
        *_valid(event),
    ]
    return "  ".join(parts)


def _valid(event: EpochEnd) -> list[str]:
    metrics, stop_on = event.valid, event.stop_on
    if metrics is None:
        return []
    if metrics.labels:
        values = [f"{label} {metrics.labels[label].auc:.4f}" for label in metrics.labels if metrics.labels[label].auc]
        return [f"valid AUC {', '.join(values)}"] if values else []
    decides = metric_value(metrics, stop_on)
    if stop_on != "auc" and decides is not None:
        return [f"valid {stop_on} {decides:.4f}"]
    if metrics.auc is not None:
        return [f"valid AUC {metrics.auc:.4f}"]
    return [] if metrics.logloss is None else [f"valid logloss {metrics.logloss:.4f}"]


class _Compilation(numba.core.event.Listener):
    """Reports, once, that kernels are being compiled; numba calls it for kernels that are not cached."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self.said = False

    def on_start(self, event: object) -> None:
        if not self.said:
            self.said = True
            self.reporter.line("compiling kernels for this machine; they are cached on disk")

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
    """Show the log records of the library."""
    logger = logging.getLogger("fieldwise")
    handler, level = _NoteHandler(reporter), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
