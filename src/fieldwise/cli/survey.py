"""The tables printed by ``fieldwise check``: warnings first, then parts, fields, values and days."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
import msgspec

from fieldwise.cli.output import Footnotes, print_table
from fieldwise.counted import counted
from fieldwise.data.read_report import describe
from fieldwise.profile.survey.result import Column, Day, Group, Survey

if TYPE_CHECKING:
    from fieldwise.profile.crosses import FoundCrosses

__all__ = ["print_crosses", "print_survey"]

_MAX_FIELDS = 40
_MAX_DETAILED = 12
_MAX_DAYS = 31
_MAX_LEFT_OUT = 10
_MAX_TEXT = 24


def print_survey(survey: Survey) -> None:
    """Print a survey."""
    _print_warnings(survey)
    _print_parts(survey)
    _print_fields(survey)
    _print_others([column for column in survey.columns if column.role != "field"])
    _print_crosses(survey)
    _print_values(survey)
    for name, days in survey.days.items():
        _print_days(name, days)
    _print_left_out(survey)
    click.echo(rows_line(survey))


def print_crosses(found: FoundCrosses) -> None:
    """Print the crosses that improve on their fields, and how to train with them."""
    click.echo()
    if not found.crosses:
        reason = found.fields_left_out.get(
            "", f"{counted(found.pairs_tried, 'pair')} tried on {counted(found.examples, 'example')}"
        )
        click.echo(f"No useful cross found: {reason}")
        return
    before, after = found.logloss or (0.0, 0.0)
    print_table(
        f"Useful crosses (held-out logloss: {before:.4f} without crosses, {after:.4f} with all of them)",
        ["fields", "logloss reduction", "standard errors"],
        [[" x ".join(one.fields), f"{one.gain:.4f}", f"{one.deviations:.1f}"] for one in found.crosses],
    )
    listed = ", ".join(
        f"[{', '.join(json.dumps(name, ensure_ascii=False) for name in one.fields)}]" for one in found.crosses
    )
    click.echo(
        f"{counted(found.pairs_tried, 'pair')} and {counted(found.triples_tried, 'triple')} tried on "
        f"{counted(found.examples, 'example')} in {found.seconds:.0f} s. "
        f"To train with these crosses, set in [data]:\n  crosses = [{listed}]\n"
        'or crosses = "auto", which repeats the search when the log changes.'
    )


def _print_left_out(survey: Survey) -> None:
    for what, reasons in (("Files", survey.files_left_out), ("Columns", survey.columns_left_out)):
        if reasons:
            click.echo(f"{what} not read ({len(reasons):,}):")
            for name, reason in list(reasons.items())[:_MAX_LEFT_OUT]:
                click.echo(f"  {name}: {reason}")
            if len(reasons) > _MAX_LEFT_OUT:
                click.echo(f"  and {len(reasons) - _MAX_LEFT_OUT:,} more")
            click.echo()


def rows_line(survey: Survey) -> str:
    """Return a sentence that says how much of the log was read."""
    if survey.share == 1:
        return f"The whole log was read: {counted(survey.rows_in_log, 'row')}."
    return (
        f"A random sample of {survey.rows_read:,} of {counted(survey.rows_in_log, 'row')} was read (--rows); overlap "
        "and distinct values refer to the sample."
    )


def _print_warnings(survey: Survey) -> None:
    if not survey.warnings:
        click.echo("No warnings.\n")
        return
    click.echo(f"{counted(len(survey.warnings), 'warning')}\n")
    for warning in survey.warnings:
        click.echo(f"{warning.kind}: {warning.what}")
        for name, text in (("where", warning.where), ("why", warning.why), ("hint", warning.fix)):
            click.echo(f"  {name}: {text}")
    click.echo()


def _print_parts(survey: Survey) -> None:
    notes = Footnotes()
    why = f"the label has {len(survey.classes)} classes"
    print_table(
        f"Label {survey.label}, classes {', '.join(survey.classes[:10])}{', ...' * (len(survey.classes) > 10)}",
        ["part", "rows", f"rate of {survey.positive}" if survey.positive is not None else "label rate"],
        [[name, f"{part.rows:,}", _share(part.label_rate, notes, why)] for name, part in survey.parts.items()],
        notes=notes,
    )
    if survey.rows_rejected or survey.read.files_left_out or survey.read.remarks:
        click.echo("\n".join(describe(msgspec.structs.replace(survey.read, columns_not_used={}))) + "\n")


def _print_crosses(survey: Survey) -> None:
    if survey.crosses:
        names = [f"{name} ({' x '.join(parts)})" for name, parts in survey.crosses.items()]
        shown = ", ".join(names[:_MAX_FIELDS]) + ", ..." * (len(names) > _MAX_FIELDS)
        click.echo(f"Crosses are not profiled, only the fields that they combine: {shown}\n")


def _print_fields(survey: Survey) -> None:
    notes = Footnotes()
    fields = [column for column in survey.columns if column.role == "field"]
    title = counted(len(fields), "field")
    if len(fields) > _MAX_FIELDS:
        title += f", the {_MAX_FIELDS} with the highest AUC (--html and --json show all)"
        fields = _by_auc(fields)[:_MAX_FIELDS]
    print_table(
        f"{title}; AUC of each field alone on {survey.measured_on}; drift (PSI) from training to test",
        ["field", "type", "most frequent", "values", "coverage", "AUC", "drift", "unseen"],
        [
            [
                _cut(column.name),
                column.type,
                _cut(column.frequent[0].value) if column.frequent else "",
                f"{'' if column.exact else '~'}{column.num_values:,}",
                f"{column.coverage:.1%}",
                f"{column.auc:.4f}" if column.auc is not None else notes.mark(column.auc_undefined or ""),
                f"{column.drift.psi:.3f}" if column.drift else "",
                f"{column.drift.unseen:.1%}" if column.drift and column.drift.unseen is not None else "",
            ]
            for column in fields
        ],
        num_texts=3,
        notes=notes,
    )


def _print_others(columns: Sequence[Column]) -> None:
    if columns:
        print_table(
            "Columns not used as fields",
            ["column", "role", "type", "reason", "values", "coverage"],
            [
                [
                    _cut(column.column),
                    column.role,
                    column.type,
                    column.note or "",
                    f"{'' if column.exact else '~'}{column.num_values:,}",
                    f"{column.coverage:.1%}",
                ]
                for column in columns[:_MAX_FIELDS]
            ],
            num_texts=4,
        )


def _print_values(survey: Survey) -> None:
    fields = [column for column in survey.columns if column.role == "field" and column.frequent]
    title = "Label rate by value"
    if len(fields) > _MAX_DETAILED:
        title += f", the {_MAX_DETAILED} fields with the highest AUC (--html and --json show all)"
        fields = _by_auc(fields)[:_MAX_DETAILED]
    lines = []
    for column in fields:
        for number, group in enumerate(_groups(column)):
            name = _cut(column.name) if number == 0 else ""
            rate = "" if group.label_rate is None else f"{group.label_rate:.4f}"
            lines.append([name, _cut(group.value), f"{group.rows:,}", f"{group.share:.1%}", rate])
    if lines:
        print_table(title, ["field", "value", "rows", "fraction", "label rate"], lines, num_texts=2)


def _print_days(name: str, days: Sequence[Day]) -> None:
    if not days:
        return
    # Neighbouring days are put together until the table fits a screen.
    together = -(-len(days) // _MAX_DAYS)
    spans = [days[start : start + together] for start in range(0, len(days), together)]
    print_table(
        f"Label rate by day, column {name}" + (f", {together} days per line" if together > 1 else ""),
        ["from day", "rows", "label rate", "train", "valid", "test"],
        [
            [
                span[0].day,
                f"{sum(day.rows for day in span):,}",
                _mean_rate(span),
                *(f"{sum(day.parts[part] for day in span):,}" for part in ("train", "valid", "test")),
            ]
            for span in spans
        ],
    )


def _mean_rate(days: Sequence[Day]) -> str:
    rated = [(day.label_rate, day.rows) for day in days if day.label_rate is not None]
    return f"{sum(rate * rows for rate, rows in rated) / sum(rows for _, rows in rated):.4f}" if rated else ""


def _groups(column: Column) -> Sequence[Group]:
    """Return the ranges of a number with many values, otherwise the most frequent values."""
    many = column.type == "number" and column.num_values > len(column.frequent)
    return column.ranges if many else column.frequent


def _by_auc(columns: Sequence[Column]) -> list[Column]:
    return sorted(columns, key=lambda column: -(column.auc if column.auc is not None else 0.0))


def _share(rate: float | None, notes: Footnotes, why: str) -> str:
    return notes.mark(why) if rate is None else f"{rate:.4f}"


def _cut(text: str) -> str:
    """Return a text shortened to fit a cell, without line breaks."""
    text = " ".join(text.split()) or text
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 3] + "..."
