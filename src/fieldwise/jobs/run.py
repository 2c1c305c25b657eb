"""Run folders: the configuration, the state and the result of a training run.

::

    run/
        run.json        the configuration and, when finished, the result
        bundle/         the model (`bundle`)
        progress.jsonl  speed, loss and memory on the way (`jobs.train.record`)
        report.html     the report, with report.json and card.md (`jobs.report`)
        forgetting.json     there while a `fieldwise forget` is not done (`jobs.forget`)
        not_finite.jsonl    the batch in which a NaN or an infinity stopped training
        checkpoints/    from which an unfinished run is resumed (`training.checkpoint`)
        .lock           locked by the process that works in the folder

A run is unfinished if ``run.json`` has no result. A folder belongs to one configuration; using it with another one is
an error that names the differences, unless it is overwritten.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from fieldwise.bundle import FORGETTING_NAME, VERSIONS_NAME, bundle_digest
from fieldwise.config import Config
from fieldwise.errors import ArtefactError, ConfigError
from fieldwise.io.files import checksum, discard, explaining, remove_unfinished, sync_folder
from fieldwise.io.manifests import Upgrades, read_manifest, write_manifest
from fieldwise.io.stores import local_path
from fieldwise.jobs.identity import plain_config, refuse_difference, update_settings
from fieldwise.jobs.result import Result

__all__ = [
    "LOCK_NAME",
    "RUN_NAME",
    "RunFolder",
    "amend_run",
    "holding_run",
    "read_config",
    "read_result",
]

_FORMAT = "fieldwise-run"
_VERSION = 3
_UPGRADES: Upgrades = {1: lambda content: content, 2: lambda content: content}
"""Version 1 did not say which bundle is the run's, version 2 not how it is updated."""
RUN_NAME, LOCK_NAME = "run.json", ".lock"


class _Manifest(msgspec.Struct, forbid_unknown_fields=True):
    config: dict[str, Any]
    result: Result | None = None
    bundle: str | None = None
    """The digest of the run's bundle (`bundle.bundle_digest`); None where it has none, or is not finished."""
    base: str | None = None
    """The folder that the configuration's relative paths are relative to; None in runs of earlier versions."""
    updates: dict[str, Any] = {}
    """The settings of daily updates."""


