"""The HTML report of ``fieldwise check``: warnings, then a table per field with its label rates by value as bars."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from fieldwise.counted import counted
from fieldwise.data.read_report import describe
from fieldwise.profile.survey.result import Column, Day, Group, Survey
from fieldwise.report.page import page, table

__all__ = ["PAGE_MARK", "survey_page"]

PAGE_MARK = '<meta name="generator" content="fieldwise check">'
"""Identifies a report, which may be replaced by a newer one."""


def survey_page(survey: Survey) -> str:
    """Return the HTML report of a survey; all texts from the log are escaped.

    Examples
    --------
    >>> from fieldwise.data.read_report import ReadReport
    >>> from fieldwise.profile.survey.result import PartSummary
    >>> part = PartSummary(rows=2, classes={"0": 1, "1": 1}, label_rate=0.5)
    >>> drawn = survey_page(
    ...     Survey(files=("a<b.csv",), rows_in_log=2, rows_read=2, share=1.0, rows_rejected=0, first_reject=None,
    ...            read=ReadReport(files=1, rows_read=2, rows_used=2, rows_rejected=0),
    ...            label="click", classes=("0", "1"), parts={"train": part}, measured_on="", columns=(), days={},
    ...            overlap=())
    ... )
    >>> "a&lt;b.csv" in drawn, "<script" in drawn
    (True, False)
    """
    fields = [column for column in survey.columns if column.role == "field"]
    others = [column for column in survey.columns if column.role != "field"]
    body = [
        f"<h1>Log profile: label {escape(survey.label)}</h1>",
        f'<p class="facts">{_files(survey.files)}<br>{survey.rows_read:,} of {counted(survey.rows_in_log, "row")} read'
        f"{'' if survey.share == 1 else ', sampled at random'}; {survey.rows_rejected:,} of them rejected."
        f"{''.join(f'<br>{escape(line)}' for line in describe(survey.read))}"
        "</p>",
        *_warnings(survey),
        "<h2>Parts</h2>",
        table(
            ["part", "rows", "label rate"],
            [[name, f"{part.rows:,}", _rate(part.label_rate)] for name, part in survey.parts.items()],
        ),
        *(f"<h2>Label rate by day: {escape(name)}</h2>{_days(days)}" for name, days in survey.days.items() if days),
        f"<h2>Fields</h2><p class=facts>AUC of each field alone on {escape(survey.measured_on)}, with label rates "
        "estimated on other rows. Drift is the population stability index from training to test.</p>",
        table(
            ["field", "type", "values", "coverage", "missing", "AUC alone", "drift", "by chance", "unseen"],
            [_line(column) for column in fields],
            num_texts=2,
        ),
        *(
            f"<p class=facts>Not profiled: {escape(name)}, the cross of {escape(' and '.join(parts))}.</p>"
            for name, parts in survey.crosses.items()
        ),
        *(_field(column) for column in fields),
        "<h2>Columns not used as fields</h2>",
        table(
            ["column", "role", "why", "values", "coverage"],
            [[c.column, c.role, c.note or "", _number(c), f"{c.coverage:.1%}"] for c in others],
            num_texts=3,
        ),
    ]
    return page(f"{survey.label}: log profile", PAGE_MARK, body)


def _files(files: Sequence[str]) -> str:
    more = f" and {len(files) - 3:,} more files" if len(files) > 3 else ""
    return ", ".join(map(escape, files[:3])) + more


def _warnings(survey: Survey) -> Iterable[str]:
    if not survey.warnings:
        yield "<p>No warnings.</p>"
    for warning in survey.warnings:
        yield (
            f'<div class="warning"><p><b>{escape(warning.kind.replace("_", " "))}</b>, {escape(warning.where)}: '
            f"{escape(warning.what)}</p><p>Why it matters: {escape(warning.why)}.</p>"
            f"<p>Hint: {escape(warning.fix)}.</p></div>"
        )


def _line(column: Column) -> list[str]:
    drift = column.drift
    return [
        column.name,
        column.type,
        _number(column),
        f"{column.coverage:.1%}",
        f"{column.missing:,}",
        "-" if column.auc is None else f"{column.auc:.4f}",
        "-" if drift is None else f"{drift.psi:.4f}",
        "-" if drift is None else f"{drift.psi_by_chance:.4f}",
        "-" if drift is None or drift.unseen is None else f"{drift.unseen:.1%}",
    ]


def _field(column: Column) -> str:
    facts = [
        column.type,
        f"{_number(column)} value{'s' * (column.num_values != 1)}",
        f"{column.missing:,} of {counted(column.rows, 'row')} missing",
    ]
    if column.quantiles is not None:
        least, median, greatest = column.quantiles
        facts.append(f"{least:.6g} to {greatest:.6g}, median {median:.6g}")
    if column.auc_undefined:
        facts.append(f"no AUC: {column.auc_undefined}")
    parts = [f'<h3>{escape(column.name)}</h3><p class="facts">{escape("; ".join(facts))}</p>']
    parts += [_groups(heading, found) for heading, found in (("value", column.frequent), ("range", column.ranges))]
    return "".join(parts)


def _groups(heading: str, groups: Sequence[Group]) -> str:
    if not groups:
        return ""
    lines = [
        [
            escape(group.value[:80]),
            f"{group.rows:,}",
            f"{group.share:.1%}",
            _rate(group.label_rate),
            _bar(group.label_rate),
        ]
        for group in groups
    ]
    return table([heading, "rows", "share", "label rate", ""], lines, escaped=True)


def _days(days: Sequence[Day]) -> str:
    """Return the label rate of each day; figures alone, for the picture is a library's that `check` can do without."""
    lines = [
        [
            escape(day.day),
            f"{day.rows:,}",
            _rate(day.label_rate),
            _bar(day.label_rate),
            *(f"{rows:,}" for rows in day.parts.values()),
        ]
        for day in days
    ]
    shown = table(["day", "rows", "label rate", "", *days[0].parts], lines, escaped=True)
    return f"<details open><summary>{counted(len(days), 'day')}</summary>{shown}</details>"


def _bar(rate: float | None) -> str:
    return "" if rate is None else f'<meter min="0" max="1" value="{rate:.4f}">{rate:.4f}</meter>'


def _number(column: Column) -> str:
    return f"{'' if column.exact else 'about '}{column.num_values:,}"


def _rate(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.4f}"
