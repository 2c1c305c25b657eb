"""``fieldwise history``: what became of each day."""

from __future__ import annotations

from pathlib import Path

from fieldwise.errors import ArtefactError
from fieldwise.io.stores import local_path
from fieldwise.jobs.run import RUN_NAME
from fieldwise.jobs.update.versions import Record, read_record

__all__ = ["read_history"]


def read_history(run: str | Path) -> Record:
    """Return what is noted of the days of a run, which another process may be updating.

    Raises
    ------
    ArtefactError
        There is no run.
    """
    folder = local_path(run)
    if not (folder / RUN_NAME).exists():
        raise ArtefactError("no run found", where=folder, expected="a folder written by `fieldwise train`")
    return read_record(folder)
