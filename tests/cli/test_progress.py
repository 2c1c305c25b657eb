"""Progress: plain lines now and then, or one line that moves; on standard error either way."""

from __future__ import annotations

import io
import logging
import re
import sys
import types

import numba
import pytest
import rich.console
from rich.console import Console
from rich.live import Live

from fieldwise.cli import progress
from fieldwise.cli.progress import Reporter, aside, show_progress
from fieldwise.events import (
    BestSaved,
    CheckpointSaved,
    EpochEnd,
    Outlook,
    Preparing,
    Progress,
    SecondsRange,
    StageStart,
    Warned,
    tell,
)
from fieldwise.metrics import Metrics

VALID = Metrics.of(100, 100.0, {"auc": 0.875, "logloss": 0.5}, "no groups")
MOMENT = Progress(2, 25_000, 100_000, 0.33333, 412_345.0, 75.0, EpochEnd(1, 0.4, 9.0, 1e5, VALID), 0.8912)


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def plain(clock):
    console = Console(file=io.StringIO(), highlight=False)
    return Reporter(console), console.file


class Output:
    """Stands for the output of a notebook's cell."""

    def __init__(self, shown):
        self.shown = shown

    def update(self, content):
        self.shown[-1] = content


def test_a_notebook_has_one_output_that_changes_and_is_taken_away(monkeypatch, clock):
    shown, printed = [], []

    def display(content, display_id=False):
        (shown if display_id else printed).append(content)
        return Output(shown)

    fake = types.SimpleNamespace(HTML=str, display=display)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(display=fake))
    monkeypatch.setitem(sys.modules, "IPython.display", fake)
    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    with show_progress() as listen:
        listen(StageStart("train", "lc-wide-deep"))
        for clock[0] in (10.0, 10.1, 11.0):
            listen(MOMENT._replace(loss=clock[0]))
        [output] = shown
        assert "412k examples/s" in output
        assert "loss 11.0000" in output
        listen(EpochEnd(2, 0.25, 9.0, 1e5, VALID))
    assert shown == [""]
    assert len(printed) == 1, "the epoch's line stays"


def test_a_moment_has_all_that_one_waits_for(plain, clock):
    report, written = plain
    report(StageStart("train", "lc-wide-deep"))
    clock[0] = 10
    report(MOMENT)
    assert written.getvalue() == (
        "LC-W&D  epoch 2   25%  412k examples/s  1:15 left  loss 0.3333  training AUC 0.8912  valid AUC 0.8750\n"
    )


def test_auc_is_progressive_as_long_as_no_example_was_learned_from_before(plain, clock):
    report, written = plain
    for clock[0], moment in ((10, MOMENT), (20, MOMENT._replace(auc=None))):
        report(moment._replace(epoch=1, before=None, is_progressive=True))
    first, second = written.getvalue().splitlines()
    assert first.endswith("loss 0.3333  progressive AUC 0.8912")
    assert second.endswith("loss 0.3333")


def test_what_is_to_come_is_written_with_a_range_of_times(plain):
    report, written = plain
    report(Outlook(("lr", "dnn"), ("lc-dnn-16",), SecondsRange(20, 130), SecondsRange(200, 600)))
    report(Outlook((), ("lc-dnn-16",), SecondsRange(0, 0), SecondsRange(200, 600)))
    assert written.getvalue().splitlines() == [
        "training lr, dnn first, results after about 0:20 to 2:10; then lc-dnn-16, finished after "
        "about 3:20 to 10:00 at the current load of this machine",
        "training lc-dnn-16: about 3:20 to 10:00 at the current load of this machine",
    ]


def test_without_a_terminal_moments_come_every_few_seconds_only(plain, clock):
    report, written = plain
    for clock[0] in range(12):
        report(MOMENT)
    assert written.getvalue().count("\n") == 2


def test_the_line_that_moves_stands_aside_for_what_is_printed():
    console = Console(file=io.StringIO(), force_terminal=True)
    with Live(console=console, transient=True) as live, aside(Reporter(console, live)):
        assert not live.is_started
    with aside(tell):
        pass


def test_the_end_of_an_epoch_is_always_written(plain):
    report, written = plain
    report(StageStart("train", "lr"))
    for epoch in (1, 2):
        report(EpochEnd(epoch, 0.4, 3.25, 1_000_000.0, None))
        report(BestSaved(epoch))
    assert written.getvalue().splitlines() == [
        "LR  epoch 1 done in 3.2 s  1M examples/s  loss 0.4000",
        "LR  epoch 2 done in 3.2 s  1M examples/s  loss 0.4000",
    ]


def test_the_training_that_a_model_starts_from_is_called_pretraining(plain):
    report, written = plain
    end = EpochEnd(1, 0.4, 1.0, 10.0, VALID)
    for event in (StageStart("pretrain", "lr"), StageStart("train", "lr"), end, StageStart("train", "lc-dnn"), end):
        report(event)
    # Where it is there already, it is announced and then not trained.
    for event in (StageStart("pretrain", "lr"), StageStart("train", "lc-resnet"), end, StageStart("train", "lr"), end):
        report(event)
    labels = [line.split("  ")[0] for line in written.getvalue().splitlines()]
    assert labels == ["LR (pretraining)", "LC-DNN", "LC-ResNet", "LR"]


