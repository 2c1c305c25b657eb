"""Which files of a log a model has learned from: metrics of their rows say little about others."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from fieldwise.data.find_files import find_files
from fieldwise.errors import UserError
from fieldwise.io import stores
from fieldwise.jobs.run import RUN_NAME, read_config

__all__ = ["learned_warning"]

_SHOWN = 3


def learned_warning(run: str | Path, files: Iterable[str]) -> str | None:
    """Return a warning where some files are of the log that a run was trained on; None where none is.

    A file that was written after the run is another log. A copy under another path is not recognised, and nothing is
    known of a bundle that lies in no run.

    Parameters
    ----------
    run
        A run folder, or a bundle in one.
    files
        Of a log (`data.log.Log`).
    """
    training = _training_files(Path(run))
    known = [path for path in files if _place(path) in training]
    if not known:
        return None
    named = ", ".join(known[:_SHOWN]) + (f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else "")
    return (
        f"the model was trained on rows of {named}, so metrics are better here than on rows that it has not seen: "
        "give a log that it was not trained on"
    )


def _training_files(folder: Path) -> set[str]:
    """Return the files with training rows of the run that a model is of, as they were when it was trained."""
    folder = next((each for each in (folder, *folder.absolute().parents[:2]) if (each / RUN_NAME).is_file()), folder)
    with suppress(UserError, OSError):  # a run of an earlier version, a log that has gone
        config, _ = read_config(folder)
        trained_at = (folder / RUN_NAME).stat().st_mtime_ns
        found = find_files(config.paths("train"), config.data.format, encoding=config.data.csv.encoding).sources
        return {
            _place(source.path)
            for source in found
            if stores.is_remote(source.path) or os.stat(source.path).st_mtime_ns <= trained_at
        }
    return set()


def _place(path: str) -> str:
    return path if stores.is_remote(path) else os.path.realpath(path)
