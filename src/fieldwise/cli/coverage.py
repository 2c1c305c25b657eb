"""What is missing and unseen in rows that a model is asked about, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from fieldwise.cli.output import print_table

if TYPE_CHECKING:
    from fieldwise.jobs.predict.coverage import FieldShares

__all__ = ["print_coverage"]

_MAX_FIELDS = 30


def print_coverage(fields: Sequence[FieldShares], warnings: Sequence[str]) -> None:
    """Print the shares of the fields, those with the largest first where there are many, and the warnings."""
    if fields:
        largest = sorted(fields, key=lambda field: -max(field.missing, field.unseen))[:_MAX_FIELDS]
        shown = [field for field in fields if field in largest]
        title = "Values missing and unseen, in these rows and as training leads to expect"
        if len(shown) < len(fields):
            title += f" ({len(shown)} of {len(fields)} fields; all with --json)"
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
