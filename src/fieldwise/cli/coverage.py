"""The table of missing and unseen values printed by ``evaluate`` and ``predict``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from fieldwise.cli.output import print_table
from fieldwise.counted import counted

if TYPE_CHECKING:
    from fieldwise.jobs.predict.coverage import FieldCoverage

__all__ = ["print_coverage"]

_MAX_FIELDS = 30


def print_coverage(fields: Sequence[FieldCoverage], warnings: Sequence[str]) -> None:
    """Print the missing and unseen rates of the fields (at most 30, those with the largest rates) and the warnings."""
    if fields:
        largest = sorted(fields, key=lambda field: -max(field.missing, field.unseen))[:_MAX_FIELDS]
        shown = [field for field in fields if field in largest]
        title = "Missing and unseen values, in these rows and expected from training"
        if len(shown) < len(fields):
            title += f" ({len(shown)} of {counted(len(fields), 'field')}; all with --json)"
        click.echo()
        print_table(
            title,
            ["field", "missing", "(training)", "unseen", "(training)"],
            [
                [
                    field.name,
                    *map(_percent, (field.missing, field.training_missing, field.unseen, field.training_unseen)),
                ]
                for field in shown
            ],
        )
    for warning in warnings:
        click.echo(f"Warning: {warning}")


def _percent(share: float) -> str:
    return f"{share:.1%}"
