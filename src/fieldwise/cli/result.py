"""What ``fieldwise train`` prints of a model: its metrics, the members of a stack, the work of each worker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fieldwise.cli.figures import (
    MAIN_METRICS,
    evaluated,
    figure,
    own_figures,
    predicting,
    print_folds,
    print_warnings,
    probability_of,
)
from fieldwise.cli.output import Footnotes, compact, print_commands, print_table
from fieldwise.cli.tables import print_read
from fieldwise.counted import counted
from fieldwise.io.memory import readable_bytes
from fieldwise.metrics.titles import TITLES, title_of
from fieldwise.models.registry import model_label

if TYPE_CHECKING:  # most verbs need no torch, and none needs what the others print
    from fieldwise.config import Config
    from fieldwise.distributed.traffic import Traffic
    from fieldwise.jobs.result import Result, TreesResult
    from fieldwise.metrics import Metrics

__all__ = ["print_members", "print_result"]


def print_result(result: Result, path: Path, config: Config) -> None:
    """Print the result of training one model, and commands to continue with."""
    size = counted(result.parameters, "parameter")
    name = model_label(result.model, result.units)
    if result.kept is None:
        name = f"{name}: {size}"
    if result.l2 is not None and result.kept is None:
        seconds = result.epochs * result.seconds_per_epoch
        tried = "a penalty of" if result.epochs == 1 else f"{result.epochs} penalties, the best being"
        own = result.penalties.values()
        by_field = f"by field, {min(own):.3g} to {max(own):.3g}" if own else f"{result.l2:g}"
        click.echo(f"{name}, solved for {tried} {by_field} in {seconds:.1f} s")
    else:
        click.echo(
            f"{name}, {counted(result.epochs, 'epoch')}{f' (best: {result.best_epoch})' if result.best_epoch else ''}, "
            f"{result.seconds_per_epoch:.1f} s per epoch, {compact(result.examples_per_second)} examples/s"
        )
    if result.left_out:
        names = ", ".join(map(model_label, result.left_out))
        click.echo(f"Left out, for train.minutes = {config.train.minutes:g}: {names}.")
    if result.kept is not None:
        kept = f"{model_label(result.kept)} ({size})"
        click.echo(f"{kept} was saved: nothing was better on valid beyond noise.")
    if result.pretrain_seconds is not None:
        click.echo(f"Pre-training took {result.pretrain_seconds:.1f} s.")
    click.echo()
    parts, notes = evaluated(result), Footnotes()
    if parts:
        print_table(
            f"Metrics{probability_of(result)}",
            ["metric", *parts],
            [
                [title, *(figure(part, name, notes) for part in parts.values())]
                for name, title in _titles(config.train.stop_on, next(iter(parts.values()))).items()
            ]
            + own_figures(list(parts.values())),
            notes=notes,
        )
    if result.folds:
        print_folds(result.folds, "the saved model has learned from all rows")
    print_members([result])
    if (trees := result.with_trees) is not None:
        print_members([trees])
        shown = " and ".join(
            f"{part} AUC {figure(each, 'auc', notes)}, logloss {figure(each, 'logloss', notes)}"
            for part, each in evaluated(trees).items()
        )
        click.echo(
            f"{model_label(trees.model)}, for comparison: {shown}. It cannot be served or updated: what was saved is "
            "the model above, without trees.\n"
        )
    print_warnings(result.warnings)
    if result.workers and any(each.steps for each in result.workers):  # none where all was solved
        _print_workers(result.workers)
    print_read(result.read)
    click.echo(f"Run saved in {result.folder}")
    compare = ["fieldwise", "compare", str(path), "--out", f"{result.folder}-compared"]
    print_commands("Next:", [predicting(result.folder, config), ("compare the models", compare)])


def _titles(stop_on: str, metrics: Metrics) -> dict[str, str]:
    """Return the main metrics with their titles, and the one that training stops on where it is another."""
    names = (*MAIN_METRICS, stop_on.partition(":")[0])
    return {name: title_of(name, metrics.cutoff) for name in names if name in TITLES}


def print_members(results: Sequence[Result | TreesResult]) -> None:
    """Print what each member of the stacks among some models reaches alone; nothing where there is no stack."""
    lines, notes = [], Footnotes()
    columns = [(part, name) for part in evaluated(results[0]) for name in ("auc", "logloss")]
    for result in results:
        for member in result.members:
            metrics = evaluated(member)
            cells = [figure(metrics[part], name, notes) for part, name in columns]
            weights = " + ".join(f"{weight:.2f}" for weight in member.weights)
            lost = ["" if each is None else f"{each:+.4f}" for each in (member.auc_lost, member.logloss_lost)]
            seconds = "" if member.seconds is None else f"{member.seconds:.1f}"
            lines.append([model_label(result.model), model_label(member.model), weights, *cells, *lost, seconds])
    if lines:
        print_table(
            "Members of the stack: each alone, its weight, and what valid would lose without it",
            [
                *("stack", "member", "weight", *(f"{part} {title_of(name)}" for part, name in columns)),
                *("AUC lost", "logloss lost", "seconds"),
            ],
            lines,
            num_texts=3,
            notes=notes,
        )


def _print_workers(workers: Sequence[Traffic]) -> None:
    """Print the work and the traffic of each worker per step, and which worker the others wait for."""
    from fieldwise.distributed.traffic import find_straggler

    print_table(
        "Workers, averages per step",
        ["worker", "examples", "rows requested", "rows served", "bytes sent", "compute", "waiting"],
        [
            [
                str(number),
                f"{each.examples / steps:,.0f}",
                f"{each.rows_asked / steps:,.0f} of {each.ids / steps:,.0f}",
                f"{each.rows_served / steps:,.0f}",
                readable_bytes(round(each.step_bytes / steps)),
                f"{each.own_seconds * 1e3:.1f} ms",
                f"{each.waiting_seconds / steps * 1e3:.1f} ms",
            ]
            for number, each in enumerate(workers)
            for steps in [max(each.steps, 1)]
        ],
    )
    if straggler := find_straggler(workers):
        number, times = straggler
        click.echo(f"Worker {number} is the bottleneck: it computes {times:.1f} times as long per step as the others.")
