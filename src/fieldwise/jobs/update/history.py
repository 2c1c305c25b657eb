"""``fieldwise history``: what became of each day."""

from __future__ import annotations

from pathlib import Path

from fieldwise.errors import ArtefactError
from fieldwise.io.stores import local_path
from fieldwise.jobs.run import RUN_NAME
from fieldwise.jobs.update.versions import Record, read_record

__all__ = ["read_history"]


def read_history(run: str | Path) -> Record:
    """Return the record of the days that a run was updated with; another process may be updating it.

    Parameters
    ----------
    run
        A run folder written by ``train``.

    Returns
    -------
    Record
        ``days``, in order: rows, progressive and held-out metrics, and whether the version was published; ``current``,
        the version in use. Without an update, there are no days, and version 1 is in use.

    Raises
    ------
    ArtefactError
        There is no run, or its record is damaged.

    Examples
    --------
    >>> import fieldwise as fw
    >>> [day.published for day in fw.read_history("runs/first").days]  # doctest: +SKIP
    [True, True, False]
    """
    folder = local_path(run)
    if not (folder / RUN_NAME).exists():
        raise ArtefactError("no run found", where=folder, expected="a folder written by `fieldwise train`")
    return read_record(folder)
