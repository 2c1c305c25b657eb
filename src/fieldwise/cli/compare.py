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
@overwrite_option
@set_option
@threads_option
@quiet_option
@json_option
def command(
    config: Path,
    out: Path | None,
    models: str | None,
    overwrite: bool,
    overrides: tuple[str, ...],
    threads: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train several models on the log of CONFIG, and print their sizes, their metrics and what an epoch takes.

    Every model is a run folder inside FOLDER, as `train` makes it. Models that are there already are not trained
    again: a comparison that was stopped goes on where it was, and one more model costs only itself.
    """
    from fieldwise.cli.progress import show_progress
    from fieldwise.verbs.compare import compare

    loaded = load(config, overrides, threads)
    names = [name.strip() for name in models.split(",")] if models is not None else None
    with show_progress(quiet) as listen:
        comparison = compare(
            loaded, out or Path("runs") / config.stem, models=names, overwrite=overwrite, listen=listen
        )
    if as_json:
        from fieldwise.cli.output import print_json

        print_json(comparison.as_dict())
    else:
        from fieldwise.cli.tables import print_comparison

        print_comparison(comparison, config, loaded)
