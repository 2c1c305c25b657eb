"""Inferring missing settings from the first rows of a log and the columns of all files.

The names and types of the columns of all files are known before rows are read, values only for the first rows
(`jobs.init.sample`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from fieldwise.config import Config, parse_config
from fieldwise.data.chunk import naming
from fieldwise.data.libsvm import QUERY
from fieldwise.data.log import Log
from fieldwise.data.log_columns import LogColumns
from fieldwise.jobs.init.fields import Inferred, columns_excluded, columns_named, infer_schema
from fieldwise.jobs.init.sample import Sample, read_sample
from fieldwise.jobs.init.starter import write_config
from fieldwise.jobs.prepare.logs import log_columns

__all__ = ["infer_from", "starting_config"]


def infer_from(config: Config, logs: Sequence[Log]) -> tuple[Inferred, pa.Table]:
    """Complete the schema of a configuration.

    Parameters
    ----------
    config
        Its ``[data]`` and ``[fields]``.
    logs
        The training log, and those of the other parts: a column that one of their files lacks is left out unless the
        configuration names it.

    Returns
    -------
    The schema with its reasons, and the sample of the training log.

    Raises
    ------
    DataError
        As `infer_schema` does; a file lacks a column that the configuration names, or spells it otherwise than the
        others; types of a column cannot be read alike.
    """
    layout = logs[0].layout if len(logs) == 1 else LogColumns.of_all(log.layout for log in logs)
    named, excluded = columns_named(config), columns_excluded(config)
    layout.require(name for name in layout.partial if name in named)
    layout.require(name for name in layout.misspelled() if name not in excluded)
    sample = read_sample(logs[0], [*layout.common, *(name for name in layout.hidden if name in named)])
    with naming(logs[0].files[0]):
        inferred = infer_schema(config, sample, layout.partial)
    layout.require(log_columns(inferred.schema))
    layout.refuse_mixtures(inferred.schema)
    return inferred, sample


def starting_config(
    sample: Sample, paths: Sequence[str], label: str | None = None, **options: Any
) -> tuple[str, list[str]]:
    """Return what `write_config` prints for a log, and the columns that are left out because of their types.

    Parameters
    ----------
    sample
        Of this log.
    paths, label, options
        As for `write_config`.

    Raises
    ------
    DataError
        As `write_config` does; a column that is named has types that cannot be read alike.
    """
    table, layout = sample.table, sample.log.layout
    absent = dict(layout.partial)
    if sample.log.formats == {"libsvm"} and QUERY in table.column_names and options.get("group") is None:
        options |= {"group": QUERY, "exclude": (QUERY,)}
    mixed: list[str] = []
    while True:
        text = write_config(table, paths, label, csv=sample.csv, absent=absent, **options)
        if not layout.is_mixed:
            return text, mixed
        schema = infer_schema(parse_config(text), table, absent).schema
        mixtures = layout.mixtures(schema)
        if not mixtures:
            return text, mixed
        if any(name in mixtures for name in (schema.label, schema.weight, schema.group, schema.split)):
            layout.refuse_mixtures(schema)
        absent |= {name: layout.why_mixed(name, *found) for name, found in mixtures.items()}
        mixed += mixtures
        table = table.drop_columns(list(mixtures))
