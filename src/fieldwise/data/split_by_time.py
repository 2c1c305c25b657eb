"""A split in the order of time: the last rows are for testing, those before them for validation, the first to train on.

Rows that are later still, of folds to come (``data.folds``), have no part. The moments at which parts begin follow from
the times of all rows, which are read once for it. They are counted in steps of 1, 2, 4 ... seconds, as many as it takes
for no more than a million different counts.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

import numpy as np
import numpy.typing as npt

from fieldwise.counted import counted
from fieldwise.data.chunk import Chunk, RejectedRow, excerpt, naming
from fieldwise.data.log import Log
from fieldwise.data.split import NO_PART, PARTS, Parts, check_shares
from fieldwise.errors import DataError
from fieldwise.features.columns import Columns, shown
from fieldwise.features.moments import read_moments
from fieldwise.schema import Field

__all__ = ["MomentCounts", "SplitByTime"]

_MOST_COUNTS = 1 << 20
_FIRST_MOMENT = -62_135_596_800
"""The year 1: from there on steps are halved to 0 in the end, not to -1 and 0."""
_NEVER = np.inf
_SECONDS_PER_DAY = 86_400

Float64s = npt.NDArray[np.float64]


class MomentCounts:
    """How many rows lie at which moments.

    The counts do not depend on how the rows come: steps are doubled only where all rows together ask for it.

    Parameters
    ----------
    most
        Different counts, 1 or more.

    Attributes
    ----------
    num_rows
        With a moment.

    Examples
    --------
    >>> counts = MomentCounts(most=4)
    >>> counts.add(np.arange(8.0))
    >>> counts.step, counts.latest(0.25), counts.latest(0.0)
    (2, 6.0, inf)
    """

    def __init__(self, most: int = _MOST_COUNTS) -> None:
        self.num_rows = 0
        self._step, self._num_waiting = 1, 0
        self._waiting: list[npt.NDArray[np.int64]] = []
        self._most = most
        self._steps = np.empty(0, dtype=np.int64)
        self._counts = np.empty(0, dtype=np.int64)

    def add(self, seconds: Float64s) -> None:
        """Count some rows by their moments, in whole seconds; NaN is none."""
        moments = seconds[~np.isnan(seconds)].astype(np.int64) - _FIRST_MOMENT
        self.num_rows += len(moments)
        self._waiting.append(moments)
        self._num_waiting += len(moments)
        if self._num_waiting >= self._most:
            self._count()

    @property
    def step(self) -> int:
        """Seconds, a power of two."""
        self._count()
        return self._step

    @property
    def num_moments(self) -> int:
        """Different ones, as far as the steps tell them apart."""
        self._count()
        return len(self._steps)

    @property
    def oldest(self) -> float:
        """The first moment of all, as nearly as the steps allow; inf where there is none."""
        self._count()
        return float(self._steps[0] * self._step + _FIRST_MOMENT) if len(self._steps) else _NEVER

    @property
    def newest(self) -> float:
        """The last moment of all, as nearly as the steps allow; inf where there is none."""
        self._count()
        return float(self._steps[-1] * self._step + _FIRST_MOMENT) if len(self._steps) else _NEVER

    def latest(self, share: float) -> float:
        """Return the moment at which the last `share` of the rows begins, as nearly as steps allow; inf for none."""
        if share <= 0 or not self.num_rows:
            return _NEVER
        self._count()
        after = np.append(self._counts[::-1].cumsum()[::-1], 0)  # rows in this step and all later ones
        # Rounded, for one share written in two ways must not fall to either side of the middle between two moments:
        # folds would then share a row, or leave one out.
        at = int(np.abs(after - round(share * float(after[0]), 6)).argmin())
        return _NEVER if at == len(self._steps) else float(self._steps[at] * self._step + _FIRST_MOMENT)

    def _count(self) -> None:
        """Count the rows that wait: sorting as many as there are counts costs little beside sorting every few."""
        if not self._num_waiting:
            return
        steps = np.concatenate(self._waiting) // self._step
        self._waiting, self._num_waiting = [], 0
        self._merge(np.append(self._steps, steps), np.append(self._counts, np.ones(len(steps), dtype=np.int64)))
        while len(self._steps) > self._most:
            self._step *= 2
            self._merge(self._steps // 2, self._counts)

    def _merge(self, steps: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> None:
        self._steps, places = np.unique(steps, return_inverse=True)
        self._counts = np.bincount(places, counts, len(self._steps)).astype(np.int64)


class SplitByTime:
    """Give each row to a part by its moment; a row without one is rejected.

    Rows of one moment are in one part, so shares are met as nearly as that allows. When the first rows are dealt, the
    times of all are read.

    Parameters
    ----------
    open_log
        Opens the log whose rows are dealt.
    field
        The column with the times, and how they are written (`features.moments`).
    valid, test
        Shares, 0 or more and below 1 together; training has the first rows, testing the last.
    later
        The share of rows behind those for testing, which have no part: 0 or more, below 1 with the others.
    half_life
        Days, > 0, after which a training row counts half as much (`recency`); None: all count alike.
    """

    def __init__(
        self,
        open_log: Callable[[], Log],
        field: Field,
        valid: float = 0.0,
        test: float = 0.0,
        half_life: float | None = None,
        *,
        later: float = 0.0,
    ) -> None:
        check_shares(valid, test + later)
        assert field.column is not None, "a time has a column"
        self._open_log, self._field, self._column = open_log, field, field.column
        self._shares, self._half_life = (valid, test, later), half_life
        self._begin: tuple[float, float, float] | None = None
        self._newest = _NEVER
        self._lock = Lock()  # chunks are dealt in several threads

    @property
    def remarks(self) -> list[str]:
        """When the parts begin, once rows have been dealt."""
        if self._begin is None:
            return []
        named = [
            f"{part} from {str(np.datetime64(int(moment), 's')).replace('T', ' ')} UTC on"
            for part, share, moment in zip(("valid", "test", "later folds"), self._shares, self._begin, strict=True)
            if share and moment != _NEVER
        ]
        return [f"parts are cut by the time in {self._column}: {', '.join(['train first', *named])}"] if named else []

    def parts(self, chunk: Chunk) -> tuple[Parts, list[RejectedRow]]:
        """See `split.Split`.

        Raises
        ------
        DataError
            The log lacks the column, its type holds no times, no row has one, or none is left to train on.
        """
        valid_from, test_from, later_from = self._boundaries()
        with naming(chunk.path):
            columns = Columns(chunk.table)
            seconds, bad = read_moments(columns, self._column, self._field)
        parts = np.zeros(len(seconds), dtype=np.uint8)
        parts[seconds >= valid_from] = PARTS.index("valid")
        parts[seconds >= test_from] = PARTS.index("test")
        parts[(seconds >= later_from) | np.isnan(seconds)] = NO_PART
        cells = columns.array(self._column)
        rejects = [
            RejectedRow(
                int(chunk.rows[row]),
                excerpt(shown(cells[int(row)])),
                f"the time is {'not a point in time' if bad[row] else 'missing'}, so the row has no part",
                self._column,
            )
            for row in np.flatnonzero(np.isnan(seconds))
        ]
        return parts, rejects

    def recency(self, chunk: Chunk) -> npt.NDArray[np.float32] | None:
        """Return ``2^(-age / half_life)`` of training rows, (R,), their age counted back from where the training part
        ends; None where all count alike.
        """
        if self._half_life is None:
            return None
        end = min(*self._boundaries(), self._newest)
        ages = (end - self._moments(chunk)) / _SECONDS_PER_DAY
        return np.exp2(-ages / self._half_life).astype(np.float32)

    def _moments(self, chunk: Chunk) -> Float64s:
        with naming(chunk.path):
            return read_moments(Columns(chunk.table), self._column, self._field)[0]

    def _boundaries(self) -> tuple[float, float, float]:
        with self._lock:
            if self._begin is None:
                counts, log = MomentCounts(), self._open_log()
                for seconds in log.map(self._moments, [self._column]):
                    counts.add(seconds)
                if not counts.num_rows:
                    raise DataError(
                        "the log cannot be cut by time",
                        where=f"data.time = {self._column}, {log.files[0]}",
                        expected="points in time",
                        got="none in any row",
                        fix="name another column; or state how its times are written: "
                        f'fields.{self._column} = {{ exclude = true, format = "%d/%m/%Y %H:%M" }}',
                    )
                valid, test, later = self._shares
                after = valid + test + later, test + later, later
                valid_from, test_from, later_from = map(counts.latest, after)
                if min(valid_from, test_from, later_from) <= counts.oldest:
                    raise DataError(
                        "the times leave nothing to train on",
                        where=f"data.time = {self._column}, {log.files[0]}",
                        expected=f"rows before the last {sum(self._shares):.3g} of all, by time",
                        got=f"{counted(counts.num_moments, 'moment')} in {counted(counts.num_rows, 'row')}",
                        fix="rows of one moment stay together: name a column with finer times, smaller shares or fewer "
                        "folds",
                    )
                self._begin, self._newest = (valid_from, test_from, later_from), counts.newest
            return self._begin
