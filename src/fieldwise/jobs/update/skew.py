"""Whether a server and training read rows alike: what was answered beside what the same version says of the log.

Both ways are taken whole: the probability that the server logged, and that of the row as it stands in the log, read by
the encoder and answered by torch as in training.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fieldwise.bundle import Bundle
from fieldwise.features.served import as_served
from fieldwise.jobs.update.judge import Version, answers_of
from fieldwise.jobs.update.result import Skew
from fieldwise.jobs.update.sources import ServedRows
from fieldwise.models.load import load_model

__all__ = ["SkewCheck"]

_MOST_ROWS = 1 << 17
_MATTERS = 1e-4
_DIGITS = 12
"""Of its checksum, by which a version is known that has no number (`serving.version`)."""


class SkewCheck:
    """Compares the rows that a version has answered.

    Parameters
    ----------
    bundle, number
        The version in use.
    source
        The server's log.
    """

    def __init__(self, bundle: Bundle, number: int, source: ServedRows) -> None:
        self._bundle, self._source = bundle, source
        self._names = pa.array([str(number), bundle.digest[:_DIGITS]])
        self._version: Version | None = None
        self._rows, self._largest = 0, 0.0

    def look(self, table: pa.Table) -> None:
        """Compare rows of the log, until enough were compared."""
        chosen = pc.is_in(table[self._source.version].cast(pa.string()), self._names)
        table = table.filter(chosen).slice(0, _MOST_ROWS - self._rows)
        if not table.num_rows:
            return
        if self._version is None:
            self._version = Version(self._bundle.encoder, load_model(self._bundle))
        said = np.array(table[self._source.probability].to_pylist())
        first = 0
        for again, examples in answers_of(self._version, as_served(table, self._bundle.encoder.schema), labelled=False):
            now = said[first : first + len(again)]
            first += examples.batch.num_examples
            self._largest = max(self._largest, float(np.abs(now - again).max(initial=0.0)))
        self._rows += first

    def result(self) -> Skew | None:
        """Return what was found; None where the version in use has answered no row."""
        return Skew(rows=self._rows, largest=self._largest) if self._rows else None

    def warning(self) -> str | None:
        """Say that server and training differ; None where they do not."""
        if self._largest <= _MATTERS:
            return None
        return (
            f"what was answered differs by up to {self._largest:.2g} from what the same version says of the logged "
            "rows: server and training do not read them alike"
        )
