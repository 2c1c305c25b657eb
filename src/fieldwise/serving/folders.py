"""Where the models and versions of a folder lie.

::

    PATH/manifest.json, PATH/bundle/manifest.json     one model, one version: a bundle, a run
    PATH/3/..., PATH/versions/3/...                   one model, a folder for each version (a bundle or a run); a run
                                                      that is updated has its versions beside its first bundle
    PATH/ctr/..., PATH/cvr/...                        several models, each of them one of the above

A file or a link called ``current`` beside the versions names the one that answers; without it the highest does. Names
that begin with a point are passed over: copy a version under such a name and rename it, and it is never seen half.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from fieldwise.errors import ArtefactError, ConfigError

__all__ = ["ModelFolder", "Signature", "find_models", "signature_of", "version_key"]

_VERSION = re.compile(r"v?\d[\w.-]*", re.ASCII)
_NAME = re.compile(r"[\w.-]+", re.ASCII)
_MANIFEST = "manifest.json"
_FORMAT = re.compile(rb'"format":\s*"(fieldwise-[\w-]+)"')
_HEAD_BYTES = 256
"""Of a manifest: its first entry is its format."""

Signature = tuple[tuple[str, int, int, int], ...]
"""Names, sizes, times and inodes of the files of a version: what changes when it is copied or replaced."""


class ModelFolder(NamedTuple):
    """The versions of a model on disk.

    Attributes
    ----------
    versions
        Folders by the name of the version; the name is empty for a bundle or run that is no version of anything.
    pinned
        The version that ``current`` names; None without it. It may not be there.
    """

    versions: Mapping[str, Path]
    pinned: str | None = None


def find_models(path: str | Path, name: str | None = None) -> dict[str, ModelFolder]:
    """Return the models of a folder by name.

    Parameters
    ----------
    path
        A bundle, a run, or a folder of versions or models.
    name
        The name of the one model; by default that of its folder.

    Raises
    ------
    ArtefactError
        There is no folder.
    ConfigError
        A name is given for several models, or has characters that do not belong into an address.
    """
    path = Path(path)
    if not path.is_dir():
        raise ArtefactError("no model found", where=path, expected="a bundle, a run, or a folder of models")
    if name is not None and not _NAME.fullmatch(name):
        raise ConfigError("invalid name of a model", expected="letters, digits, points, - and _", got=repr(name))
    single = _model(path)
    if single is not None:
        return {name or _name_of(path): single}
    inside = {child.name: _model(child) for child in _folders(path)}
    models = {_name_of(path / child): model for child, model in sorted(inside.items()) if model is not None}
    if len(models) < sum(model is not None for model in inside.values()):
        raise ConfigError(
            "two folders have one name as models",
            where=path,
            got=", ".join(sorted(child for child, model in inside.items() if model is not None)),
            fix="rename one; a name has letters, digits, points, - and _",
        )
    if name is not None and len(models) > 1:
        raise ConfigError(
            "--name is for one model, and the folder has several",
            where=path,
            got=", ".join(models),
            fix="serve one of its folders, or leave --name out",
        )
    return {name or key: model for key, model in models.items()}


def _model(path: Path) -> ModelFolder | None:
    """Return the versions in a folder that is a model; None for others."""
    for folder in (path / "versions", path):
        if folder == path and _is_bundle(path):
            return ModelFolder({"": path})
        versions = {
            child.name: child for child in _folders(folder) if _VERSION.fullmatch(child.name) and not _is_other(child)
        }
        if versions and (folder != path or not any(_holds_versions(child) for child in versions.values())):
            return ModelFolder(versions, _pinned(folder) or _pinned(path))
    return None


def _holds_versions(path: Path) -> bool:
    """Return whether a folder whose name could be a version's is a model of its own."""
    return not _is_bundle(path) and any(_is_bundle(child) for child in _folders(path))


def _is_bundle(path: Path) -> bool:
    return (path / _MANIFEST).is_file() or (path / "bundle" / _MANIFEST).is_file()


def _is_other(path: Path) -> bool:
    """Return whether a folder is plainly no model but another artefact, such as a checkpoint beside it."""
    try:
        with (path / _MANIFEST).open("rb") as file:
            found = _FORMAT.search(file.read(_HEAD_BYTES))
    except OSError:
        return False
    return found is not None and found[1] != b"fieldwise-bundle"


def _folders(path: Path) -> list[Path]:
    try:
        return [
            child for child in path.iterdir() if child.name[0] != "." and child.name != "current" and child.is_dir()
        ]
    except OSError:
        return []


def _pinned(folder: Path) -> str | None:
    pointer = folder / "current"
    try:
        name = pointer.resolve().name if pointer.is_symlink() else pointer.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
    return name or None


def _name_of(path: Path) -> str:
    path = path.resolve()
    name = path.parent.name if path.name == "bundle" else path.name
    return re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII) or "model"


def version_key(name: str) -> list[tuple[int, str]]:
    """Return what versions are sorted by: their numbers as numbers.

    Examples
    --------
    >>> sorted(["10", "9", "v2", "2026-11-30", "2026-11-4"], key=version_key)
    ['9', '10', '2026-11-4', '2026-11-30', 'v2']
    """
    return [(int(part), "") if part.isdigit() else (1 << 62, part) for part in re.split(r"(\d+)", name) if part]


def signature_of(path: Path) -> Signature:
    """Return what tells one state of a version from another; empty where it cannot be read."""
    folder = path if (path / _MANIFEST).is_file() or not (path / "bundle").is_dir() else path / "bundle"
    found = []
    try:
        for child in sorted(folder.iterdir()):
            if child.is_file():
                status = child.stat()
                found.append((child.name, status.st_size, status.st_mtime_ns, status.st_ino))
    except OSError:
        return ()
    return tuple(found)
