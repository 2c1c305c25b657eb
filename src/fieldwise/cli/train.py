"""``fieldwise train``: from a configuration to a saved, evaluated model."""

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
    name="train",
    cls=Verb,
    short_help="Train, evaluate and save one model.",
    examples=(
        "fieldwise train fieldwise.toml --out runs/first",
        "fieldwise train fieldwise.toml --out runs/first --dry-run",
        "fieldwise train fieldwise.toml --out runs/wide --set model.kind=lc-wide-deep --set model.units=16",
    ),
)
@config_argument
@click.option("--out", metavar="RUN", type=click.Path(path_type=Path), required=True, help="The run folder to make.")
@overwrite_option
@click.option("--dry-run", is_flag=True, help="Print features, memory and disk expected; train nothing.")
@set_option
@threads_option
@quiet_option
@json_option
def command(
    config: Path,
    out: Path,
    overwrite: bool,
    dry_run: bool,
    overrides: tuple[str, ...],
    threads: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train the model of CONFIG on its log, and save it in the run folder RUN with its metrics.

    The log is prepared first where that is not done. Locally connected models start from a logistic regression, which
    is trained first. The weights of the best epoch on the validation rows are kept. A run that is finished is left
    alone.
    """
    from fieldwise.cli.progress import show_progress
    from fieldwise.verbs.train import train

    loaded = load(config, overrides, threads)
    if dry_run:
        from fieldwise.verbs.plan import plan

        expected = plan(loaded)
        if as_json:
            from fieldwise.cli.output import print_json

            print_json(expected.as_dict())
        else:
            from fieldwise.cli.tables import print_plan

            print_plan(expected)
        return
    with show_progress(quiet) as listen:
        result = train(loaded, out, overwrite=overwrite, listen=listen)
    if as_json:
        from fieldwise.cli.output import print_json

        print_json(result.as_dict())
    else:
        from fieldwise.cli.tables import print_result

        print_result(result, config, loaded)
