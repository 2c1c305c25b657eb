"""``fieldwise explain``: what each field adds to a row's logit, and how much a model relies on each field."""

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
)
from fieldwise.counted import counted


@click.command(
    name="explain",
    cls=Verb,
    short_help="Show what each field adds to a probability.",
    examples=(
        "fieldwise explain runs/first --data new.parquet --row 7",
        "fieldwise explain runs/first --data new.parquet --out contributions.parquet",
        "fieldwise explain runs/first --data clicks.parquet --importance",
    ),
)
@run_argument
@data_option
@click.option("--row", metavar="N", type=click.IntRange(min=1), help="The row to explain, from 1 (default: the first).")
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Explain every row in a .parquet or .csv file: a column for each field, and last the base.",
)
@click.option("--importance", is_flag=True, help="Show the AUC lost when a field's values are exchanged between rows.")
@replace_option
@format_option
@quiet_option
@json_option
def command(
    run: Path,
    data: tuple[str, ...],
    row: int | None,
    out: Path | None,
    importance: bool,
    overwrite: bool,
    format_: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Show what each field adds to the logit of a row, before calibration, compared with an average row (the base).

    Linear parts and interactions are exact; a deep part is told by integrated gradients, and what they leave over (the
    residual) is shown. With --importance, a labelled log shows how much the model relies on each field.
    """
    from fieldwise.cli.output import print_json, print_table
    from fieldwise.cli.progress import show_progress

    if sum((row is not None, out is not None, importance)) > 1:
        raise click.UsageError("--row, --out and --importance are mutually exclusive.")
    if out is not None:
        from fieldwise.jobs.predict.predict import predict

        with show_progress(quiet) as listen:
            written = predict(run, data, out, format=format_, what="contributions", overwrite=overwrite, listen=listen)
        if as_json:
            print_json(written.as_dict())
        else:
            click.echo(
                f"{counted(written.examples, 'row')} explained in {written.out}; the largest residual is "
                f"{written.largest_residual or 0:.2g}"
            )
    elif importance:
        from fieldwise.jobs.explain import field_importance

        with show_progress(quiet):
            found = field_importance(run, data, format=format_)
        if as_json:
            print_json([{"field": each.field, "loss": each.loss, "low": each.low, "high": each.high} for each in found])
        else:
            lines = [[each.field, f"{each.loss:.5f}", f"{each.low:.5f} to {each.high:.5f}"] for each in found]
            print_table("AUC lost without a field's own values", ["field", "AUC lost", "95 % interval"], lines)
    else:
        from fieldwise.jobs.explain import explain_row

        with show_progress(quiet):
            told = explain_row(run, data, row or 1, format_)
        if as_json:
            print_json(told.as_dict())
            return
        lines = [
            [
                field.field,
                ", ".join(field.raw),
                ", ".join(text or ("missing", "unseen")[id_] if id_ < 2 else text or f"#{id_}"
                          for text, id_ in zip(field.features[:5], field.ids[:5], strict=True)),
                f"{field.contribution:+.4f}",
            ]
            for field in sorted(told.fields, key=lambda field: -abs(field.contribution))
        ]  # fmt: skip
        title = f"Row {told.row}: probability {told.probability:.5f}, logit {told.logit:+.4f}"
        print_table(title, ["field", "value", "feature", "adds to the logit"], lines)
        click.echo(f"base (an average row) {told.base:+.4f}, residual {told.residual:+.2g}")
