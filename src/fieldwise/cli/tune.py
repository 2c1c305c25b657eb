"""``fieldwise tune``: hyperparameter search for one model."""

from __future__ import annotations

from pathlib import Path

import click

from fieldwise.cli.options import Verb, config_argument, config_options, load, overwrite_option, report_option
from fieldwise.cli.output import print_json


@click.command(
    name="tune",
    cls=Verb,
    short_help="Tune the hyperparameters of one model within a budget.",
    examples=(
        "fieldwise tune fieldwise.toml --minutes 30",
        "fieldwise tune fieldwise.toml --trials 40 --set model.kind=lc-wide-deep --out runs/wide-tuned",
        "fieldwise tune fieldwise.toml --trials 10 --only model.units,train.table.learning_rate",
        "fieldwise train runs/fieldwise-tuned/best.toml --out runs/best",
    ),
)
@config_argument
@click.option(
    "--out",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Folder for the search. Default: runs/NAME-tuned for a configuration NAME.toml.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Total training time of all trials. Default: 30 if --trials is not given.",
)
@click.option("--trials", type=click.IntRange(min=1), help="Number of trials.")
@click.option("--only", metavar="KEYS", help="Comma-separated keys to search. Default: all.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, help="Random seed of the search.")
@overwrite_option
@report_option
@config_options
def command(
    config: Path,
    out: Path | None,
    minutes: float | None,
    trials: int | None,
    only: str | None,
    seed: int,
    overwrite: bool,
    with_report: bool,
    overrides: tuple[str, ...],
    threads: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Search for better hyperparameters of the model of CONFIG, starting from its own.

    Every trial is trained on the training rows and scored by train.stop_on on the validation rows; trials below the
    median of the others are pruned. The best trial is evaluated on the test rows once, and its configuration written to
    FOLDER/best.toml. The same command resumes an interrupted search, or a finished one with a larger budget.
    """
    loaded = load(config, overrides, threads)

    from fieldwise.cli.progress import show_progress
    from fieldwise.jobs.tune.tune import tune

    keys = [key.strip() for key in only.split(",")] if only is not None else None
    with show_progress(quiet) as listen:
        tuning = tune(
            loaded,
            out or Path("runs") / f"{config.stem}-tuned",
            minutes=minutes,
            trials=trials,
            only=keys,
            seed=seed,
            overwrite=overwrite,
            listen=listen,
        )
    if as_json:
        print_json(tuning.as_dict())
    else:
        from fieldwise.cli.tuning import print_tuning

        print_tuning(tuning)
    if with_report:
        from fieldwise.cli.report import show_report

        show_report(tuning, quiet, as_json)
