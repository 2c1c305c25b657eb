"""``fieldwise predict``: raw rows in, probabilities out."""

from __future__ import annotations

from pathlib import Path

import click

from fieldwise.cli.options import (
    Verb,
    data_option,
    format_option,
    json_option,
    quiet_option,
    replace_option,
    run_argument,
    threads_option,
)


@click.command(
    name="predict",
    cls=Verb,
    short_help="Write the probabilities of raw rows into a file.",
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
    help="The file to write: .parquet or .csv; - for CSV on standard output.",
)
@replace_option
@format_option
@threads_option
@quiet_option
@json_option
def command(
    run: Path,
    data: tuple[str, ...],
    out: Path,
    overwrite: bool,
    format_: str | None,
    threads: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Write the probability of a click (of the positive class) for every raw row, with its id or its number, into a
    Parquet or CSV file.

    The rows need no label. A value that the training has not seen counts as unseen, an empty cell as missing; a row
    that cannot be used is named in FILE.rejects.jsonl. With more than two classes there is a column for each.
    """
    from fieldwise.cli.progress import show_progress
    from fieldwise.jobs.predict.predict import predict
    from fieldwise.jobs.train.train import use_threads

    to_standard_output = str(out) == "-"
    if to_standard_output and as_json:
        raise click.UsageError("Standard output takes the probabilities (--out -) or JSON (--json), not both.")
    use_threads(threads)
    with show_progress(quiet) as listen:
        prediction = predict(run, data, out, format=format_, overwrite=overwrite, listen=listen)
    if to_standard_output:
        from fieldwise.data.read_report import describe

        for line in [*describe(prediction.read), *(f"Warning: {text}" for text in prediction.warnings)]:
            click.echo(line, err=True)
    elif as_json:
        from fieldwise.cli.output import print_json

        print_json(prediction.as_dict())
    else:
        from fieldwise.cli.coverage import print_coverage
        from fieldwise.cli.tables import print_read, probability_of

        click.echo(f"{prediction.examples:,} probabilities are in {prediction.out}{probability_of(prediction)}")
        print_read(prediction.read)
        print_coverage(prediction.fields, prediction.warnings)
