"""What a survey warns of: each rule one function, the gravest first."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

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
    """Yield the warnings.

    Parameters
    ----------
    survey
        All but the warnings.
    num_measured
        Rows of each class that the AUC of a field alone is measured on.
    weights, zeros
        The column of example weights, if there is one, and how many of them are 0.
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
                why="it probably was written after the label, or from it; a model learns it and fails where it is not "
                "known yet",
                fix=f"ask when its value is known; if after the click: {_exclude(column)}",
            )


def _one_class(survey: Survey) -> Iterator[Finding]:
    for name, part in survey.parts.items():
        met = [label for label, rows in part.classes.items() if rows]
        if len(met) == 1 and len(survey.classes) > 1:
            yield Finding(
                kind="constant_label",
                where=f"the {name} rows",
                what=f"all {part.rows:,} rows have the label {met[0]}",
                why="nothing can be learned from, or measured on, a single class: AUC is not defined",
                fix="choose other rows for this part; a log sorted by label cannot be cut by place",
            )
    if len(survey.classes) == 1:
        yield Finding(
            kind="constant_label",
            where=f"column {survey.label}",
            what=f"every row has the label {survey.classes[0]}",
            why="there is nothing to tell apart",
            fix="name another column as the label, or add the rows of the other class",
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
            what=f"{least}{overlap.share:.1%} of these rows are equal to a training row in every field",
            why=f"the log has such rows anyway ({inside:.1%} of the training rows equal another one): the fields may "
            "be too few to tell impressions apart"
            if natural
            else f"metrics on rows that a model has seen are too good ({inside:.1%} of training rows equal another)",
            fix="check that no file is named twice and no row was copied; split by time or by user rather than by row",
        )
    for column in survey.columns:
        if column.role == "id" and column.drift is not None and column.drift.unseen is not None:
            known = 1 - column.drift.unseen
            if known > 0:
                yield Finding(
                    kind="overlap",
                    where=f"column {column.column}",
                    what=f"{known:.2%} of the test rows have an identifier that a training row has too",
                    why="the same impression may be in both parts, and metrics on it are too good",
                    fix="remove the copies, or keep all rows of an identifier in one part",
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
                what="it rises from each row to the next, as a row number does",
                why="no example to come has these values again, and where the log is sorted they tell the label of "
                "their neighbours",
                fix=f"{_exclude(column)}; id = {_toml(column)} in [data] carries it into predictions"
                if is_field
                else f"it is left out already; id = {_toml(column)} in [data] carries it into predictions",
            )


def _useless(fields: Iterable[Column]) -> Iterator[Finding]:
    for column in fields:
        present = column.rows - column.missing
        exclude = _exclude(column)
        if not present:
            yield Finding(
                kind="all_missing",
                where=_field(column),
                what=f"none of the {column.rows:,} rows has a value",
                why="there is nothing to learn from it",
                fix=f"repair the log where it should have values, or {exclude}",
            )
        elif column.num_values == 1 and not column.missing and column.type != "bag":
            yield Finding(
                kind="constant",
                where=_field(column),
                what=f"all rows have the value {column.frequent[0].value!r}",
                why="it cannot tell one example from another, and costs parameters",
                fix=exclude,
            )
        elif column.type == "category" and present >= _MANY_ROWS and _near_unique(column) and not column.counts_rows:
            yield Finding(
                kind="near_unique",
                where=_field(column),
                what=f"{column.num_values:,} distinct values in {present:,} rows",
                why="values that do not come again teach nothing about examples to come, and fill the vocabulary",
                fix=f'{exclude}; or type = "number" if it is a quantity, "bag" if it holds several values',
            )


def _unreadable(survey: Survey, fields: Iterable[Column]) -> Iterator[Finding]:
    if survey.rows_rejected:
        yield Finding(
            kind="rejected_rows",
            where=survey.first_reject or "the log",
            what=f"{survey.rows_rejected:,} of {survey.rows_read:,} rows cannot be used; the first is named",
            why="training leaves them out, and with them what they have in common",
            fix="repair them where they are written; max_rejects in [data] stops where there are too many",
        )
    for column in fields:
        if column.not_numbers:
            yield Finding(
                kind="not_a_number",
                where=_field(column),
                what=f"{column.not_numbers:,} cells hold no finite number where one is expected",
                why="their rows are rejected as a whole, in training and in evaluation",
                fix='empty the cells (missing is allowed), or make the field type = "category"',
            )


def _weights(weights: Column, zeros: int) -> Iterator[Finding]:
    bad = weights.missing + weights.not_numbers
    least = weights.quantiles[0] if weights.quantiles else 0.0
    for kind, found, what, why in (
        ("zero_weights", zeros > 0, f"{zeros:,} rows have the weight 0", "they count for nothing, and take time"),
        ("bad_weights", bad > 0, f"{bad:,} rows have no weight that is a number", "such rows are rejected"),
        ("bad_weights", least < 0, f"the least weight is {least:.6g}", "rows with a negative weight are rejected"),
    ):
        if found:
            yield Finding(
                kind=kind,
                where=f"column {weights.column}",
                what=what,
                why=why,
                fix="check how the column is made; remove these rows, or give them a weight",
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
                what=f"values shift from training to test: PSI {drift.psi:.2f}, by chance {drift.psi_by_chance:.2f}",
                why="what is learned of it may no longer hold; a change of logging looks the same",
                fix="look at the label rates of its values; train on newer rows, or leave it out",
            )
        if drift.unseen is not None and drift.unseen > _UNSEEN and not _near_unique(column):
            yield Finding(
                kind="unseen",
                where=_field(column),
                what=f"{drift.unseen:.0%} of its values in the test rows occur in no training row",
                why="all of them share the feature of unseen values, so the field says little about new examples",
                fix="use a coarser field beside it (a category, a brand), or more training rows",
            )


def _exclude(column: Column) -> str:
    """Say how a field is left out of the configuration."""
    if column.name == column.column:
        return f"exclude = true in {_field(column)}"
    return f"remove [fields.{column.name}], and exclude = [{_toml(column)}] in [data]"


def _toml(column: Column) -> str:
    return json.dumps(column.column, ensure_ascii=False)


def _near_unique(column: Column) -> bool:
    return column.num_values > _NEAR_UNIQUE * (column.rows - column.missing)


def _field(column: Column) -> str:
    if column.role != "field":
        return f"column {column.column}"
    same = column.name == column.column
    return f"[fields.{column.name}]" + ("" if same else f", column {column.column}")
