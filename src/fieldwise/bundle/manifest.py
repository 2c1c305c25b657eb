"""The manifest of a bundle, which is written last, and where the bundle of a run lies."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from fieldwise.errors import ArtefactError, did_you_mean
from fieldwise.io.files import explaining
from fieldwise.io.manifests import Upgrades, read_manifest, write_manifest

__all__ = [
    "BUNDLE_FORMAT",
    "CURRENT_NAME",
    "FORGETTING_NAME",
    "MANIFEST_NAME",
    "ONE_BLOCK",
    "VERSIONS_NAME",
    "BundleManifest",
    "bundle_digest",
    "bundle_in_use",
    "forgetting_remark",
    "models_near",
    "path_inside",
    "read_bundle_manifest",
    "write_bundle_manifest",
]

BUNDLE_FORMAT = "fieldwise-bundle"
_VERSION = 2
_MOST_NAMES = 5
MANIFEST_NAME = "manifest.json"
VERSIONS_NAME, CURRENT_NAME = "versions", "current"
"""Of a run that is updated: the folder of its versions, a bundle each, and the file there that names the one in use."""
FORGETTING_NAME = "forgetting.json"
"""Of a run: there while a `fieldwise forget` is not done."""
ONE_BLOCK = 62
"""The block shift of tables written by version 1, which have one checksum for the whole file."""
_UPGRADES: Upgrades = {1: lambda content: {**content, "table_blocks": [], "table_block_shift": ONE_BLOCK}}


class BundleManifest(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The content of manifest.json."""

    model: dict[str, Any]
    dtype: str
    csv: dict[str, Any]
    encoder: dict[str, Any]
    files: dict[str, str]
    checksums: dict[str, str]
    save: int
    table_blocks: tuple[str, ...]
    table_block_shift: int
    calibration: dict[str, Any] = {}
    format: str | None = None
    no_network: str | None = None


def read_bundle_manifest(folder: Path) -> tuple[BundleManifest, str]:
    """Return the manifest of a bundle, and its digest."""
    path = path_inside(folder, "manifest", MANIFEST_NAME)
    return read_manifest(path, BundleManifest, format=BUNDLE_FORMAT, version=_VERSION, upgrades=_UPGRADES)


def write_bundle_manifest(folder: Path, manifest: BundleManifest) -> None:
    """Write the manifest of a bundle whose files are written."""
    write_manifest(folder / MANIFEST_NAME, manifest, format=BUNDLE_FORMAT, version=_VERSION)


def bundle_digest(folder: str | Path) -> str:
    """Return the checksum of the manifest of a bundle, which identifies the whole bundle.

    Raises
    ------
    ArtefactError
        There is no bundle, or its manifest is damaged.
    """
    return read_bundle_manifest(Path(folder))[1]


def models_near(folder: Path) -> str:
    """Return what to do where a folder has no bundle: the models below it, or one beside it with a similar name."""
    place = folder if folder.is_dir() else folder.parent
    try:
        found = [each.name for each in sorted(place.iterdir()) if (bundle_in_use(each) / MANIFEST_NAME).exists()]
    except (OSError, ArtefactError):
        found = []
    if not found or found == ["pretrain"]:  # what an unfinished run begins from
        return "train a model first"
    if place == folder:
        return f"name a model in it: {', '.join(found[:_MOST_NAMES])}{', ...' * (len(found) > _MOST_NAMES)}"
    return did_you_mean(folder.name, found)


def bundle_in_use(folder: str | Path) -> Path:
    """Return the folder of the bundle with which a run answers, or `folder` itself where it is no run.

    Raises
    ------
    ArtefactError
        The file that names the version in use is damaged.
    """
    folder = Path(folder)
    if (folder / MANIFEST_NAME).exists():
        return folder
    pointer = folder / VERSIONS_NAME / CURRENT_NAME
    if pointer.exists():
        with explaining(pointer):
            name = pointer.read_bytes().strip()
        if not name.isdigit():
            raise ArtefactError(
                "the file that names the version in use is damaged",
                where=pointer,
                expected="the number of a version",
                got=repr(name[:20].decode(errors="replace")),
                fix="`fieldwise rollback RUN --to VERSION` writes it anew",
            )
        return folder / VERSIONS_NAME / name.decode()
    return folder / "bundle" if (folder / "bundle" / MANIFEST_NAME).exists() else folder


def forgetting_remark(folder: str | Path) -> str | None:
    """Return what should be known of a run in which a `fieldwise forget` was interrupted; None where none was."""
    if not (Path(folder) / FORGETTING_NAME).exists():
        return None
    return (
        f"a `fieldwise forget` was interrupted in {folder}: the model may still know the values; run the same "
        "`fieldwise forget` again to finish it"
    )


def path_inside(folder: Path, part: str, name: str) -> Path:
    """Return the path of a file of a bundle; raise ArtefactError if its name or a link leads outside the folder."""
    path = folder / name
    outside = Path(name).name != name or "\0" in name
    if not name or outside or os.path.dirname(os.path.realpath(path)) != os.path.realpath(folder):
        raise ArtefactError(
            "the bundle refers to a file outside its folder",
            where=folder,
            expected="files in the folder",
            got=f"{part}: {name!r}" + (f", which is {os.path.realpath(path)}" if path.is_symlink() else ""),
            fix="if you trust its source, replace links by the files that they point to (cp -rL)",
        )
    return path
