"""Inferring the label column."""

from __future__ import annotations

import pyarrow as pa

from fieldwise.errors import DataError
from fieldwise.features.columns import Columns
from fieldwise.features.labels import merge_spellings, tidy
from fieldwise.features.missing import IN_TEXTS
from fieldwise.profile.infer.names import label_rank
from fieldwise.profile.infer.values import Values

__all__ = ["guess_label"]

_FLAGS = frozenset({"0", "1", "-1", "true", "false", "yes", "no", "y", "n"})
_MANY_TEXTS = 100
_STRAYS = 0.01
"""Of the rows, in which a class may occur that is none: training refuses them by name."""


def guess_label(sample: pa.Table) -> str | None:
    """Return the column that is most likely the label, or None if there is no candidate or several equally likely ones.

    Candidates are columns with two classes, however spelled, and a usual name: ``click``, ``label``, ``target``, ``y``,
    then names such as ``user_clicked`` and ``conversion``; otherwise the only column of flags (0 and 1, yes and no). A
    column with a usual name may have a single class in the sample, since the log may be sorted.

    Examples
    --------
    >>> guess_label(pa.table({"id": [1, 2, 3], "Clicked": ["0", "1", "0"], "mobile": [1, 0, 0]}))
    'Clicked'
    >>> guess_label(pa.table({"a": [0, 1], "b": [1, 0]})) is None
    True
    """
    columns = Columns(sample)
    classes: dict[str, set[str]] = {
        name: found for name in sample.column_names if (found := _two_values(columns, name))
    }
    ranks: list[tuple[int, str]] = [(rank, name) for name in classes if (rank := label_rank(name)) is not None]
    if ranks:
        return min(ranks, key=lambda ranked: ranked[0])[1]
    flags = [name for name, found in classes.items() if len(found) == 2 and _FLAGS.issuperset(found)]
    return flags[0] if len(flags) == 1 else None


def _two_values(columns: Columns, name: str) -> set[str]:
    """Return the classes of a column in lower case, spellings put together and strays left out; nothing where they are
    more than two.
    """
    try:
        values = Values(columns.array(name)).without(IN_TEXTS, of_numbers=False)
    except DataError:  # lists have no text
        return set()
    if values.num_distinct > _MANY_TEXTS:
        return set()
    rows = merge_spellings(dict(zip(map(tidy, values.texts.to_pylist()), values.counts.tolist(), strict=True)))
    classes = {text.lower() for text, num in rows.items() if num > _STRAYS * values.num_present or len(rows) <= 2}
    return classes if len(classes) <= 2 else set()
