"""The day of every example of a prepared part, which the cache does not hold: the raw log is read again for it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.config import Config
from fieldwise.data.chunk import Chunk, naming
from fieldwise.errors import UserError
from fieldwise.features.columns import Columns
from fieldwise.features.encoder import Encoder
from fieldwise.features.moments import read_moments
from fieldwise.jobs.prepare.logs import log_columns, open_sources

__all__ = ["Days", "days_of_rows"]

_DAY = 86_400
_MOST_ROWS = 20_000_000
"""Of a log that is read to its end for the days of one part."""


class Days(NamedTuple):
    """The names of days, in UTC and in order, and for each example (N,) which of them it is of."""

    names: list[str]
    days: npt.NDArray[np.int64]


def days_of_rows(config: Config, encoder: Encoder, part: str, num_examples: int) -> Days | str:
    """Return the days of the examples of a part, in the order of its cache; or why that cannot be done.

    Parameters
    ----------
    config, encoder
        Of the run; the schema has a time.
    part, num_examples
        The part, and how many examples it was found to have.
    """
    field = encoder.schema.time
    assert field is not None, "the schema has a time"
    column = field.columns[0]
    found: list[npt.NDArray[np.float64]] = []
    try:
        sources = [source for source in open_sources(config) if source.part == part] or open_sources(config)[:1]
        [source] = sources
        if source.split is not None and source.log.count_rows()[0] > _MOST_ROWS:
            return "the log is too long to be read again; `fieldwise evaluate --by-day` reads one of your choice"

        def moments(chunk: Chunk) -> npt.NDArray[np.float64] | None:
            own = source.deal(chunk).get(part)
            if own is None:
                return None
            with naming(own.path):
                accepted = encoder.transform(own.table, labelled=True).accepted
                return read_moments(Columns(own.table.select([column])), column, field)[0][accepted]

        found = [each for each in source.log.map(moments, log_columns(encoder.schema)) if each is not None]
    except UserError as error:
        return f"the log cannot be read ({error.what})"
    seconds: npt.NDArray[Any] = np.concatenate(found) if found else np.empty(0)
    if len(seconds) != num_examples:
        return "the log is not the one that was trained on"
    days, places = np.unique(np.floor(np.nan_to_num(seconds, nan=-np.inf) / _DAY), return_inverse=True)
    return Days([str(np.datetime64(int(day), "D")) if np.isfinite(day) else "(no time)" for day in days], places)
