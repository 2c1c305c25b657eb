"""``fieldwise compare``: several models on one log, side by side."""

from __future__ import annotations

from pathlib import Path

import click

from fieldwise.cli.options import (
    Verb,
    config_argument,
    json_option,
    load,
    overwrite_option,
    quiet_option,
    set_option,
    threads_option,
)


@click.command(
    name="compare",
    cls=Verb,
    short_help="Train several models on one log, and print how they compare.",
    examples=(
        "fieldwise compare fieldwise.toml --out runs/first",
        "fieldwise compare fieldwise.toml --out runs/paper --set model.hidden=[2048,1024]",
        "fieldwise compare fieldwise.toml --models lr,lc-dnn:1,lc-dnn:16 --json",
        "fieldwise compare fieldwise.toml --models lr,lc-dnn --seeds 3",
    ),
)
@config_argument
@click.option(
    "--out",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="The folder for the runs; runs/NAME unless given, where NAME.toml is the configuration.",
)
@click.option(
    "--models",
    metavar="MODELS",
    help="Models with commas between them, each with its units per field after a colon where they are not those of "
    "CONFIG. Unless given: lr,dnn,lc-dnn:1,lc-wide-deep:1,lc-dnn,lc-wide-deep,lc-resnet.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=1,
    help="Train every model with so many seeds, from train.seed on: mean and spread are printed.",
)
@click.option(
    "--against",
    metavar="MODEL",
    help="Compare the others with this model; unless given, with the one that is best on valid.",
)
@click.option(
    "--level",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    help="The chance, all models together, of calling one different that is not; 0.05 unless given.",
)
@overwrite_option
@set_option
@threads_option
@quiet_option
@json_option
def command(
    config: Path,
    out: Path | None,
    models: str | None,
    seeds: int,
    against: str | None,
    level: float,
    overwrite: bool,
    overrides: tuple[str, ...],
    threads: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train several models on the log of CONFIG, and print their sizes, their metrics and what an epoch takes.

    Every model is a run folder inside FOLDER, as `train` makes it; those of further seeds lie in FOLDER/seed-N. Models
    that are there already are not trained again: a comparison that was stopped goes on where it was, and one more model
    or seed costs only itself.

    The differences to one model are tested in pairs, on the same test rows and seeds: better, worse, or not
    distinguishable at the level, corrected for the number of models.

    Models without interactions come first, and their results are printed as soon as they are there: the others, and
    the sampling that they share, take longer.
    """
    from fieldwise.cli.comparison import print_comparison, print_first
    from fieldwise.cli.progress import aside, show_progress
    from fieldwise.jobs.compare.compare import Comparison, compare

    loaded = load(config, overrides, threads)
    names = [name.strip() for name in models.split(",")] if models is not None else None
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
        from fieldwise.cli.output import print_json

        print_json(comparison.as_dict())
    else:
        print_comparison(comparison, config, loaded)
