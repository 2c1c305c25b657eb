"""``fieldwise export``: a saved model for runtimes and tools of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fieldwise.cli.options import Verb, format_option, json_option, quiet_option, replace_option, run_argument
from fieldwise.counted import counted


@click.command(
    name="export",
    cls=Verb,
    short_help="Write a saved model as ONNX or smaller, or its weights as Parquet.",
    examples=(
        "fieldwise export runs/first --out exported",
        "fieldwise export runs/first --out weights.parquet",
        "fieldwise export runs/first --out smaller --compact int8 --data valid.parquet",
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
@click.option(
    "--compact",
    type=click.Choice(["float16", "int8"]),
    help="Write a saved model whose table has fewer bits in place of the graph.",
)
@click.option("--data", metavar="PATH", multiple=True, help="With --compact: a log on which both models are compared.")
@format_option
@replace_option
@quiet_option
@json_option
def command(
    run: Path,
    out: Path,
    compact: str | None,
    data: tuple[str, ...],
    format_: str | None,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Write the model in RUN as an ONNX graph, from the ids of values to probabilities, calibration included.

    Ids are local to their field: 0 is missing, 1 unseen, and so is any id that the field does not have. The rows of the
    table are external data, linked and not copied where the file system allows. A .parquet file has a row for every
    feature: field, id, text, count and weights.

    With --compact OUT is a saved model like any other, to be served, asked, evaluated and explained. Rows of fewer than
    8 numbers are float16 in any case; features without any weight share one row. What it costs is printed: AUC on
    --data, where that has labels, and the largest change of a probability; without it, on rows drawn from the counts of
    training.
    """
    from fieldwise.cli.output import print_json
    from fieldwise.cli.progress import show_progress
    from fieldwise.jobs.export import export

    if compact is not None:
        if overwrite:
            raise click.UsageError("--compact writes to a new folder; --overwrite does not go with it.")
        _compact(run, out, compact, data, format_, quiet, as_json)
        return
    if data or format_:
        raise click.UsageError("--data and --format are for --compact.")
    with show_progress(quiet):
        found = export(run, out, overwrite=overwrite)
    if as_json:
        print_json(found.as_dict())
        return
    for name, num_bytes in found.files.items():
        click.echo(f"{name}  {num_bytes:,} bytes")
    how = "; the table is a link to the model's own file" if found.linked else ""
    click.echo(f"{counted(found.features, 'feature')} written to {found.out}{how}")


def _compact(
    run: Path, out: Path, kind: Any, data: tuple[str, ...], format_: str | None, quiet: bool, as_json: bool
) -> None:
    from fieldwise.cli.output import print_json
    from fieldwise.cli.progress import show_progress
    from fieldwise.jobs.compact import compact

    with show_progress(quiet) as listen:
        found = compact(run, out, kind, data=data or None, format=format_, listen=listen)
    if as_json:
        print_json(found.as_dict())
        return
    for name, (before, after) in (("table", found.table_bytes), ("whole model", found.bytes)):
        click.echo(f"{name:<12} {before:>15,} -> {after:>15,} bytes  ({after / before:.2f})")
    if found.dropped:
        click.echo(f"{counted(found.dropped, 'row')} without weights removed; features without weights share one row")
    of_what = "rows drawn from the counts of training" if found.drawn else "rows"
    click.echo(f"largest change of a probability among {found.compared:,} {of_what}: {found.largest_change:.2g}")
    if found.auc is not None:
        auc, of_compact = found.auc
        click.echo(f"AUC {auc:.6f} -> {of_compact:.6f}, lost {auc - of_compact:.2g}")
    elif found.drawn:
        click.echo("AUC is not known without labels: give --data")
    click.echo(f"{found.rows} rows written to {found.out}")
