"""Several labels that one model learns together (docs/labels.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from fieldwise.errors import ConfigError, did_you_mean

__all__ = ["MAX_LABELS", "NUM_STATES", "Label", "check_labels"]

MAX_LABELS = 4
"""What an example says of all of them together is then one byte of a prepared log."""
NUM_STATES = 4
"""What an example says of one of several labels takes two bits (`kernels.joint_labels`)."""


class Label(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of several labels, each of two classes, that one model learns together (docs/labels.md).

    Attributes
    ----------
    label
        The column. An empty cell is an example that says nothing of this label.
    among
        The label, of those before this one, among whose positive examples this one is counted, as a conversion is among
        clicks: ``p(conversion) = p(click) p(conversion | click)`` (Ma et al., Entire Space Multi-Task Model, SIGIR
        2018). None: it is counted among all examples.
    weight
        Of its logloss in the sum that is learned from, > 0.
    classes
        The texts of negative and positive; empty until the encoder is fitted.
    positive
        The positive class; after fitting, the second of `classes`.
    """

    label: str
    among: str | None = None
    weight: Annotated[float, Meta(gt=0)] = 1.0
    classes: tuple[str, ...] = ()
    positive: str | None = None


def check_labels(labels: Sequence[tuple[str, str | None]]) -> None:
    """Refuse labels, each with the one among whose positive examples it is counted, that cannot be learned together.

    Raises
    ------
    ConfigError
        What is wrong with ``data.labels``, and what would be right.
    """
    columns = [column for column, _ in labels]
    if len(set(columns)) < len(columns) or len(columns) == 1 or len(columns) > MAX_LABELS:
        raise ConfigError(
            "labels that are learned together must be distinct columns",
            where="data.labels",
            expected=f"2 to {MAX_LABELS} of them",
            got=", ".join(columns),
            fix=f'data.label = "{columns[0]}" is for one label' if len(set(columns)) == 1 else None,
        )
    for number, (column, among) in enumerate(labels):
        if among is not None and among not in columns[:number]:
            raise ConfigError(
                "a label is counted among the positive examples of one before it",
                where=f"data.labels, {column}",
                expected=f"among = {' or '.join(columns[:number]) or 'nothing, for the first label'}",
                got=among,
                fix=did_you_mean(among, columns[:number]),
            )
