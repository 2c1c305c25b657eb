"""Checks that an output neither overwrites its inputs nor becomes part of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from glob import has_magic
from pathlib import Path

from fieldwise.config import Config
from fieldwise.data.split import PARTS
from fieldwise.errors import ConfigError
from fieldwise.io.files import explaining
from fieldwise.io.stores import is_remote

__all__ = ["files_of", "refuse_output", "refuse_output_folder"]

_ANOTHER = "write it to another place"
_OF_A_MODEL = ("run.json", "manifest.json")
"""Of a run folder, and of a bundle."""
_LOOKED_AT = 1 << 16


def refuse_output(
    out: Path,
    files: Iterable[str | Path],
    named: Sequence[str | Path] = (),
    model: Path | None = None,
    *,
    mark: str | None,
) -> None:
    """Raise ConfigError if writing a file would overwrite an input, another file, or a part of the model or the log.

    Parameters
    ----------
    out
        The file to be written.
    files
        Its inputs. Links, relative names and, where the file system ignores it, case are resolved.
    named
        The folders and patterns that the inputs were found by: files there are read the next time.
    model
        The folder of the saved model.
    mark
        Text near the beginning or the end of files written by the same job. Such files and empty ones may be replaced,
        others not. None allows any file to be replaced.

    Raises
    ------
    ConfigError
        The message says what would happen.
    """
    if out.is_dir():
        raise ConfigError("the output is a folder", where=out, fix=f"give a file name, e.g. {out / out.name}.csv")
    there = _identity(out)
    for path in files:
        if not is_remote(path) and (_same(path, out) or (there is not None and _identity(Path(path)) == there)):
            raise ConfigError("the output would overwrite an input", where=out, got=f"input {path}", fix=_ANOTHER)
    for name in named:
        if not is_remote(name) and _would_read(name, out):
            raise ConfigError(
                "the output would become part of the log",
                where=out,
                expected=f"a file that does not match {name}",
                fix=_ANOTHER,
            )
    if model is not None and _inside(out, model):
        raise ConfigError("the output is inside a saved model", where=out, fix=_ANOTHER)
    if mark is not None and there is not None and not _holds(out, mark.encode()):
        raise ConfigError(
            "the output file already exists", where=out, fix="choose another file, or use --overwrite to replace it"
        )


def refuse_output_folder(out: Path, config: Config, inside: str, *, is_run: bool = False) -> None:
    """Raise ConfigError if writing an output folder would overwrite the log, a model or a file, or add to the log.

    Parameters
    ----------
    out
        The folder to be written.
    config
        The configuration whose log is the input.
    inside
        The name of a file that the folder will contain.
    is_run
        Whether it is a run folder; an existing run is checked elsewhere (`jobs.run.RunFolder`).

    Raises
    ------
    ConfigError
        The message says what would happen.
    """
    if os.path.lexists(out) and not out.is_dir():
        raise ConfigError("the output folder is an existing file", where=out, fix=_ANOTHER)
    for name in () if is_run else _OF_A_MODEL:
        if (out / name).exists():
            raise ConfigError("the folder contains a model", where=out, got=name, fix="choose an empty or new folder")
    for name in (name for part in PARTS for name in config.paths(part)):
        # Of a folder whose files tell their format by their names, none that we write is read.
        if not is_remote(name) and (config.data.format or has_magic(name)) and _would_read(name, out / inside):
            raise ConfigError(
                "the output would become part of the log",
                where=out,
                expected=f"a folder that does not match {name}",
                fix=_ANOTHER,
            )
    for path in files_of(config):
        if not is_remote(path) and (_same(path, out) or _inside(Path(path), out)):
            raise ConfigError(
                "the folder contains the log, which could be lost",
                where=out,
                got=f"input {path}",
                fix="choose an empty or new folder",
            )


def files_of(config: Config) -> list[str]:
    """Return the files and folders of all parts of the log of a configuration, and the root folders of patterns."""
    names = [name for part in PARTS for name in config.paths(part)]
    return [name if is_remote(name) or not has_magic(name) else _plain_part(name) for name in names]


def _plain_part(pattern: str) -> str:
    parts = Path(pattern).parts
    number = next(number for number, part in enumerate(parts) if has_magic(part))
    return str(Path(*parts[: number + 1]))


def _same(one: str | Path, other: str | Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a regular file from all others, by whatever name; None where there is none."""
    with explaining(path):
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def _holds(path: Path, mark: bytes) -> bool:
    """Whether a file has a mark near one of its ends, or no byte at all."""
    with explaining(path), path.open("rb") as file:
        head = file.read(_LOOKED_AT)
        file.seek(-min(path.stat().st_size, _LOOKED_AT), os.SEEK_END)
        return not head or mark in head or mark in file.read()


def _inside(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(folder)) in Path(os.path.realpath(path)).parents


def _would_read(name: str | Path, out: Path) -> bool:
    """Whether a folder or a pattern stands for a file that is not there yet."""
    if Path(name).is_dir():
        if not _inside(out, Path(name)):
            return False
        below = Path(os.path.realpath(out)).relative_to(os.path.realpath(name))
        return not any(part.startswith((".", "_")) for part in below.parts)
    if not has_magic(str(name)):
        return False
    # Of a pattern, what stands before the first wildcard is a folder like others; the rest is matched part by part.
    parts = Path(name).parts
    num_plain = next(number for number, part in enumerate(parts) if has_magic(part))
    folder = os.path.realpath(Path(*parts[:num_plain]))
    real = Path(os.path.realpath(out.parent)) / out.name
    if Path(folder) not in real.parents:
        return False
    return _matches(real.relative_to(folder).parts, parts[num_plain:])


def _matches(parts: Sequence[str], patterns: Sequence[str]) -> bool:
    """Whether the names on the way to a file match those of a pattern; ``**`` stands for any number of folders.

    A pattern may also end at a folder on the way: all below it is read.

    Examples
    --------
    >>> [_matches(("day", "a.csv"), pattern) for pattern in (("**", "*.csv"), ("*.csv",), ("d*",))]
    [True, False, True]
    """
    if not patterns:
        return True
    if patterns[0] == "**":
        return any(_matches(parts[start:], patterns[1:]) for start in range(len(parts)))
    return bool(parts) and fnmatchcase(parts[0], patterns[0]) and _matches(parts[1:], patterns[1:])
