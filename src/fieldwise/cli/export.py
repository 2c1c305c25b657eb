"""``fieldwise export``: a saved model for runtimes and tools of others."""

from __future__ import annotations

from pathlib import Path

import click

from fieldwise.cli.options import Verb, json_option, replace_option, run_argument


@click.command(
    name="export",
    cls=Verb,
    short_help="Write a saved model as ONNX, or its weights as Parquet.",
    examples=(
        "fieldwise export runs/first --out exported",
        "fieldwise export runs/first --out weights.parquet",
    ),
)
@run_argument
@click.option(
    "--out",
    metavar="PATH",
    type=click.Path(path_type=Path),
    required=True,
    help="A new folder for model.onnx and its table, or a .parquet file for the weights of all features.",
)
@replace_option
@json_option
def command(run: Path, out: Path, overwrite: bool, as_json: bool) -> None:
    """Write the model in RUN as an ONNX graph, from the ids of values to probabilities, calibration included.

    Ids are local to their field: 0 is missing, 1 unseen, and so is any id that the field does not have. The rows of the
    table are external data, linked and not copied where the file system allows. A .parquet file has a row for every
    feature: field, id, text, count and weights.
    """
    from fieldwise.cli.output import print_json
    from fieldwise.jobs.export import export

    found = export(run, out, overwrite=overwrite)
    if as_json:
        print_json(found.as_dict())
        return
    for name, num_bytes in found.files.items():
        click.echo(f"{name}  {num_bytes:,} bytes")
    how = "; its rows are those of the model's own file" if found.linked else ""
    click.echo(f"{found.features:,} features written to {found.out}{how}")
