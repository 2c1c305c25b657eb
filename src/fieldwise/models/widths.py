"""How many of a field's units the deep part reads: ``model.widths``.

A field of few values has little to say: the deep part starts with a matrix, so n rows need no more than n - 1 numbers
to be told apart, and as many bits as name them tend to do
(docs/log/2026-11.md#can-fields-with-few-values-be-narrower). All rows of the
table keep K units, for the pairs, and because it is the fields of few rows that are narrowed.
"""

from __future__ import annotations

from collections.abc import Sequence

from fieldwise.models.config import ModelConfig

__all__ = ["kept_units"]


def kept_units(config: ModelConfig, rows: Sequence[int]) -> list[int]:
    """Return the places, among the F K units of an example, of those that the deep part reads, in order.

    With ``cardinality`` a field of n rows has ``min(K, ceil(log2 n))`` of them, at least one: unit 0, and the last,
    which begin with those that are the deep part's own (`ModelConfig.deep_units`).

    Parameters
    ----------
    rows
        (F,), of the table, for each field; those of missing and unseen values among them.

    Examples
    --------
    >>> config = ModelConfig(units=4, widths="cardinality")
    >>> kept_units(config, [4, 100, 3])
    [0, 3, 4, 5, 6, 7, 8, 11]
    >>> kept_units(ModelConfig(units=2), [4, 100])
    [0, 1, 2, 3]
    """
    kept = []
    for field, count in enumerate(rows):
        width = _width(config, count)
        first = field * config.units
        kept += [first, *range(first + config.units - width + 1, first + config.units)]
    return kept


def _width(config: ModelConfig, count: int) -> int:
    if config.widths == "uniform":
        return config.units
    return min(config.units, max(1, (count - 1).bit_length()))
