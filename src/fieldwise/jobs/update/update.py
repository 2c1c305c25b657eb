"""``fieldwise update``: learn from a day, and publish what came of it where it does no harm."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import torch

from fieldwise.bundle import open_bundle
from fieldwise.config import Config, with_overrides
from fieldwise.counted import counted
from fieldwise.data.cache import Cache
from fieldwise.data.log import Log
from fieldwise.errors import ArtefactError, ConfigError, Stopped
from fieldwise.events import Listener, StageStart, Warned, ignore
from fieldwise.features.encoder import Encoder
from fieldwise.features.indexed import IndexedEncoder
from fieldwise.features.renewal import Renewal
from fieldwise.features.scratch import Scratch
from fieldwise.features.vocabulary import Vocabulary
from fieldwise.io.files import explaining
from fieldwise.io.stores import local_path
from fieldwise.jobs.predict.rows import named_by, open_rows
from fieldwise.jobs.run import holding_run, read_config
from fieldwise.jobs.update.day import DaySummary, summary_of_training
from fieldwise.jobs.update.drift import drift_of
from fieldwise.jobs.update.guards import inspect_day
from fieldwise.jobs.update.holdout import HELD_OUT_NAME, HeldOutDays, HeldOutFile
from fieldwise.jobs.update.judge import Judged, Version, auc_of, judge_version, open_version, slice_names
from fieldwise.jobs.update.late import Gathered, gather
from fieldwise.jobs.update.learn import Progressive, learn
from fieldwise.jobs.update.model import check_updatable, go_on, memories_of, write_state, write_version
from fieldwise.jobs.update.read import ReadDay, encode_day, read_day
from fieldwise.jobs.update.result import DayRecord, FeatureCounts, RowCounts, UpdateResult
from fieldwise.jobs.update.skew import SkewCheck
from fieldwise.jobs.update.sources import DayRows, RowSource, ServedRows, moment_of
from fieldwise.jobs.update.versions import Record, Versions
from fieldwise.jobs.update.waiting import WAITING_NAME, WaitingRows
from fieldwise.training.interrupt import Interrupt, Interrupted, noting_signals
from fieldwise.training.kept_state import read_state
from fieldwise.training.step import Stepper

__all__ = ["rollback", "update"]

_SHARE = 0.1
_WEEK = 7
_SCRATCH_BYTES = 1 << 30


def update(
    run: str | Path,
    data: Any = None,
    *,
    served: Sequence[str | Path] | str | Path = (),
    labels: Sequence[str | Path] | str | Path = (),
    labels_until: str | None = None,
    format: str | None = None,
    gate: bool = True,
    again: bool = False,
    overrides: Sequence[str] = (),
    listen: Listener = ignore,
) -> UpdateResult:
    """Let the model of a run learn from the log of a day, and put the new version to use where it does no harm.

    A day that was given before, under whatever name, changes nothing. Killed at any moment, the same call starts again
    and ends alike.

    Parameters
    ----------
    run
        A finished run of `train`.
    data
        Files, globs or folders, or a table in memory (see `Predictor.predict`), with the columns of the fields and of
        the label. The order of the rows is that in which they are learned from.
    served
        In place of `data`: what ``fieldwise serve --log`` wrote, a folder or several, of one model. Rows are joined
        with `labels`; those without one wait in the run while their window, ``update.label_window``, is open.
    labels
        Files with the column of the identifier, ``data.id``, and that of the label, for rows served or waiting.
    labels_until
        The moment up to which labels are known, as ``2026-11-30T04:00``: rows whose window is open then wait.
    format
        File format; by default inferred from the file names, or else that of the training log.
    gate
        Whether rows are held out to judge by, and days and versions may be refused.
    again
        Whether to learn once more from a day whose version was refused, or gone back from.
    overrides
        Settings of ``[update]``, ``[gate]`` and ``[guards]`` in place of the run's, as in ``update.keep_days=7``.
    listen
        Called with every event.

    Raises
    ------
    ArtefactError
        There is no finished run, or it keeps nothing to go on from.
    ConfigError
        Neither `data` nor `served` is given, or both.
        Another process works in the run; a setting is not what it must be; the model has nothing that learns by steps.
    DataError
        A column is missing, or is not what its field can read.
    Stopped
        On request; nothing has changed.

    Examples
    --------
    >>> import fieldwise as fw
    >>> fw.update("runs/first", "clicks/2026-11-12.parquet").record.published  # doctest: +SKIP
    True
    """
    folder = local_path(run)
    served, labels = named_by(served), named_by(labels)
    if (data is None) == (not served):
        raise ConfigError(
            "an update learns from the log of a day, or from what a server logged",
            where="--data, --served",
            expected="one of them",
            got="none" if data is None else "both",
        )
    if data is not None and labels and labels_until is None:
        raise ConfigError(
            "labels that come late are for rows that wait, and none wait without a moment up to which labels are known",
            where="--labels",
            fix="add --labels-until, or give the served log",
        )
    if served and again:
        raise ConfigError(
            "rows that were served are learned from once",
            where="--again",
            expected="--data",
            fix="to learn from lost rows after all, train again",
        )
    until = moment_of(labels_until) if labels_until is not None else None
    with holding_run(folder), noting_signals() as interrupt:
        config = with_overrides(read_config(folder)[0], overrides)
        versions = Versions(folder)
        record, work = versions.open(), folder / ".update.tmp"
        with explaining(work):
            work.mkdir()
        try:
            job = _Update(config, versions, record, work, gate, again, interrupt)
            scratch = Scratch(work, _SCRATCH_BYTES)
            # Dropout draws from torch's global generator, whose state is part of what an update goes on from.
            with torch.random.fork_rng(devices=[]), closing(scratch):
                if served:
                    source = ServedRows(served, record.waiting.horizon)
                    return job.learn_late(source, labels, until, scratch, listen)
                with open_rows(job.bundle, data, format) as log:
                    if until is None:
                        return job.learn_from(log, scratch, listen)
                    source_of_day = DayRows(log, job.bundle.encoder.schema)
                    return job.learn_late(source_of_day, labels, until, scratch, listen)
        except Interrupted:
            raise Stopped("stopped; nothing was changed, and the same command starts again") from None
        finally:
            shutil.rmtree(work, ignore_errors=True)


def rollback(run: str | Path, to: int | None = None) -> int:
    """Put an earlier version of a run to use, at once, and return which; the next update goes on from it, without what
    later versions have learned.

    Parameters
    ----------
    to
        The version; the one that was published before the one in use unless given.

    Raises
    ------
    ConfigError
        There is none; another process works in the run.
    """
    folder = local_path(run)
    with holding_run(folder):
        versions = Versions(folder)
        return versions.rollback(versions.open(), to).current


class _Update:
    """One update: what it goes on from, and where it works."""

    def __init__(
        self,
        config: Config,
        versions: Versions,
        record: Record,
        work: Path,
        gate: bool,
        again: bool,
        interrupt: Interrupt,
    ) -> None:
        self.config, self.versions, self.record, self.work = config, versions, record, work
        self.again, self.interrupt = again, interrupt
        self.bundle = open_bundle(versions.bundle(record.head)).verify()
        check_updatable(self.bundle, config)
        num_classes = len(self.bundle.encoder.schema.classes)
        self.gate = gate and num_classes == 2
        self.ungated = (
            f"the gate judges models of two classes; this one has {num_classes}, so its version is published unjudged"
            if gate and not self.gate
            else None
        )
        self.checkpoint, self.state = read_state(versions.run, record.head)
        if self.state.bundle != self.bundle.digest:
            raise ArtefactError(
                "the state of training is not that of the version in use",
                where=versions.run / "state",
                expected=f"the state of the bundle {self.bundle.digest}",
                got=self.state.bundle,
                fix="restore both from one backup, or train again",
            )
        self.held_days = HeldOutDays(versions.run / HELD_OUT_NAME)
        self.waiting_rows = WaitingRows(versions.run / WAITING_NAME)
        self.gathered: Gathered | None = None
        self.of_late: dict[str, Any] = {}
        self.learned = [day for day in record.days if day.version is not None]
        self.number = len(self.learned) + 1

    def learn_late(
        self, source: RowSource, labels: Sequence[str | Path], until: float | None, scratch: Scratch, listen: Listener
    ) -> UpdateResult:
        """Join rows with labels that come later, and learn from those whose label is known."""
        skew = None
        if isinstance(source, ServedRows):
            in_use = open_bundle(self.versions.bundle(self.record.current)).verify()
            skew = SkewCheck(in_use, self.record.current, source)
        found = self.gathered = gather(
            source,
            labels,
            until,
            self.bundle.encoder.schema,
            self.config.update,
            _SHARE if self.gate else 0.0,
            (self.waiting_rows, self.record.waiting),
            self.work / "late",
            self.interrupt,
            look=None if skew is None else skew.look,
        )
        self.of_late = {"waiting": found.counts, "labels": found.labels, "skew": skew and skew.result()}
        said = list(found.warnings)
        if skew is not None and (differs := skew.warning()) is not None:
            said.append(differs)
        if found.files:
            with open_rows(self.bundle, found.files, "parquet") as log:
                return self.learn_from(log, scratch, listen, said)
        for text in said:
            listen(Warned(text))
        day = DayRecord(
            summary=DaySummary(rows=0, used=0, classes=[]),
            current=self.record.current,
            head=self.record.head,
            reasons=[
                f"there is nothing to learn from: {counted(found.counts.waiting, 'row has', 'rows have')} no label yet"
            ],
            warnings=said,
            **self.of_late,
        )
        if found.state == self.record.waiting:
            return UpdateResult(record=day, repeated=True)
        self._commit(msgspec.structs.replace(self.record, days=[*self.record.days, day]), found)
        return UpdateResult(record=day)

    def _commit(self, record: Record, found: Gathered | None) -> None:
        """Write the record, with the rows that wait when what it tells of was learned."""
        if found is not None:
            self.waiting_rows.take_from(found.folder)
            record = msgspec.structs.replace(record, waiting=found.state)
        self.versions.commit(record)

    def learn_from(self, log: Log, scratch: Scratch, listen: Listener, said: Sequence[str] = ()) -> UpdateResult:
        """Go through all steps; `said` is what should be known of the rows already."""
        listen(StageStart("read", self.bundle.model["kind"]))
        window, held_days = self.config.gate.window, self.held_days
        earlier = {name: held_days.read(name) for name in self.record.held_out}
        growing = self._growing(scratch)
        day = read_day(
            log, self.bundle.encoder, growing, [*earlier.values()], _SHARE if self.gate else 0.0, self.interrupt
        )
        line = self.record.line
        same = {n: known for n, known in enumerate(self.learned, 1) if known.summary.digest == day.summary.digest}
        lost = {n: known for n, known in same.items() if known.version not in line}
        for known in sorted(same.values(), key=lambda known: known.version not in line):
            is_lost = known.version not in line
            if known.summary.labels == day.summary.labels and not (is_lost and self.again):
                return UpdateResult(record=known, repeated=True, lost=is_lost)
        auc = auc_of(self.bundle, day.held) if day.held else None
        day = day._replace(summary=msgspec.structs.replace(day.summary, auc=auc))
        own = {name for name in earlier if HeldOutFile.of(name).day in lost}
        if own:  # of this very day, and judged by once more
            earlier = {name: rows for name, rows in earlier.items() if name not in own}
            day = day._replace(summary=msgspec.structs.replace(day.summary, known=0.0))
        leaving = [earlier[name] for name in held_days.leaving(earlier, self.number, window)]
        staying = held_days.within(earlier, self.number, window)
        others = [known for n, known in enumerate(self.learned, 1) if n not in lost]
        before = [self._training(), *(known.summary for known in others)]
        learned_by = {known.summary.digest: known.version for known in others if known.version is not None}
        found = inspect_day(day.summary, before, self.config.guards, learned_by)
        warnings = [*said, *map(str, found.warnings)]
        if self.ungated:
            warnings.append(self.ungated)
        for text in warnings:
            listen(Warned(text))
        refusals = [*map(str, found.refusals)]
        if not own and any(known.rows.held_out for known in lost.values()):
            refusals.append("the day was learned from before, and the rows held out of it do not wait any more")
        if not refusals and not leaving and not day.learns.any():
            refusals = ["too few rows: all of them are held out, and none is left to learn from"]
        if refusals:
            return self._refuse(day, refusals, warnings)
        for rows in leaving:
            growing.fit_chunk(rows)
        growing.finish()
        listen(StageStart("train", self.bundle.model["kind"]))
        stepper, progressive, cache = self._learn(log, day, growing, leaving)
        reason = write_version(stepper, growing, self.bundle, cache, self.work / "bundle")
        if reason is not None:
            warnings.append(f"the new version can be asked where torch is installed, and not be served: {reason}")
            listen(Warned(warnings[-1]))
        of_window = [(HeldOutFile.of(name).day, earlier[name]) for name in staying]
        judged = self._judge(stepper, growing, [*of_window, *((self.number, held) for held in day.held)], listen)
        figures, by_hour = progressive.compute()
        drift = drift_of(self.bundle.encoder, growing, cache)
        for text in filter(None, (each.warning(name) for name, each in drift.items())):
            warnings.append(text)
            listen(Warned(text))
        version = self.record.newest + 1
        goes_on = judged.publish or judged.too_few
        # What was gone on from unjudged may be what does harm, so the next update begins where no harm was seen.
        head = version if goes_on else self.record.current
        of_day = DayRecord(
            summary=day.summary,
            version=version,
            base=self.record.head,
            published=judged.publish,
            current=version if judged.publish else self.record.current,
            head=head,
            reasons=list(judged.reasons),
            warnings=[*warnings, *judged.warnings],
            progressive=figures,
            by_hour=by_hour,
            by_slice=progressive.by_slice(),
            held_out=judged.figures,
            features=_count_features(growing),
            rows=_count_rows(day, cache.num_examples),
            drift=drift,
            **self.of_late,
        )
        files = [held_days.add(self.number, held, day.content) for held in day.held]
        self._finish(of_day, [*(staying if goes_on else earlier), *files], stepper, growing)
        return UpdateResult(record=of_day)

    def _growing(self, scratch: Scratch) -> Encoder:
        """Return an encoder that goes on from that of the version."""
        memories = memories_of(self.checkpoint, self.bundle.encoder)
        renewal = Renewal(self.state.day + 1, self.config.update.keep_days or None, memories)
        return self.bundle.encoder.growing(scratch, renewal)

    def _training(self) -> DaySummary:
        """Return what the first version knows of the training log."""
        return summary_of_training(open_bundle(self.versions.bundle(1)).encoder)

    def _learn(
        self, log: Log, day: ReadDay, encoder: Encoder, leaving: list[pa.Table]
    ) -> tuple[Stepper, Progressive, Cache]:
        """Learn from the day in the order of its log, after the rows that are no longer held out."""
        cache, hours, fakes = encode_day(log, encoder, day, leaving, self.work / "learned", self.interrupt)
        stepper = go_on(self.bundle, self.checkpoint, self.state, encoder, self.config)
        slices = slice_names(encoder, self.config.gate.slices)
        progressive = Progressive(len(encoder.schema.classes), hours, slices)
        # FTRL's weights follow from its state at one rate, and its steps shrink by themselves.
        factor = 1.0 if self.state.table.name == "ftrl" else self.config.update.learning_rate
        learn(stepper, cache, self.state.batch_size, factor, progressive, self.interrupt, fakes)
        return stepper, progressive, cache

    def _judge(
        self, stepper: Stepper, encoder: Encoder, held_out: list[tuple[int, pa.Table]], listen: Listener
    ) -> Judged:
        """Let the gate decide, by the rows that are held out."""
        if not self.gate:
            return Judged(publish=True)
        listen(StageStart("evaluate", self.bundle.model["kind"]))
        before = self.learned[-_WEEK].current if len(self.learned) >= _WEEK else None
        older = before is not None and before != self.record.current and self.versions.bundle(before).exists()
        return judge_version(
            Version(encoder, stepper.model),
            open_version(self.versions.bundle(self.record.current)),
            open_version(self.versions.bundle(before)) if older and before is not None else None,
            held_out,
            self.config.gate,
        )

    def _refuse(self, day: ReadDay, reasons: list[str], warnings: list[str]) -> UpdateResult:
        """Note a day that is not learned from, in place of what was noted of it before."""
        of_day = DayRecord(
            summary=day.summary,
            current=self.record.current,
            head=self.record.head,
            reasons=reasons,
            warnings=warnings,
            rows=RowCounts(read=day.summary.rows or 0, rejected=day.rejects.num_rows),
            **self.of_late,
        )
        others = [each for each in self.record.days if each.version is not None or each.summary != day.summary]
        self._commit(msgspec.structs.replace(self.record, days=[*others, of_day]), None)
        return UpdateResult(record=of_day)

    def _finish(self, of_day: DayRecord, held_out: list[str], stepper: Stepper, encoder: Encoder) -> None:
        """Give the version its place, write the record, and remove what is no longer needed."""
        versions, version = self.versions, of_day.version
        assert version is not None, "something was learned"
        versions.begin(self.record)
        target = versions.folder / str(version) if of_day.published else versions.refused(version)
        versions.place(self.work / "bundle", target)
        if of_day.head == version:
            write_state(versions.run, version, stepper, encoder, self.state, target)
        days = [*self.record.days, of_day]
        record = Record(
            current=of_day.current, head=of_day.head, days=days, held_out=held_out, waiting=self.record.waiting
        )
        keep, window = self.config.update.keep_versions, self.config.gate.window
        self._commit(record.keeping(keep, window + 1 if self.gate else keep), self.gathered)


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
    return RowCounts(read=day.summary.rows or 0, used=used, rejected=day.rejects.num_rows, held_out=held_out)
