"""``fieldwise verify``: compare every byte of artefacts with their checksums.

An artefact is a folder: a prepared log, a cache (one part of it), a bundle, a checkpoint or a run. Other folders (a
comparison, ``.fieldwise``) are searched for artefacts. Files are read by the same code as in normal operation, so an
artefact that passes can be opened.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import msgspec

from fieldwise.bundle import BUNDLE_FORMAT, CURRENT_NAME, VERSIONS_NAME, bundle_in_use, open_bundle
from fieldwise.data.cache import Cache
from fieldwise.data.cache_format import DATA_NAME, MANIFEST_NAME
from fieldwise.data.cache_format import FORMAT as CACHE_FORMAT
from fieldwise.errors import ArtefactError, UserError
from fieldwise.io.files import RESTORE
from fieldwise.io.manifests import manifest_format
from fieldwise.jobs.prepare.crosses import CROSSES_NAME, read_crosses
from fieldwise.jobs.prepare.prepared import ENCODER_NAME, PREPARED_NAME, open_parts, read_prepared
from fieldwise.jobs.run import LOCK_NAME, RUN_NAME, read_result
from fieldwise.jobs.tune.search import SEARCH_NAME, check_search
from fieldwise.jobs.update.holdout import HELD_OUT_NAME, HeldOutDays
from fieldwise.jobs.update.versions import RECORD_NAME, read_record
from fieldwise.jobs.update.waiting import WAITING_NAME, WaitingRows
from fieldwise.outcome import Outcome
from fieldwise.training.checkpoint import CHECKPOINT_FORMAT, checkpoint_files, checkpoint_state, read_checkpoint

__all__ = ["Verification", "Verified", "verify"]

_MARKS = {
    "prepared": (PREPARED_NAME, "rejects.jsonl"),
    "search": (SEARCH_NAME,),
    "run": (RUN_NAME, LOCK_NAME),
    "cache": (DATA_NAME,),
    "checkpoint": ("table.safetensors", "dense.safetensors"),
    "bundle": ("table-*.safetensors", "dense-*.safetensors"),
}
"""Files by which a kind of artefact is known, one of them being enough: the others may be what is lost."""
_FORMATS = {CACHE_FORMAT: "cache", CHECKPOINT_FORMAT: "checkpoint", BUNDLE_FORMAT: "bundle"}


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """The result for one artefact.

    Attributes
    ----------
    kind
        ``prepared``, ``cache``, ``search``, ``run``, ``bundle`` or ``checkpoint``.
    folder
        The folder of the artefact.
    files, num_bytes
        Number of files, and of bytes, that were compared with checksums.
    damage
        Description of the damage with the file and position; None if there is none.
    """

    kind: str
    folder: str
    files: int = 0
    num_bytes: int = 0
    damage: str | None = None


class Verification(Outcome, msgspec.Struct, frozen=True, kw_only=True):
    """The artefacts found in a folder, and their damages.

    Attributes
    ----------
    folder
        The folder that was searched.
    artefacts
        All artefacts in it, outer ones before inner ones.
    unchecked
        Files in them without a checksum: lists of rejected rows, records of training, reports, and unknown files.
    """

    folder: str
    artefacts: list[Verified]
    unchecked: list[str]

    @property
    def damages(self) -> list[str]:
        """The damages found; empty if there are none."""
        return [verified.damage for verified in self.artefacts if verified.damage is not None]

    @property
    def num_bytes(self) -> int:
        """Number of bytes compared with checksums."""
        return sum(verified.num_bytes for verified in self.artefacts)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**super().as_dict(), "num_bytes": self.num_bytes, "whole": not self.damages}


def verify(folder: str | Path) -> Verification:
    """Compare every byte of the artefacts in a folder with its checksum.

    Damage is reported in the result, not raised, so that one damaged file does not hide others.

    Parameters
    ----------
    folder
        A run folder, a comparison, a bundle, a checkpoint, a prepared log or a part of it, or a folder that contains
        any of these.

    Raises
    ------
    ArtefactError
        There is nothing to verify.
    UserError
        The run folder is in use by another process.

    Examples
    --------
    >>> import fieldwise as fw
    >>> fw.verify("runs/first").damages  # doctest: +SKIP
    []
    """
    root = Path(folder)
    found: list[Verified] = []
    covered: set[Path] = set()
    for kind, place in _artefacts(root):
        try:
            files = [place / name for name in _CHECKS[kind](place)]
        except ArtefactError as error:
            found.append(Verified(kind=kind, folder=str(place), damage=str(error)))
            of_ours = (".json", ".safetensors", ".bin", ".onnx")
            covered.update(path for path in place.iterdir() if path.suffix in of_ours)
        else:
            num_bytes = sum(path.stat().st_size for path in files)
            found.append(Verified(kind=kind, folder=str(place), files=len(files), num_bytes=num_bytes))
            covered.update(files)
    if not found:
        raise ArtefactError(
            "there is nothing to verify",
            where=root,
            expected="a run folder, a comparison, a bundle, a checkpoint, or a prepared log or part of one",
            got="no such folder" if not root.exists() else None,
        )
    others = {path for verified in found for path in Path(verified.folder).rglob("*") if path.is_file()} - covered
    unchecked = sorted(str(path) for path in others if path.stat().st_size)
    return Verification(folder=str(root), artefacts=found, unchecked=unchecked)


def _artefacts(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the artefact that `folder` is, and those inside it, by kind and place, without what was never finished."""
    kind = _kind(folder)
    if kind == "run":
        with _standing_still(folder):
            yield kind, folder
            yield from _inside(folder, without="bundle" if _never_saved(folder) else None)
        return
    if kind is not None:
        yield kind, folder
    yield from _inside(folder)