def test_a_warning_is_always_written(plain):
    report, written = plain
    report(Warned("the log has no valid part"))
    assert written.getvalue() == "warning: the log has no valid part\n"


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (Preparing("fit", 2_000_000, None, 4.0), "reading the log  2M rows  500k rows/s"),
        (Preparing("transform", 1_000, 4_000, 1.0), "encoding the log   25% of 4k rows  1k rows/s  0:03 left"),
        (Preparing("transform", 0, 4_000, 0.0), "encoding the log    0% of 4k rows"),
    ],
)
def test_a_pass_over_the_log_says_how_far_it_is(plain, clock, event, expected):
    report, written = plain
    clock[0] = 10
    report(event)
    assert written.getvalue().startswith(expected)


@pytest.mark.parametrize(
    ("figures", "expected"),
    [({"auc": 0.7}, "valid AUC 0.7000"), ({"logloss": 0.5}, "valid logloss 0.5000"), ({}, "training AUC 0.8912")],
)
def test_the_last_validation_is_shown_by_what_is_defined_of_it(plain, clock, figures, expected):
    report, written = plain
    clock[0] = 10
    report(MOMENT._replace(before=MOMENT.before._replace(valid=Metrics.of(1, 1.0, figures, "one class"))))
    assert written.getvalue().rstrip().endswith(expected)


def test_on_a_terminal_one_line_moves_and_the_ends_of_epochs_stay():
    console = Console(file=io.StringIO(), force_terminal=True, width=60, highlight=False)
    with Live(console=console, transient=True, auto_refresh=False) as live:
        report = Reporter(console, live)
        report(StageStart("train", "lr"))
        for _ in range(3):
            report(MOMENT)
            live.refresh()
        report(EpochEnd(1, 0.4, 3.25, 1_000_000.0, None))
    shown = console.file.getvalue()
    assert "epoch 1 done" in shown
    # The long moment is cut, never broken into two lines that could not be taken back.
    moments = [line for line in re.split(r"[\r\n]", re.sub(r"\x1b\[[^m]*?[A-Za-z]", "", shown)) if "412k" in line]
    assert moments
    assert all(len(line) <= 60 for line in moments)


def test_progress_never_touches_standard_output(capsys):
    with show_progress() as listen:
        listen(StageStart("train", "lr"))
        listen(EpochEnd(1, 0.4, 3.25, 1.0, None))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "epoch 1 done" in captured.err


def test_quiet_shows_nothing(capsys):
    with show_progress(quiet=True) as listen:
        assert listen is tell
    assert capsys.readouterr() == ("", "")


def test_what_the_library_logs_is_shown_while_it_works(capsys):
    with show_progress():
        logging.getLogger("fieldwise.datasets").info("fetching from %s", "afar")
    logging.getLogger("fieldwise.datasets").info("not shown")
    assert capsys.readouterr().err == "fetching from afar\n"


def test_compiling_is_announced_once_and_only_where_something_is_compiled(capsys):
    @numba.njit
    def double(x):
        return 2 * x

    with show_progress():
        assert double(2) == 4
        assert double(2.5) == 5.0
    assert capsys.readouterr().err.count("compiling kernels") == 1
    with show_progress():
        assert double(3) == 6
    assert capsys.readouterr().err == ""


def test_an_epoch_shows_the_metric_that_decides(plain):
    report, written = plain
    ranked = Metrics.of(100, 100.0, {"auc": 0.875, "ndcg": 0.625}, "not here")
    report(EpochEnd(1, 0.4, 9.0, 1e5, ranked, stop_on="ndcg"))
    assert "valid ndcg 0.6250" in written.getvalue()
    assert "AUC" not in written.getvalue()


def test_a_terminal_shows_the_best_so_far_memory_and_the_age_of_the_checkpoint(clock):
    console = Console(file=io.StringIO(), force_terminal=True, width=80, highlight=False, color_system=None)
    with Live(console=console, transient=True, auto_refresh=False) as live:
        report = Reporter(console, live)
        report(StageStart("train", "lc-dnn"))
        report(MOMENT.before)
        report(BestSaved(1))
        report(CheckpointSaved(2, 7))
        clock[0] = 125.0
        report(MOMENT)
        live.refresh()
    written = console.file.getvalue()
    assert re.search(r"LC-DNN  epoch 2  \S+  25%  412k examples/s  1:15 left", re.sub(r" +  25%", "  25%", written))
    assert "loss 0.3333  training AUC 0.8912  valid AUC 0.8750  best AUC 0.8750 of epoch 1" in written
    assert re.search(r"memory [0-9.]+ [MG]B  checkpoint 2:05 ago", written)


def test_a_model_that_begins_knows_nothing_of_the_one_before(clock):
    console = Console(file=io.StringIO(), force_terminal=True, width=80, highlight=False, color_system=None)
    with Live(console=console, transient=True, auto_refresh=False) as live:
        report = Reporter(console, live)
        for event in (StageStart("train", "lr"), MOMENT.before, BestSaved(1), StageStart("train", "dnn"), BestSaved(1)):
            report(event)
        report(MOMENT._replace(before=None))
        live.refresh()
    assert "best so far in epoch 1" in console.file.getvalue()
    assert "0.8750 of epoch" not in console.file.getvalue()
