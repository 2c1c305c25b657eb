"""The columns that `check` profiles: those of every field, then those that no field reads, with the reason."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from fieldwise.errors import DataError
from fieldwise.features.columns import Columns
from fieldwise.jobs.init.fields import Inferred
from fieldwise.profile.infer.guess import guess_column
from fieldwise.profile.infer.meaning import Guess
from fieldwise.profile.infer.values import Values
from fieldwise.profile.survey.column import SurveyedColumn
from fieldwise.schema import Field

__all__ = ["columns_to_survey"]

_ROLES = ("weight", "group", "id", "split")


def columns_to_survey(inferred: Inferred, sample: pa.Table) -> Iterator[SurveyedColumn]:
    """Yield the columns of the fields, then the columns that no field reads.

    Parameters
    ----------
    inferred
        The schema and its reasons.
    sample
        The first rows of the log, with all columns.
    """
    schema, columns = inferred.schema, Columns(sample)
    seen_times: set[str] = set()
    for field in schema.fields:
        if field.column is None or field.column in seen_times:
            continue
        is_time = inferred.guesses[field.column].role == "time"
        name, kind = field.column, str(field.type)
        if field.type == "time":  # its hour, weekday and so on are looked at as one: the column as it is
            seen_times.add(field.column)
            field = Field(name=field.column, column=field.column, missing=field.missing)
        yield SurveyedColumn(field, "field", kind, None, _may_count(columns, name), is_time)
    roles = {getattr(schema, role): role for role in _ROLES if getattr(schema, role) is not None}
    for name in sample.column_names:
        if name in schema.label_columns or name in schema.columns:
            continue
        guess = inferred.guesses.get(name) or guess_column(name, columns.array(name))
        role = roles.get(name) or ("id" if guess.role == "id" and schema.id is None else "left out")
        note = None if name in roles else _why_left_out(inferred, name, guess)
        kind = "number" if role == "weight" else _type(guess, columns, name)
        field = Field(
            name=name or "(no name)", column=name, type="bag" if kind == "bag" else "category",
            separator=guess.separator or "|", brackets=kind == "bag" and guess.brackets,
            weighted=kind == "bag" and guess.weighted, missing=guess.missing,
        )  # fmt: skip
        # A column that looks like an identifier is treated as one, even if it is not configured.
        counts = _may_count(columns, name)
        if role == "id" and name not in roles and counts:
            role = "left out"
        yield SurveyedColumn(field, role, kind, note, counts, guess.role == "time")


def _why_left_out(inferred: Inferred, name: str, guess: Guess) -> str:
    reason = inferred.left_out.get(name, "")
    return f"{reason}; {guess.reason}" if guess.left_out and reason != guess.reason else reason


def _type(guess: Guess, columns: Columns, name: str) -> str:
    if guess.role == "time":
        return "time"
    if guess.type == "bag":
        return "other" if guess.left_out else "bag"
    try:
        Values(columns.array(name).slice(0, 0))
    except DataError:
        return "other"
    return guess.type


def _may_count(columns: Columns, name: str) -> bool:
    """Return whether the values of the sample are whole numbers that increase from row to row."""
    try:
        values = Values(columns.array(name))
    except DataError:
        return False
    whole = values.whole_numbers
    if whole is None or values.num_missing or values.num_distinct < values.num_present:
        return False
    return bool((np.diff(whole) > 0).all())
