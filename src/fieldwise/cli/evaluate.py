"""``fieldwise evaluate``: the metrics of a saved model on raw rows."""

from __future__ import annotations

from pathlib import Path

import click

from fieldwise.cli.options import (
    Verb,
    data_option,
    format_option,
    json_option,
    quiet_option,
    run_argument,
    threads_option,
)


@click.command(
    name="evaluate",
    cls=Verb,
    short_help="Print the metrics of a saved model on a log.",
    examples=(
        "fieldwise evaluate runs/first --data clicks/2026-11-11.parquet",
        "fieldwise evaluate runs/first --data clicks/2026-11-11.parquet --by country --by hour",
    ),
)
@run_argument
@data_option
@format_option
@click.option(
    "--by", metavar="FIELD", multiple=True, help="Print the calibration of each value of this field; may be repeated."
)
@threads_option
@quiet_option
@json_option
def command(
    run: Path,
    data: tuple[str, ...],
    format_: str | None,
    by: tuple[str, ...],
    threads: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Print the metrics of the model in RUN on raw rows that carry the label: AUC, logloss, calibration and the rest.

    All rows count at once, encoded as those of the training were. A metric that is not defined on them is "-" (null
    with --json), and the reason is given.

    Calibration is shown by tenths of the probability and by field: predicted against observed, and how many standard
    errors (z) the value that is furthest off is away.
    """
    from fieldwise.cli.progress import show_progress
    from fieldwise.jobs.evaluate import evaluate
    from fieldwise.jobs.train.train import use_threads

    use_threads(threads)
    with show_progress(quiet) as listen:
        evaluation = evaluate(run, data, format=format_, by=by, listen=listen)
    if as_json:
        from fieldwise.cli.output import print_json

        print_json(evaluation.as_dict())
    else:
        from fieldwise.cli.tables import print_evaluation

        print_evaluation(evaluation, by)
