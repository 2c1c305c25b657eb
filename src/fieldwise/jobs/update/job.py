"""One update, for the process that decides and writes: from the log of a day to the record of what became of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from fieldwise.bundle import open_bundle
from fieldwise.config import Config
from fieldwise.counted import counted
from fieldwise.data.log import Log
from fieldwise.data.read_report import ReadReport
from fieldwise.events import Listener, StageStart, Warned
from fieldwise.features.encoder import Encoder
from fieldwise.features.indexed import IndexedEncoder
from fieldwise.features.scratch import Scratch
from fieldwise.features.vocabulary import Vocabulary
from fieldwise.io.files import explaining
from fieldwise.jobs.predict.rows import open_rows
from fieldwise.jobs.update.day import DaySummary
from fieldwise.jobs.update.drift import drift_of
from fieldwise.jobs.update.examine import Examined, examine
from fieldwise.jobs.update.guards import inspect_predictions
from fieldwise.jobs.update.head import Head
from fieldwise.jobs.update.holdout import HELD_OUT_NAME, HeldOutDays
from fieldwise.jobs.update.judge import Judged, judge_version, open_version, slice_names
from fieldwise.jobs.update.late import Gathered, gather
from fieldwise.jobs.update.learn import Progressive, said_of
from fieldwise.jobs.update.lesson import CACHE_NAME, Learned, Lesson
from fieldwise.jobs.update.model import renewed_fields
from fieldwise.jobs.update.read import ReadDay, encode_day
from fieldwise.jobs.update.result import DayRecord, FeatureCounts, RowCounts, UpdateResult
from fieldwise.jobs.update.skew import SkewCheck
from fieldwise.jobs.update.sources import DayRows, RowSource, ServedRows
from fieldwise.jobs.update.versions import Record, Versions
from fieldwise.jobs.update.waiting import WAITING_NAME, WaitingRows
from fieldwise.training.interrupt import Interrupt

__all__ = ["WORK_NAME", "Day", "DayJob"]

WORK_NAME = ".update.tmp"
"""Of a run: the folder in which an update works, which the next one removes."""
_SHARE = 0.1
_WEEK = 7
_SCRATCH_BYTES = 1 << 30


class Day(NamedTuple):
    """What `update` is asked to learn from; see there."""

    data: Any
    served: Sequence[str | Path]
    labels: Sequence[str | Path]
    until: float | None
    format: str | None


class DayJob:
    """One update: `read` a day, `judge` what was learned from it, and `end`.

    Attributes
    ----------
    config
        The run's, with what was set for this update.
    head
        What it goes on from.
    lesson
        What is to be learned, once a day was read that is fit for it.
    """

    lesson: Lesson
    _examined: Examined

    def __init__(
        self,
        config: Config,
        versions: Versions,
        record: Record,
        gate: bool,
        again: bool,
        scratch: Scratch,
        interrupt: Interrupt,
        listen: Listener,
    ) -> None:
        self.config, self._versions, self._record = config, versions, record
        self._again, self._scratch, self._interrupt, self._listen = again, scratch, interrupt, listen
        self._work = versions.run / WORK_NAME
        self.head = Head.open(versions.run, record.head, versions.bundle(record.head))
        num_classes = len(self.head.bundle.encoder.schema.classes)
        self._gate = gate and num_classes == 2
        self._warnings: list[str] = []
        if gate and not self._gate:
            self._warn(
                f"the gate judges models of two classes; this one has {num_classes}, so its version is published "
                "unjudged"
            )
        self._gathered: Gathered | None = None
        self._of_late: dict[str, Any] = {}
        self._hours: npt.NDArray[np.int64] | None = None
        self._result: UpdateResult | None = None
        self._next: Record | None = None
        self._read: ReadReport | None = None

    @classmethod
    @contextmanager
    def opened(
        cls, run: Path, config: Config, gate: bool, again: bool, interrupt: Interrupt, listen: Listener
    ) -> Iterator[DayJob]:
        """Begin an update of a run that this process holds, with a folder to work in."""
        versions, work = Versions(run), run / WORK_NAME
        record = versions.open()
        with explaining(work):
            work.mkdir()
        try:
            with closing(Scratch(work, _SCRATCH_BYTES)) as scratch:
                yield cls(config, versions, record, gate, again, scratch, interrupt, listen)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    # --- before learning ---

    def read(self, day: Day) -> Lesson | None:
        """Return what is to be learned from a day; None where nothing is, and `end` says why."""
        with ExitStack() as held:
            source: RowSource | None = None
            if day.served:
                source = ServedRows(day.served, self._record.waiting.horizon)
            else:
                log = held.enter_context(open_rows(self.head.bundle, day.data, day.format))
                if day.until is not None:
                    source = DayRows(log, self.head.bundle.encoder.schema)
            if source is not None:
                found = self._gathered = self._gather(source, day)
                if not found.files:
                    self._leave_waiting(found)
                    return None
                log = held.enter_context(open_rows(self.head.bundle, found.files, "parquet"))
            return self._prepare(log)

    def _gather(self, source: RowSource, day: Day) -> Gathered:
        """Join rows with labels that come later."""
        skew = None
        if isinstance(source, ServedRows):
            in_use = open_bundle(self._versions.bundle(self._record.current)).verify()
            skew = SkewCheck(in_use, self._record.current, source)
        found = gather(
            source,
            day.labels,
            day.until,
            self.head.bundle.encoder.schema,
            self.config.update,
            self._share,
            (WaitingRows(self._versions.run / WAITING_NAME), self._record.waiting),
            self._work / "late",
            self._interrupt,
            look=None if skew is None else skew.look,
        )
        self._of_late = {"waiting": found.counts, "labels": found.labels, "skew": skew and skew.result()}
        differs = None if skew is None else skew.warning()
        self._warn(*found.warnings, *([] if differs is None else [differs]))
        return found

    def _leave_waiting(self, found: Gathered) -> None:
        """Note that there is nothing to learn from yet."""
        waiting = counted(found.counts.waiting, "row has", "rows have")
        reason = f"there is nothing to learn from: {waiting} no label yet"
        day = self._note(DaySummary(rows=0, used=0, classes=[]), RowCounts(), [reason])
        if found.state == self._record.waiting:
            self._result = UpdateResult(record=day, repeated=True)
        else:
            self._next = msgspec.structs.replace(self._record, days=[*self._record.days, day])

    def _prepare(self, log: Log) -> Lesson | None:
        """Look at a day, and encode it where it is fit to learn from."""
        kind = self.head.bundle.model["kind"]
        self._listen(StageStart("read", kind))
        growing = self.head.growing(self._scratch, self.config.update.keep_days)
        found = self._examined = examine(
            log,
            self.head,
            growing,
            self._versions,
            self._record,
            self.config,
            self._share,
            self._again,
            self._interrupt,
        )
        self._read = found.day.read
        if self._gathered is not None:  # the files are those of a folder that goes with this update
            reasons = [msgspec.structs.replace(each, file="joined rows") for each in self._read.reasons]
            self._read = msgspec.structs.replace(self._read, reasons=reasons)
        if found.known is not None:
            self._result = found.known
            return None
        self._warn(*found.warnings)
        if found.refusals:
            self._refuse(found.day, found.refusals)
            return None
        for rows in found.leaving:
            growing.fit_chunk(rows)
        growing.finish()
        encoded = encode_day(log, growing, found.day, found.leaving, self._work / CACHE_NAME, self._interrupt)
        self._hours = encoded.hours
        self.lesson = Lesson(self._work, growing, renewed_fields(self.head.bundle.encoder, growing), encoded.fakes)
        self._listen(StageStart("train", kind))
        return self.lesson

    @property
    def _share(self) -> float:
        return _SHARE if self._gate else 0.0

    def _warn(self, *texts: str) -> None:
        for text in texts:
            self._warnings.append(text)
            self._listen(Warned(text))

    def _note(self, summary: DaySummary, rows: RowCounts, reasons: list[str]) -> DayRecord:
        """Return the record of a day that nothing is learned from."""
        return DayRecord(
            summary=summary,
            current=self._record.current,
            head=self._record.head,
            reasons=reasons,
            warnings=self._warnings,
            rows=rows,
            **self._of_late,
        )

    def _refuse(self, day: ReadDay, reasons: list[str]) -> None:
        """Note a day that is not learned from, in place of what was noted of it before; its rows still wait."""
        self._gathered = None
        rows = RowCounts(read=day.summary.rows or 0, rejected=day.read.rows_rejected)
        of_day = self._note(day.summary, rows, reasons)
        others = [each for each in self._record.days if each.version is not None or each.summary != day.summary]
        self._next = msgspec.structs.replace(self._record, days=[*others, of_day])

    # --- after it ---

    def judge(self, learned: Learned) -> tuple[int, str] | None:
        """Decide on the version that was learned, and give it its place; return its number and folder where its state
        is kept.
        """
        bundle, lesson, examined = self.head.bundle, self.lesson, self._examined
        if learned.reason is not None:
            self._warn(f"the new version needs torch to answer, and cannot be served: {learned.reason}")
        cache = lesson.cache
        progressive = Progressive(
            len(lesson.encoder.schema.classes), self._hours, slice_names(lesson.encoder, self.config.gate.slices)
        )
        for said, examples in said_of(learned.said, cache, lesson.fakes):
            progressive.add(said, examples)
        figures, by_hour = progressive.compute()
        before = [day.progressive.auc for day in self._record.learned if day.progressive is not None]
        classes = examined.day.summary.classes
        if fallen := inspect_predictions(figures.auc, before, classes, self.config.guards):
            self._refuse(examined.day, [*map(str, fallen)])
            return None
        judged = self._judged()
        drift = drift_of(bundle.encoder, lesson.encoder, cache)
        self._warn(*filter(None, (each.warning(name) for name, each in drift.items())))
        record, version = self._record, self._record.newest + 1
        goes_on = judged.publish or judged.too_few
        of_day = DayRecord(
            summary=examined.day.summary,
            version=version,
            base=record.head,
            published=judged.publish,
            current=version if judged.publish else record.current,
            # What was gone on from unjudged may be what does harm, so the next begins where no harm was seen.
            head=version if goes_on else record.current,
            reasons=list(judged.reasons),
            warnings=[*self._warnings, *judged.warnings],
            progressive=figures,
            by_hour=by_hour,
            by_slice=progressive.by_slice(),
            held_out=judged.figures,
            features=_count_features(lesson.encoder),
            rows=_count_rows(examined.day, cache.num_examples),
            drift=drift,
            **self._of_late,
        )
        held_days = HeldOutDays(self._versions.run / HELD_OUT_NAME)
        files = [held_days.add(examined.number, held, examined.day.content) for held in examined.day.held]
        self._next = Record(
            current=of_day.current,
            head=of_day.head,
            days=[*record.days, of_day],
            held_out=[*(examined.staying if goes_on else examined.earlier), *files],
            waiting=record.waiting,
        ).keeping(self.config.update.keep_versions, self.config.gate.window + 1 if self._gate else 0)
        folder = self._versions.folder / str(version) if judged.publish else self._versions.refused(version)
        self._versions.begin(record)
        self._versions.place(lesson.bundle, folder)
        return (version, str(folder)) if goes_on else None

    def _judged(self) -> Judged:
        """Let the gate decide, by the rows that are held out."""
        if not self._gate:
            return Judged(publish=True)
        self._listen(StageStart("evaluate", self.head.bundle.model["kind"]))
        learned, versions, current = self._record.learned, self._versions, self._record.current
        before = learned[-_WEEK].current if len(learned) >= _WEEK else None
        older = before is not None and before != current and versions.bundle(before).exists()
        return judge_version(
            open_version(self.lesson.bundle),
            open_version(versions.bundle(current)),
            open_version(versions.bundle(before)) if older and before is not None else None,
            self._examined.judges,
            self.config.gate,
        )

    def end(self) -> UpdateResult:
        """Write the record, with the rows that wait when what it tells of was learned, and return what became of the
        day.
        """
        if self._next is not None:
            record, found = self._next, self._gathered
            if found is not None:
                WaitingRows(self._versions.run / WAITING_NAME).take_from(found.folder)
                record = msgspec.structs.replace(record, waiting=found.state)
            self._versions.commit(record)
            self._result = UpdateResult(record=record.days[-1], read=self._read)
        assert self._result is not None, "a day was read"
        return self._result


def _count_features(encoder: Encoder) -> FeatureCounts:
    """Return how many features live after a day, and came and went."""
    renewed = encoder.renewed
    indexed = (field.index for field in encoder.fields.values() if isinstance(field, IndexedEncoder))
    free = sum(int(np.count_nonzero(index.keys == 0)) for index in indexed if isinstance(index, Vocabulary))
    return FeatureCounts(
        living=encoder.num_features - free,
        new=sum(len(field.joined) for field in renewed.values()),
        left=sum(len(field.left) for field in renewed.values()),
        rows=encoder.num_features,
    )


def _count_rows(day: ReadDay, used: int) -> RowCounts:
    held_out = sum(held.num_rows for held in day.held)
    return RowCounts(read=day.summary.rows or 0, used=used, rejected=day.read.rows_rejected, held_out=held_out)
