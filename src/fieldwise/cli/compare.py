"""``fieldwise compare``: train several models on one log and compare them."""

from __future__ import annotations

from pathlib import Path

import click

from fieldwise.cli.options import (
    Verb,
    config_argument,
    config_options,
    load,
    minutes_option,
    overwrite_option,
    preset_option,
    report_option,
    with_budget,
)
from fieldwise.cli.output import print_json


@click.command(
    name="compare",
    cls=Verb,
    short_help="Train several models on one log and compare them.",
    examples=(
        "fieldwise compare fieldwise.toml --out runs/first",
        "fieldwise compare fieldwise.toml --out runs/paper --set model.hidden=[2048,1024]",
        "fieldwise compare fieldwise.toml --models lr,lc-dnn:1,lc-dnn:16 --json",
        "fieldwise compare fieldwise.toml --models lr,lc-dnn --seeds 3",
        "fieldwise compare fieldwise.toml --minutes 10",
    ),
)
@config_argument
@click.option(
    "--out",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Folder for the runs. Default: runs/NAME for a configuration NAME.toml.",
)
@click.option(
    "--models",
    metavar="MODELS",
    help="Comma-separated models; MODEL:K sets the number of units per field, which is that of CONFIG otherwise. "
    "Default: lr,dnn,lc-dnn:1,lc-wide-deep:1,lc-dnn,lc-wide-deep,lc-resnet; with --preset fast: lr,lc-dnn.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=1,
    help="Train every model with this many seeds, starting at train.seed, and print mean and standard deviation.",
)
@click.option(
    "--against",
    metavar="MODEL",
    help="Compare the other models with this one. Default: the best on the validation rows.",
)
@click.option(
    "--level",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    help="Family-wise significance level. Default: 0.05.",
)
@preset_option
@minutes_option
@overwrite_option
@click.option("--dry-run", is_flag=True, help="Estimate features, memory and disk of every model; train nothing.")
@report_option
@config_options
def command(
    config: Path,
    out: Path | None,
    models: str | None,
    seeds: int,
    against: str | None,
    level: float,
    preset: str | None,
    minutes: float | None,
    overwrite: bool,
    dry_run: bool,
    with_report: bool,
    overrides: tuple[str, ...],
    threads: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train several models on the log of CONFIG, and print their sizes, their metrics and the time per epoch.

    Every model gets a run folder inside FOLDER, as `train` writes it; the runs of further seeds are in FOLDER/seed-N.
    Finished models are not trained again: an interrupted comparison resumes where it stopped, and adding a model or a
    seed trains only that one.

    Differences from the reference model are tested with paired tests on the same test rows and seeds, corrected for the
    number of models. The verdict is better, worse, or not distinguishable.

    Models without interactions are trained first and their results printed as soon as they are available: the other
    models, and the sampling that they share, take longer.
    """
    loaded = load(config, with_budget(overrides, preset, minutes), threads)

    from fieldwise.cli.comparison import print_comparison, print_first
    from fieldwise.cli.progress import aside, show_progress
    from fieldwise.jobs.compare.compare import compare
    from fieldwise.jobs.compare.comparison import Comparison

    names = [name.strip() for name in models.split(",")] if models is not None else None
    if dry_run:
        from fieldwise.jobs.compare.plan import plan_comparison

        expected = plan_comparison(loaded, names)
        if as_json:
            print_json(expected.as_dict())
        else:
            from fieldwise.cli.tables import print_comparison_plan

            print_comparison_plan(expected)
        return
    with show_progress(quiet) as listen:

        def show(first: Comparison, waiting: list[str]) -> None:
            with aside(listen):
                print_first(first, waiting)

        comparison = compare(
            loaded,
            out or Path("runs") / config.stem,
            models=names,
            seeds=seeds,
            against=against,
            level=level,
            overwrite=overwrite,
            listen=listen,
            show=None if as_json else show,
        )
    if as_json:
        print_json(comparison.as_dict())
    else:
        print_comparison(comparison, config, loaded)
    if with_report:
        from fieldwise.cli.report import show_report

        show_report(comparison, quiet, as_json)