class RunFolder:
    """The run folder of a configuration; a context manager that locks it for this process.

    Parameters
    ----------
    folder
        Created if missing.
    config
        The configuration of the run.
    log
        The key of the prepared log: the same configuration on a changed log is another run.
    overwrite
        Remove an existing run.
    patience
        Seconds to wait for another process to release the folder.

    Attributes
    ----------
    result
        The result of a finished run, otherwise None.

    Raises
    ------
    ConfigError
        The folder belongs to another configuration, contains something else, or is in use by another process.
    ArtefactError
        ``run.json`` is damaged, or the model of a finished run has been replaced.
    """

    def __init__(
        self, folder: str | Path, config: Config, log: str, overwrite: bool = False, patience: float = 0.0
    ) -> None:
        self.folder = local_path(folder)
        self.config = {**plain_config(config), "log": log}
        self.base = str(Path(config.base).resolve())
        self.updates = update_settings(config)
        self.overwrite, self.patience = overwrite, patience
        self.result: Result | None = None
        self._held = ExitStack()

    def __enter__(self) -> RunFolder:
        """Take the folder for this process, and read what is there."""
        path, lock_path = self.folder / RUN_NAME, self.folder / LOCK_NAME
        if self.folder.exists() and any(self.folder.iterdir()) and not (path.exists() or lock_path.exists()):
            raise ConfigError(
                "the folder is not empty and not a run folder", where=self.folder, fix="choose a new or empty folder"
            )
        with ExitStack() as stack:
            with explaining(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                lock = stack.enter_context(lock_path.open("ab"))
            _lock(lock, self.folder, self.patience)
            if self.overwrite:
                self._remove_run()
            for place in (self.folder, self.folder / "bundle"):
                remove_unfinished(place)
            if path.exists():
                manifest = _read(self.folder)
                refuse_difference(self.folder, manifest.config, self.config)
                self.result = manifest.result
                _refuse_other_bundle(self.folder, manifest)
            else:
                self._write()
            self._held = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Let others work here."""
        self._held.close()

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.folder / "checkpoints"

    @property
    def name(self) -> str:
        """A name that identifies the configuration and the log of this run."""
        return checksum(msgspec.json.encode(self.config, order="sorted"))

    def finish(self, result: Result) -> Result:
        """Record the result, which marks the run as finished."""
        self.result = result
        has_bundle = (self.folder / "bundle").exists()  # a baseline has none
        self._write(bundle_digest(self.folder / "bundle") if has_bundle else None)
        return result

    def _remove_run(self) -> None:
        """Remove all but the lock, in an order that a crash may break off anywhere.

        First the checkpoints, or another configuration would go on from them, and what updates have made; then what
        says that there is a run, or a finished one would lack its bundle.
        """
        discard(self.checkpoints)
        discard(self.folder / VERSIONS_NAME)
        with explaining(self.folder):
            (self.folder / RUN_NAME).unlink(missing_ok=True)
            sync_folder(self.folder)
            for old in self.folder.iterdir():
                if old.is_dir():
                    discard(old)
                elif old.name != LOCK_NAME:
                    old.unlink(missing_ok=True)

    def _write(self, bundle: str | None = None) -> None:
        manifest = _Manifest(self.config, self.result, bundle, self.base, self.updates)
        write_manifest(self.folder / RUN_NAME, manifest, format=_FORMAT, version=_VERSION)


def read_result(folder: Path, *, with_bundle: bool = False) -> Result | None:
    """Return the result of a run, or None if it is not finished.

    Parameters
    ----------
    folder
        The run folder.
    with_bundle
        Also check that the model in the folder is the one that the run saved.

    Raises
    ------
    ArtefactError
        ``run.json`` is missing or damaged, or the model has been replaced.
    """
    manifest = _read(folder)
    if with_bundle:
        _refuse_other_bundle(folder, manifest)
    return manifest.result


@contextmanager
def holding_run(folder: Path, *, forgets: bool = False, patience: float = 0.0) -> Iterator[None]:
    """Hold a finished run for this process, as training does: one works in it at a time.

    Parameters
    ----------
    forgets
        Whether it may be in the middle of a `fieldwise forget`, which is ended now.
    patience
        Seconds to wait for another process to release it.

    Raises
    ------
    ArtefactError
        There is no run, it is not finished, or a `fieldwise forget` was interrupted in it.
    ConfigError
        Another process works in it.
    """
    if not (folder / RUN_NAME).exists():
        raise ArtefactError("no run found", where=folder, expected="a folder written by `fieldwise train`")
    with explaining(folder), (folder / LOCK_NAME).open("ab") as lock:
        _lock(lock, folder, patience)
        if read_result(folder) is None:
            raise ArtefactError("the run is not finished", where=folder, fix="run the same `fieldwise train` again")
        if not forgets:
            _refuse_half_forgotten(folder)
        yield


def amend_run(folder: Path, change: Callable[[Result], Result]) -> None:
    """Change the result of a finished run, and let its model be the one that lies in its folder now."""
    manifest = _read(folder)
    assert manifest.result is not None, "the run is finished"
    manifest.result = change(manifest.result)
    if manifest.bundle is not None:
        manifest.bundle = bundle_digest(folder / "bundle")
    write_manifest(folder / RUN_NAME, manifest, format=_FORMAT, version=_VERSION)


def _lock(file: BinaryIO, folder: Path, patience: float) -> None:
    """Take the lock, which the system lets go of when the process ends, however it ends."""
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError:
            if time.monotonic() >= deadline:
                raise ConfigError(
                    "the run folder is in use by another process",
                    where=folder,
                    fix="wait for it, or choose another folder",
                ) from None
        time.sleep(0.1)


def read_config(folder: Path) -> tuple[Config, str]:
    """Return the configuration of a run, and the key of its prepared log.

    Raises
    ------
    ArtefactError
        ``run.json`` is missing or damaged, or of a version that did not record where the log is.
    """
    manifest = _read(folder)
    plain = dict(manifest.config)
    log = plain.pop("log")
    if manifest.base is None:
        raise ArtefactError(
            "the run was made by a version that did not record where its log is",
            where=folder / RUN_NAME,
            fix="train it again with --overwrite",
        )
    return msgspec.convert({**plain, **manifest.updates, "base": manifest.base}, Config), log


def _read(folder: Path) -> _Manifest:
    return read_manifest(folder / RUN_NAME, _Manifest, format=_FORMAT, version=_VERSION, upgrades=_UPGRADES)[0]


def _refuse_other_bundle(folder: Path, manifest: _Manifest) -> None:
    """Raise ArtefactError where a whole bundle lies in the place of the one that the run has saved."""
    _refuse_half_forgotten(folder)
    try:
        found = bundle_digest(folder / "bundle")
    except ArtefactError:  # told of where it is opened
        return
    if manifest.bundle is not None and found != manifest.bundle:
        raise ArtefactError(
            "the model in the run folder is not the one that the run saved",
            where=folder / "bundle",
            expected=f"a manifest with the checksum {manifest.bundle}",
            got=found,
            fix="restore the original model, or train again with --overwrite",
        )


def _refuse_half_forgotten(folder: Path) -> None:
    if (folder / FORGETTING_NAME).exists():
        raise ArtefactError(
            "a `fieldwise forget` was interrupted, and the values may still be there",
            where=folder / FORGETTING_NAME,
            fix="run the same `fieldwise forget` again to finish it",
        )