def _inside(folder: Path, without: str | None = None) -> Iterator[tuple[str, Path]]:
    if folder.is_dir():
        for inner in sorted(folder.iterdir()):
            if inner.is_dir() and not inner.name.endswith(".tmp") and inner.name != without:
                yield from _artefacts(inner)


def _never_saved(run: Path) -> bool:
    """Whether a run was broken off before its first model was whole, and goes on to save it again."""
    if (run / "bundle" / MANIFEST_NAME).exists():
        return False
    states = (checkpoint_state(path.parent) for path in run.glob("checkpoints/[0-9]*/manifest.json"))
    try:
        return read_result(run) is None and not any(state.get("num_saves") for state in states)
    except ArtefactError:
        return False


def _kind(folder: Path) -> str | None:
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    if all(name == LOCK_NAME or name.endswith(".tmp") for name in names):
        return None  # taken for a run that never began
    if "model.onnx" in names:
        return None  # an export, whose table is a link to that of a model
    for kind, marks in _MARKS.items():
        if any(fnmatch(name, mark) for name in names for mark in marks):
            return kind
    return _FORMATS.get(manifest_format(folder / MANIFEST_NAME) or "")


@contextmanager
def _standing_still(run: Path) -> Iterator[None]:
    """Keep a run from changing while it is read; many may read at once."""
    path = run / LOCK_NAME
    if not path.exists():  # a copy of a run folder may lack it
        yield
        return
    with path.open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            raise UserError("the run folder is in use by another process", where=run, fix="wait for it") from None
        yield


# --- each kind: read all of it, and name its files ---


def _check_prepared(folder: Path) -> tuple[str, ...]:
    encoder, summary = read_prepared(folder)
    for part in summary["parts"]:
        if _kind(folder / part) != "cache":
            raise ArtefactError("a part of the prepared log is missing", where=folder / part)
    try:
        for part in summary["parts"]:
            Cache.open(folder / part)
    except ArtefactError:
        pass  # told of as a damaged artefact of its own
    else:
        open_parts(folder, encoder, summary)
    if not (folder / CROSSES_NAME).exists():
        return (PREPARED_NAME, ENCODER_NAME)
    read_crosses(folder / CROSSES_NAME)
    return (PREPARED_NAME, ENCODER_NAME, CROSSES_NAME)


def _check_cache(folder: Path) -> tuple[str, ...]:
    Cache.open(folder).verify()
    return (MANIFEST_NAME, DATA_NAME)


def _check_run(folder: Path) -> tuple[str, ...]:
    result = read_result(folder, with_bundle=True)
    if result is not None and _kind(folder / "bundle") is None:
        raise ArtefactError("the run is finished but its model is missing", where=folder / "bundle")
    return (RUN_NAME, *_of_updates(folder))


def _of_updates(run: Path) -> list[str]:
    """Read what says which version of an updated run is in use, and the rows that are held out or wait."""
    names = [
        name for name in (f"{VERSIONS_NAME}/{RECORD_NAME}", f"{VERSIONS_NAME}/{CURRENT_NAME}") if (run / name).exists()
    ]
    if names:
        in_use = bundle_in_use(run)
        if _kind(in_use) is None:
            raise ArtefactError("the version in use is missing", where=in_use, fix=RESTORE)
        record, rows = read_record(run), WaitingRows(run / WAITING_NAME)
        for name in record.waiting.names:
            rows.read(name)
            names.append(f"{WAITING_NAME}/{name}")
        for name in record.held_out:
            HeldOutDays(run / HELD_OUT_NAME).read(name)
            names.append(f"{HELD_OUT_NAME}/{name}")
    return names


def _check_search(folder: Path) -> tuple[str, ...]:
    check_search(folder)
    return (SEARCH_NAME,)


def _check_bundle(folder: Path) -> tuple[str, ...]:
    return open_bundle(folder).verify().files


def _check_checkpoint(folder: Path) -> tuple[str, ...]:
    read_checkpoint(folder)
    return checkpoint_files(folder)


_CHECKS: dict[str, Callable[[Path], tuple[str, ...]]] = {
    "prepared": _check_prepared,
    "cache": _check_cache,
    "search": _check_search,
    "run": _check_run,
    "bundle": _check_bundle,
    "checkpoint": _check_checkpoint,
}
