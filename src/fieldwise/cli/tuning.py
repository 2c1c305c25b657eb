"""The tables printed by ``fieldwise tune``."""

from __future__ import annotations

from typing import Any

import click

from fieldwise.cli.figures import evaluated, figure, print_folds, print_warnings, probability_of
from fieldwise.cli.output import Footnotes, duration, print_commands, print_table
from fieldwise.cli.tables import print_read
from fieldwise.counted import counted
from fieldwise.jobs.tune.trial import Trial, Tuning
from fieldwise.metrics.own import turned
from fieldwise.metrics.titles import title_of

__all__ = ["print_tuning"]

_MAX_TRIALS = 10


def print_tuning(tuning: Tuning) -> None:
    """Print the best trials, the hyperparameters and metrics of the best one, and how to train with them."""
    states = [trial.state for trial in tuning.trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in ("done", "pruned", "failed") if state in states)
    ranked = sorted((trial for trial in tuning.trials if trial.value is not None), key=_badness)
    print_table(
        f"{counted(len(tuning.trials), 'trial')} ({counts}) in {duration(tuning.seconds)}, "
        f"ranked by valid {tuning.metric}",
        ["trial", "state", f"valid {title_of(tuning.metric)}", "folds" if tuning.folds else "epochs"],
        [
            [_name(trial), trial.state, f"{turned(trial.value or 0.0, tuning.metric):.5f}", str(len(trial.metrics))]
            for trial in ranked[:_MAX_TRIALS]
        ],
        num_texts=2,
    )
    [best] = [trial for trial in tuning.trials if trial.number == tuning.best]
    if best.values:
        print_table(
            f"Hyperparameters of trial {best.number}",
            ["key", "value"],
            [[key, _text(value)] for key, value in best.values.items()],
            num_texts=2,
        )
    else:
        click.echo("No trial improved on the given configuration.\n")
    parts, notes = evaluated(tuning), Footnotes()
    if tuning.folds:
        print_folds(tuning.folds, "the best trial, without the rows that selected it")
    else:
        print_table(
            f"Metrics of the best trial (valid is optimistic: it selected the trial){probability_of(tuning)}",
            ["metric", *parts],
            [
                [title_of(name), *(figure(metrics, name, notes) for metrics in parts.values())]
                for name in ("auc", "gauc", "logloss", "normalized_entropy", "calibration_error")
            ],
            notes=notes,
        )
    print_warnings(tuning.warnings)
    print_read(tuning.read)
    click.echo(f"Search saved in {tuning.folder}, best configuration in {tuning.config}")
    print_commands(
        "Next:",
        [
            (
                "train the best configuration",
                ["fieldwise", "train", tuning.config, "--out", "RUN"],
            ),
            ("estimate the variation over training seeds", ["fieldwise", "compare", tuning.config, "--seeds", "3"]),
        ],
    )


def _badness(trial: Trial) -> float:
    return -(trial.value or 0.0)


def _name(trial: Trial) -> str:
    return f"{trial.number} (as configured)" if not trial.values else str(trial.number)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
