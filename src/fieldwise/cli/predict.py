"""``fieldwise predict``: write the probabilities of raw rows."""

from __future__ import annotations

from pathlib import Path

import click

from fieldwise.cli.options import Verb, common_options, data_option, format_option, replace_option, run_argument
from fieldwise.cli.output import print_json


@click.command(
    name="predict",
    cls=Verb,
    short_help="Predict the probabilities of raw rows.",
    examples=(
        "fieldwise predict runs/first --data new.parquet --out predictions.parquet",
        "fieldwise predict runs/first --data 'new/*.csv' --out predictions.csv",
        "zcat new.csv.gz | fieldwise predict runs/first --data - --out -",
    ),
)
@run_argument
@data_option
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    required=True,
    help="Output file (.parquet or .csv); - for CSV on standard output.",
)
@click.option(
    "--contributions", is_flag=True, help="Also write what each field adds to the logit; see `fieldwise explain`."
)
@click.option(
    "--std",
    is_flag=True,
    help="Also write logit_std: how unsure a model with bayesian-fm is of each row, in logits.",
)
@click.option("--as-served", is_flag=True, help="Use the fixed values of fields with serve_as, as a server does.")
@replace_option
@format_option
@common_options
def command(
    run: Path,
    data: tuple[str, ...],
    out: Path,
    contributions: bool,
    std: bool,
    as_served: bool,
    overwrite: bool,
    format_: str | None,
    threads: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Write the probability of the positive class for every raw row, with its id or row number, to a Parquet or CSV
    file.

    The rows need no label. Values that did not occur in training are treated as unseen, empty cells as missing. Rows
    that cannot be used are listed in FILE.rejects.jsonl; where none can, nothing is written and the exit code is 2.
    With more than two classes there is one column per class.
    """
    from fieldwise.cli.progress import show_progress
    from fieldwise.jobs.predict.predict import predict

    to_standard_output = str(out) == "-"
    if to_standard_output and as_json:
        raise click.UsageError("--out - and --json both write to standard output; use one of them.")
    if threads is not None:
        from fieldwise.jobs.threads import use_threads

        use_threads(threads)
    with show_progress(quiet) as listen:
        prediction = predict(
            run,
            data,
            out,
            format=format_,
            what="both" if contributions else "probabilities",
            std=std,
            as_served=as_served,
            overwrite=overwrite,
            listen=listen,
        )
    if to_standard_output:
        from fieldwise.data.read_report import describe

        for line in [*describe(prediction.read), *(f"Warning: {text}" for text in prediction.warnings)]:
            click.echo(line, err=True)
    elif as_json:
        print_json(prediction.as_dict())
    else:
        from fieldwise.cli.coverage import print_coverage
        from fieldwise.cli.figures import probability_of
        from fieldwise.cli.tables import print_read

        click.echo(f"{prediction.examples:,} predictions written to {prediction.out}{probability_of(prediction)}")
        print_read(prediction.read)
        print_coverage(prediction.fields, prediction.warnings)
