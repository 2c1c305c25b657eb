"""Copying an opened bundle, and telling one bundle from another that lies in its place."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from fieldwise.bundle.manifest import bundle_digest
from fieldwise.bundle.reading import Bundle
from fieldwise.errors import ArtefactError, ConfigError
from fieldwise.io.files import explaining, sync_folder

__all__ = ["copy_bundle", "refuse_other"]


def copy_bundle(bundle: Bundle, folder: str | Path) -> None:
    """Copy a bundle, which is everything that a server needs, atomically to a new folder.

    Raises
    ------
    ConfigError
        The folder already exists.
    ArtefactError
        The bundle has been replaced since it was opened, or the copy cannot be written.
    """
    folder = Path(folder)
    if os.path.lexists(folder) and not (folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir())):
        raise ConfigError("the output already exists", where=folder, fix="name a new folder")
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    try:
        with explaining(folder):
            temporary.mkdir(parents=True)
            for name in bundle.files:
                shutil.copyfile(bundle.folder / name, temporary / name)
            sync_folder(temporary)
        refuse_other(bundle.digest, bundle_digest(temporary), bundle.folder)
        with explaining(folder):
            temporary.replace(folder)
            sync_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_other(opened: str, found: str, folder: Path) -> None:
    """Raise ArtefactError where a bundle does not have the checksum of the one that was opened there."""
    if found != opened:
        raise ArtefactError(
            "the model has been replaced since it was opened",
            where=folder,
            expected=f"checksum {opened}",
            got=found,
            fix="open it again with Predictor(path)",
        )
