"""``fieldwise evaluate``: the metrics of a saved model on a raw log."""

from __future__ import annotations

from pathlib import Path

import click

from fieldwise.cli.options import Verb, common_options, data_option, format_option, run_argument
from fieldwise.cli.output import print_json


@click.command(
    name="evaluate",
    cls=Verb,
    short_help="Print the metrics of a saved model on a log.",
    examples=(
        "fieldwise evaluate runs/first --data clicks/2026-11-11.parquet",
        "fieldwise evaluate runs/first --data clicks/2026-11-11.parquet --by country --by hour",
        "fieldwise evaluate runs/first --data 'clicks/2026-11-*.parquet' --time shown_at",
    ),
)
@run_argument
@data_option
@format_option
@click.option(
    "--by", metavar="FIELD", multiple=True, help="Print the calibration of each value of this field; may be repeated."
)
@click.option("--by-day", is_flag=True, help="Print the metrics of each day, by the column of data.time.")
@click.option("--time", metavar="COLUMN", help="Take the days from this column of times; implies --by-day.")
@click.option(
    "--cutoff",
    metavar="K",
    type=click.IntRange(min=1),
    default=10,
    help="Number of first ranks that count for NDCG, hit rate and recall; 10 by default.",
)
@common_options
def command(
    run: Path,
    data: tuple[str, ...],
    format_: str | None,
    by: tuple[str, ...],
    by_day: bool,
    time: str | None,
    cutoff: int,
    threads: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Evaluate the model in RUN on a labelled raw log: AUC, logloss, calibration and more.

    Metrics are computed over all rows at once (not averaged over batches), encoded as in training. An undefined metric
    is shown as "-" (null with --json) with the reason.

    Calibration, predicted against observed, is shown by deciles of the probability and by field; for each field, the
    value with the largest deviation in standard errors (z) is shown.
    """
    from fieldwise.cli.progress import show_progress
    from fieldwise.jobs.evaluate import evaluate
    from fieldwise.jobs.threads import use_threads

    use_threads(threads)
    with show_progress(quiet) as listen:
        evaluation = evaluate(
            run, data, format=format_, by=by, by_day=by_day, time_column=time, cutoff=cutoff, listen=listen
        )
    if as_json:
        print_json(evaluation.as_dict())
    else:
        from fieldwise.cli.evaluation import print_evaluation

        print_evaluation(evaluation, by)
