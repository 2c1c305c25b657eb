"""A search in its folder: trials, one after the other, and what is kept of them.

Of a log in folds (``data.folds``) a trial is a training for each of them, and its value the mean over their validation
rows; after each fold that mean is what an epoch's metric is to one training: by it trials are pruned.
"""

from __future__ import annotations

import fcntl
import json
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import msgspec

from fieldwise.bundle import open_bundle
from fieldwise.config import Config
from fieldwise.counted import counted
from fieldwise.data.batches import Batches
from fieldwise.errors import ConfigError, ResourceError, UserError
from fieldwise.events import EpochEnd, Event, Listener, Noted, Progress, StageStart
from fieldwise.io import files, manifests
from fieldwise.jobs.identity import plain_config, refuse_difference
from fieldwise.jobs.init.write_config import config_toml
from fieldwise.jobs.prepare.prepared import Prepared
from fieldwise.jobs.result import FoldMetric
from fieldwise.jobs.train.folds import over_folds
from fieldwise.jobs.train.settings import lr_settings
from fieldwise.jobs.train.train import train
from fieldwise.jobs.tune.space import Dimension, changed
from fieldwise.jobs.tune.study import FIRST_TRIALS, Study
from fieldwise.jobs.tune.trial import Trial, Tuning
from fieldwise.metrics import Metrics
from fieldwise.metrics.own import goodness, turned
from fieldwise.models.click import ClickModel
from fieldwise.models.config import ModelConfig
from fieldwise.models.load import load_model
from fieldwise.training.score import evaluate_model

__all__ = ["SEARCH_NAME", "FoldLog", "Search", "check_search"]

_FORMAT, _VERSION = "fieldwise-tune", 1
SEARCH_NAME = "tune.json"
_EVALUATION_BATCH = 8192


class _Manifest(msgspec.Struct, forbid_unknown_fields=True):
    config: dict[str, Any]
    seed: int
    trials: list[Trial] = []
    seconds: float = 0.0
    test: Metrics | None = None
    tested: int | None = None
    folds: dict[str, FoldMetric] = {}


class FoldLog(NamedTuple):
    """What a trial trains on: the configuration, of a fold where the log is cut into folds, and its prepared log."""

    config: Config
    prepared: Prepared


class _BrokenOff(Exception):
    """Raised through training, by its listener."""


class _OutOfTime(Exception):
    """Raised through training, by its listener."""


def check_search(folder: Path) -> None:
    """Raise ArtefactError if the record of a search is damaged."""
    manifests.read_manifest(folder / SEARCH_NAME, _Manifest, format=_FORMAT, version=_VERSION)


