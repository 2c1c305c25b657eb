"""The warnings of a survey: one function per rule, the most serious first."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from fieldwise.counted import counted
from fieldwise.profile.survey.result import Column, Finding, Survey

__all__ = ["findings"]

_LEAK = 0.95
_ENOUGH = 20  # rows of a class: with fewer, an AUC above the bar may be luck
_NEAR_UNIQUE = 0.9
_MANY_ROWS = 1_000
_OVERLAP = 0.01
_HEAVY_PSI = 0.25
_TIMES_CHANCE = 3.0
_UNSEEN = 0.5


def findings(survey: Survey, *, num_measured: dict[str, int], weights: Column | None, zeros: int) -> Iterator[Finding]:
    """Yield the warnings about a log.

    Parameters
    ----------
    survey
        The survey, without warnings.
    num_measured
        Number of rows of each class on which the AUC of a field alone is measured.
    weights, zeros
        The column of example weights, if there is one, and the number of weights that are 0.
    """
    fields = [column for column in survey.columns if column.role == "field"]
    enough = sum(rows >= _ENOUGH for rows in num_measured.values()) > 1
    yield from _leaks(fields, survey.measured_on) if enough else ()
    yield from _one_class(survey)
    yield from _overlaps(survey)
    yield from _row_numbers(survey.columns)
    yield from _useless(fields)
    yield from _unreadable(survey, fields)
    if weights is not None:
        yield from _weights(weights, zeros)
    yield from _drifts(fields)


def _leaks(fields: Iterable[Column], measured_on: str) -> Iterator[Finding]:
    for column in fields:
        if column.auc is not None and max(column.auc, 1 - column.auc) > _LEAK:
            yield Finding(
                kind="leak",
                where=_field(column),
                what=f"the field alone has an AUC of {column.auc:.4f} on {measured_on}",
                why="it was probably recorded after the label or derived from it; a model that relies on it fails when "
                "it is not known yet",
                fix=f"find out when its value is known; if only after the click: {_exclude(column)}",
            )


def _one_class(survey: Survey) -> Iterator[Finding]:
    for name, part in survey.parts.items():
        met = [label for label, rows in part.classes.items() if rows]
        if len(met) == 1 and len(survey.classes) > 1:
            yield Finding(
                kind="constant_label",
                where=f"the {name} rows",
                what=f"{counted(part.rows, 'row')}, all with the label {met[0]}",
                why="a model cannot be trained or evaluated on a single class; AUC is undefined",
                fix="choose other rows for this part; a log sorted by label cannot be split by position",
            )
    if len(survey.classes) == 1:
        yield Finding(
            kind="constant_label",
            where=f"column {survey.label}",
            what=f"every row has the label {survey.classes[0]}",
            why="there is nothing to predict",
            fix="choose another label column, or add rows of the other class",
        )


def _overlaps(survey: Survey) -> Iterator[Finding]:
    for overlap in survey.overlap:
        if overlap.share < _OVERLAP:
            continue
        inside = overlap.share_inside_training
        natural = inside >= overlap.share / 2
        least = "at least " if survey.share < 1 else ""
        yield Finding(
            kind="overlap",
            where=f"the {overlap.part} rows",
            what=f"{least}{overlap.share:.1%} of these rows equal a training row in every field",
            why=f"duplicates are common in this log ({inside:.1%} of the training rows equal another one); there "
            "may be too few fields to distinguish impressions"
            if natural
            else f"metrics on rows seen in training are too optimistic ({inside:.1%} of training rows equal another)",
            fix="check for duplicate files and rows; split by time or by user instead of by row",
        )
    for column in survey.columns:
        if column.role == "id" and column.drift is not None and column.drift.unseen is not None:
            known = 1 - column.drift.unseen
            if known > 0:
                yield Finding(
                    kind="overlap",
                    where=f"column {column.column}",
                    what=f"{known:.2%} of the test rows have an identifier that also occurs in training",
                    why="the same impression may be in both parts, which makes metrics too optimistic",
                    fix="remove duplicates, or keep all rows with the same identifier in one part",
                )


def _row_numbers(columns: Iterable[Column]) -> Iterator[Finding]:
    for column in columns:
        if column.role in ("field", "left out") and column.type != "time" and column.counts_rows:
            if column.rows - column.missing < _ENOUGH or not _near_unique(column):
                continue
            is_field = column.role == "field"
            yield Finding(
                kind="row_number",
                where=_field(column),
                what="its values increase from row to row, like a row number",
                why="new examples never have these values, and in a sorted log they reveal the labels of neighbouring "
                "rows",
                fix=f"{_exclude(column)}; id = {_toml(column)} in [data] copies it to predictions"
                if is_field
                else f"none needed, it is left out; id = {_toml(column)} in [data] copies it to predictions",
            )


def _useless(fields: Iterable[Column]) -> Iterator[Finding]:
    for column in fields:
        present = column.rows - column.missing
        exclude = _exclude(column)
        if not present:
            yield Finding(
                kind="all_missing",
                where=_field(column),
                what=f"{counted(column.rows, 'row')}, none with a value",
                why="the field contains no information",
                fix=f"fix the log if it should have values, or {exclude}",
            )
        elif column.num_values == 1 and not column.missing and column.type != "bag":
            yield Finding(
                kind="constant",
                where=_field(column),
                what=f"all rows have the value {column.frequent[0].value!r}",
                why="the field contains no information and costs parameters",
                fix=exclude,
            )
        elif column.type == "category" and present >= _MANY_ROWS and _near_unique(column) and not column.counts_rows:
            yield Finding(
                kind="near_unique",
                where=_field(column),
                what=f"{counted(column.num_values, 'distinct value')} in {counted(present, 'row')}",
                why="values that never recur do not help on new examples, and they fill the vocabulary",
                fix=f'{exclude}; or use type = "number" for a quantity, "bag" for several values in one cell',
            )


def _unreadable(survey: Survey, fields: Iterable[Column]) -> Iterator[Finding]:
    if survey.rows_rejected:
        yield Finding(
            kind="rejected_rows",
            where=survey.first_reject or "the log",
            what=f"{survey.rows_rejected:,} of {counted(survey.rows_read, 'row')} rejected, this one first",
            why="they are left out of training, which may bias the model",
            fix="fix the process that writes them; max_rejects in [data] sets a limit",
        )
    for column in fields:
        if column.not_numbers:
            yield Finding(
                kind="not_a_number",
                where=_field(column),
                what=f"{counted(column.not_numbers, 'cell is not a finite number', 'cells are not finite numbers')}",
                why="their rows are rejected, in training and in evaluation",
                fix='make the cells empty (missing), or use type = "category"',
            )


def _weights(weights: Column, zeros: int) -> Iterator[Finding]:
    bad = weights.missing + weights.not_numbers
    least = weights.quantiles[0] if weights.quantiles else 0.0
    for kind, found, what, why in (
        (
            "zero_weights",
            zeros > 0,
            f"{counted(zeros, 'row has', 'rows have')} weight 0",
            "they have no effect but take time",
        ),
        ("bad_weights", bad > 0, f"no valid weight in {counted(bad, 'row')}", "such rows are rejected"),
        ("bad_weights", least < 0, f"the smallest weight is {least:.6g}", "rows with a negative weight are rejected"),
    ):
        if found:
            yield Finding(
                kind=kind,
                where=f"column {weights.column}",
                what=what,
                why=why,
                fix="check how the column is computed; remove these rows or give them a weight",
            )


def _drifts(fields: Iterable[Column]) -> Iterator[Finding]:
    for column in fields:
        drift = column.drift
        if drift is None:
            continue
        if drift.psi > max(_HEAVY_PSI, _TIMES_CHANCE * drift.psi_by_chance):
            yield Finding(
                kind="drift",
                where=_field(column),
                what=f"its distribution shifts from training to test: PSI {drift.psi:.2f}, expected by chance "
                f"{drift.psi_by_chance:.2f}",
                why="what the model learns from it may no longer hold; a change in logging has the same effect",
                fix="check the label rates of its values; train on more recent rows, or leave it out",
            )
        if drift.unseen is not None and drift.unseen > _UNSEEN and not _near_unique(column):
            yield Finding(
                kind="unseen",
                where=_field(column),
                what=f"{drift.unseen:.0%} of its values in the test rows do not occur in training",
                why="they all share the unseen feature, so the field says little about new examples",
                fix="add a coarser field (such as a category or brand), or use more training rows",
            )


def _exclude(column: Column) -> str:
    """Return how to exclude a field in the configuration."""
    if column.name == column.column:
        return f"exclude = true in {_field(column)}"
    return f"remove [fields.{column.name}] and set exclude = [{_toml(column)}] in [data]"


def _toml(column: Column) -> str:
    return json.dumps(column.column, ensure_ascii=False)


def _near_unique(column: Column) -> bool:
    return column.num_values > _NEAR_UNIQUE * (column.rows - column.missing)


def _field(column: Column) -> str:
    if column.role != "field":
        return f"column {column.column}"
    same = column.name == column.column
    return f"[fields.{column.name}]" + ("" if same else f", column {column.column}")
