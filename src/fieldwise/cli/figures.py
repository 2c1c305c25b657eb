"""The figures of models, as verbs print them: titles of metrics, footnotes of those that are undefined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fieldwise.cli.output import Footnotes, print_table
from fieldwise.metrics.titles import title_of

if TYPE_CHECKING:  # most verbs need no torch, and none needs what the others print
    from fieldwise.config import Config
    from fieldwise.jobs.evaluate import Evaluation
    from fieldwise.jobs.predict.predict import Prediction
    from fieldwise.jobs.result import FoldMetric, MemberResult, Result, TreesResult
    from fieldwise.jobs.tune.trial import Tuning
    from fieldwise.metrics import Metrics


__all__ = [
    "MAIN_METRICS",
    "evaluated",
    "figure",
    "own_figures",
    "predicting",
    "print_folds",
    "print_warnings",
    "probability_of",
]

MAIN_METRICS = ("auc", "gauc", "logloss", "normalized_entropy")


def probability_of(result: Result | Evaluation | Prediction | Tuning) -> str:
    """Return a suffix for a title that says which class the probabilities refer to; empty if it is not known."""
    if result.labels:
        return f"; probabilities of {', '.join(result.labels)}"
    if result.positive is not None:
        return f"; probability of {result.label} = {result.positive}"
    return f"; probabilities of the {len(result.classes)} classes of {result.label}" if result.classes else ""


def print_warnings(warnings: Sequence[str]) -> None:
    """Print warnings, one per line."""
    for text in warnings:
        click.echo(f"warning: {text}")
    if warnings:
        click.echo()


def print_folds(folds: Mapping[str, FoldMetric], whose: str) -> None:
    """Print what the test parts of all folds say, of a model that the title names."""
    print_table(
        f"Test metrics over {len(next(iter(folds.values())).of_folds)} folds; {whose}",
        ["metric", "mean", "95 % interval"],
        [[title_of(name), f"{each.mean:.4f}", f"{each.low:.4f} to {each.high:.4f}"] for name, each in folds.items()],
    )


def evaluated(result: Result | MemberResult | TreesResult | Tuning) -> dict[str, Metrics]:
    """Return the metrics by part, for the parts that the log has; of several labels by part and label."""
    parts = {"valid": result.valid, "test": result.test}
    return {
        f"{name} {label}".strip(): each
        for name, metrics in parts.items()
        if metrics is not None
        for label, each in metrics.by_label().items()
    }


def predicting(run: str, config: Config) -> tuple[str, list[str]]:
    """Return a comment and the command that applies the model of a run to the last log of the configuration."""
    paths = config.paths("test") or config.paths("valid") or config.paths("train")
    log = paths[-1].removeprefix(f"{Path.cwd()}/")
    words = ["fieldwise", "predict", run, "--data", log, "--out", "predictions.parquet"]
    return "predict the probabilities of raw rows", words


def own_figures(parts: Sequence[Metrics]) -> list[list[str]]:
    """Return the lines of the user's own metrics."""
    values = {name: [part.own.get(name) for part in parts] for name in parts[0].own}
    return [[name, *("-" if each is None else f"{each:.4f}" for each in of_parts)] for name, of_parts in values.items()]


def figure(metrics: Metrics, name: str, notes: Footnotes) -> str:
    """Return a metric as a cell, or the mark of a footnote if it is undefined."""
    value = getattr(metrics, name)
    return notes.mark(metrics.undefined[name]) if value is None else f"{value:.4f}"