class Search:
    """A search in its folder; `logs` holds one log, or that of each fold."""

    def __init__(
        self,
        config: Config,
        folder: Path,
        logs: list[FoldLog],
        space: list[Dimension],
        seed: int,
        listen: Listener,
    ) -> None:
        self.config, self.folder, self.listen = config, folder, listen
        self.study = Study(config, space, seed)
        self.logs = logs
        plain_space = {dimension.key: list(dimension.what) for dimension in space}
        names = "+".join(log.prepared.folder.name for log in logs)
        identity = {**plain_config(config), "log": names, "space": json.loads(json.dumps(plain_space))}
        self.manifest = _Manifest(identity, seed)

    def held(self, overwrite: bool) -> ExitStack:
        """Take the folder for this process, and read the trials that are there."""
        path = self.folder / SEARCH_NAME
        if self.folder.exists() and any(self.folder.iterdir()) and not (path.exists() or self._lock.exists()):
            raise ConfigError(
                "the folder is not empty and not a search folder", where=self.folder, fix="choose a new or empty folder"
            )
        with ExitStack() as stack:
            with files.explaining(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                lock = stack.enter_context(self._lock.open("ab"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ConfigError(
                    "the folder is in use by another process", where=self.folder, fix="wait for it"
                ) from None
            if overwrite:
                path.unlink(missing_ok=True)
                files.discard(self.folder / "trials")
            if path.exists():
                there, _ = manifests.read_manifest(path, _Manifest, format=_FORMAT, version=_VERSION)
                refuse_difference(
                    self.folder,
                    {**there.config, "seed": there.seed},
                    {**self.manifest.config, "seed": self.manifest.seed},
                )
                self.manifest = there
            return stack.pop_all()

    @property
    def _lock(self) -> Path:
        return self.folder / ".lock"

    @property
    def metric(self) -> str:
        """What trials are compared by."""
        return self.config.train.stop_on

    @property
    def best(self) -> Trial | None:
        """The best trial that was trained to its end."""
        done = [trial for trial in self.manifest.trials if trial.state == "done" and trial.value is not None]
        return max(done, key=lambda trial: (trial.value or 0.0, -trial.number), default=None)

    def goes_on(self, minutes: float | None, trials: int | None) -> bool:
        """Whether there is another trial to begin or to end."""
        ended = [trial for trial in self.manifest.trials if trial.state != "running"]
        if trials is not None and len(ended) >= trials:
            return False
        return minutes is None or not ended or self.manifest.seconds < 60 * minutes

    def run_trial(self, minutes: float | None) -> bool:
        """Run the next trial, or the one that was under way; False where there was no time to end it."""
        asked = self.study.ask([trial for trial in self.manifest.trials if trial.state != "running"])
        trial = next((trial for trial in self.manifest.trials if trial.state == "running"), None)
        if trial is None:
            number = len(self.manifest.trials)
            values = {} if number == 0 else self.study.values(asked)
            trial = Trial(number=number, values=values)
            self.manifest.trials.append(trial)
            self._save()
        for epoch, value in enumerate(trial.metrics, start=1):
            asked.report(value, epoch)
        before = self.best
        watch = _Watch(self, trial, asked, minutes)
        try:
            trial.kept = self._trained(trial, watch)
            trial.state = "done"
        except _BrokenOff:
            trial.state = "pruned"
        except _OutOfTime:
            self.manifest.trials.remove(trial)
            watch.count()
            files.discard(self._folder_of(trial))
            return False
        except UserError as error:
            # That training diverged, or does not fit in memory, says something of these values; all else is for the
            # user to mend.
            if type(error) is not UserError and not isinstance(error, ResourceError):
                raise
            trial.state, trial.note = "failed", error.what
        finally:
            watch.count()
        best = self.best
        self._save()
        for stale in (before, trial):
            if stale is not None and stale is not best:
                files.discard(self._folder_of(stale))
        self.listen(Noted(self._line(trial)))
        return True

    def _trained(self, trial: Trial, watch: _Watch) -> float | None:
        """Train on all logs, without their test rows; return the mean of what valid says, None where it does not."""
        kept: list[float] = []
        for number, log in enumerate(self.logs):
            config = changed(log.config, trial.values)
            result = train(
                config,
                self._run_folder(trial, number),
                listen=watch,
                prepared=log.prepared._replace(parts={name: log.prepared.parts[name] for name in ("train", "valid")}),
                lr_folder=self._lr_folder(config),
            )
            value = goodness(result.valid, self.metric)
            if value is None:
                return None
            kept.append(value)
            if self.in_folds:
                watch.look(fmean(kept), len(kept), may_prune=number + 1 < len(self.logs))
        return fmean(kept)

    @property
    def in_folds(self) -> bool:
        """Whether a trial is a training for each fold."""
        return len(self.logs) > 1

    def finish(self) -> Tuning:
        """Evaluate the best trial on test, once, and write its configuration."""
        best = self.best
        if best is None:
            notes = "; ".join(dict.fromkeys(trial.note for trial in self.manifest.trials if trial.note))
            raise UserError("no trial finished", where=self.folder, got=notes or "the budget was too small")
        models = [load_model(open_bundle(self._run_folder(best, number))) for number in range(len(self.logs))]
        if self.manifest.tested != best.number:
            self.listen(StageStart("evaluate", self.config.model.kind))
            tests = [_evaluate(model, log.prepared, "test") for model, log in zip(models, self.logs, strict=True)]
            if self.in_folds:
                self.manifest.folds = over_folds([test for test in tests if test is not None])
            else:
                [self.manifest.test] = tests
            self.manifest.tested = best.number
            self._save()
        valid = None if self.in_folds else _evaluate(models[0], self.logs[0].prepared, "valid")
        path = self.folder / "best.toml"
        trials = counted(len(self.manifest.trials), "trial")
        heading = f"# The best of {trials} on the validation rows: number {best.number}.\n\n"
        text = config_toml(changed(self.config, best.values), self.folder)
        files.write_bytes(path, (heading + text).encode())
        return Tuning(
            folder=str(self.folder),
            config=str(path),
            metric=self.metric,
            trials=self.manifest.trials,
            best=best.number,
            valid=valid,
            test=self.manifest.test,
            seconds=self.manifest.seconds,
            folds=self.manifest.folds,
            read=self.logs[0].prepared.read,
            **self.logs[0].prepared.encoder.schema.of_label,
        )

    def _folder_of(self, trial: Trial) -> Path:
        return self.folder / "trials" / f"{trial.number:04d}"

    def _run_folder(self, trial: Trial, number: int) -> Path:
        return self._folder_of(trial) / str(number) if self.in_folds else self._folder_of(trial)

    def _lr_folder(self, config: Config) -> Path:
        """Return where the logistic regression of these settings is: trials with the same ones share it."""
        linear = msgspec.structs.replace(config, model=ModelConfig(kind="lr"), train=lr_settings(config))
        key = files.checksum(msgspec.json.encode(plain_config(linear)))[:12]
        return self.folder / "trials" / f"lr-{key}"

    def _save(self) -> None:
        manifests.write_manifest(self.folder / SEARCH_NAME, self.manifest, format=_FORMAT, version=_VERSION)

    def _line(self, trial: Trial) -> str:
        value = "-" if trial.value is None else f"{turned(trial.value, self.metric):.5f}"
        best = self.best
        value_of_best = 0.0 if best is None else turned(best.value or 0.0, self.metric)
        so_far = "" if best is None else f"; best {value_of_best:.5f} of trial {best.number}"
        what = ", ".join(f"{key} = {_short(value)}" for key, value in trial.values.items()) or "as configured"
        epochs = counted(len(trial.metrics), "fold" if self.in_folds else "epoch")
        note = f": {trial.note}" if trial.note else ""
        state = "" if trial.state == "done" else f" ({trial.state} after {epochs}{note})"
        return f"trial {trial.number}: valid {self.metric} {value}{state}{so_far}  [{what}]"


class _Watch:
    """Listens to a trial's training: keeps its metrics, breaks it off, and counts the time."""

    def __init__(self, search: Search, trial: Trial, asked: Any, minutes: float | None) -> None:
        self.search, self.trial, self.asked, self.minutes = search, trial, asked, minutes
        self.own = False
        self.since: float | None = time.monotonic()

    def __call__(self, event: Event) -> None:
        self.search.listen(event)
        if isinstance(event, StageStart):
            is_lr = self.search.config.model.kind == "lr"  # of others, LR is the initial model
            self.own = event.name == "train" and (event.model == "lr") == is_lr
        self.count()
        self.since = time.monotonic()
        if isinstance(event, Progress) or (isinstance(event, StageStart) and event.name in ("pretrain", "train")):
            ended = [trial for trial in self.search.manifest.trials if trial.state != "running"]
            if self.minutes is not None and ended and self.search.manifest.seconds >= 60 * self.minutes:
                raise _OutOfTime
        if isinstance(event, EpochEnd) and self.own and not self.search.in_folds:
            # Penalties that logistic regression is solved for are no epochs, which would come to nothing or more.
            self.look(goodness(event.valid, self.search.metric), event.epoch, may_prune=event.l2 is None)

    def look(self, value: float | None, step: int, *, may_prune: bool) -> None:
        """Keep what valid says after an epoch or a fold, unless that is known, and break the trial off where it falls
        behind.
        """
        if step <= len(self.trial.metrics):
            return
        if value is not None:
            self.trial.metrics.append(value)
            self.asked.report(value, step)
        self.search._save()
        if may_prune and self.trial.number >= FIRST_TRIALS and self.asked.should_prune():
            raise _BrokenOff

    def count(self) -> None:
        """Add the time since the last event."""
        if self.since is not None:
            self.search.manifest.seconds += time.monotonic() - self.since
            self.since = None


def _evaluate(model: ClickModel, prepared: Prepared, part: str) -> Metrics | None:
    if part not in prepared.parts:
        return None
    return evaluate_model(model, Batches(prepared.parts[part], _EVALUATION_BATCH, shuffle=False).epoch(0))


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
