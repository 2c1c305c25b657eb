"""Where a result may be written: never over what it was made from, nor where it would be read as more of it."""

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

_ANOTHER = "write it somewhere else"
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
    """Raise ConfigError where a file cannot be written to `out` without harm.

    Parameters
    ----------
    out
        The file to be written.
    files
        Those that it is made from. Links, relative names and names in another case are seen through.
    named
        The folders and patterns that those were found by: what lies there is read with them the next time.
    model
        The folder of the saved model: what is in it is the model's.
    mark
        What stands near the beginning or the end of files that the same verb wrote. Those are replaced, and so are
        empty files; others are somebody's. None: whatever is there may be replaced.

    Raises
    ------
    ConfigError
        With what would happen.
    """
    if out.is_dir():
        raise ConfigError("a folder is no file to write to", where=out, fix=f"name a file, as in {out / out.name}.csv")
    there = _identity(out)
    for path in files:
        if not is_remote(path) and (_same(path, out) or (there is not None and _identity(Path(path)) == there)):
            raise ConfigError(
                "the output is one of the inputs, which would be lost", where=out, got=f"input {path}", fix=_ANOTHER
            )
    for name in named:
        if not is_remote(name) and _would_read(name, out):
            raise ConfigError(
                "the output would be read as a part of the log the next time",
                where=out,
                expected=f"a file that {name} does not stand for",
                fix=_ANOTHER,
            )
    if model is not None and _inside(out, model):
        raise ConfigError("the output lies among the files of a saved model", where=out, fix=_ANOTHER)
    if mark is not None and there is not None and not _holds(out, mark.encode()):
        raise ConfigError(
            "another file is in this place already", where=out, fix="name another, or replace it with --overwrite"
        )


def refuse_output_folder(out: Path, config: Config, inside: str, *, is_run: bool = False) -> None:
    """Raise ConfigError where a folder cannot be made, or made anew, from the log of a configuration without harm.

    Parameters
    ----------
    out
        The folder.
    config
        What it is made from.
    inside
        A file that it will hold.
    is_run
        Whether it is a run folder, which says itself what it goes on with; others are none.

    Raises
    ------
    ConfigError
        There is a file or a model in its place; it holds the log, or lies among the files of the log where it would be
        read as more of it.
    """
    if os.path.lexists(out) and not out.is_dir():
        raise ConfigError("a file is where the folder is to be", where=out, fix=_ANOTHER)
    for name in () if is_run else _OF_A_MODEL:
        if (out / name).exists():
            raise ConfigError("the folder holds a model", where=out, got=name, fix="name a folder of its own")
    for name in (name for part in PARTS for name in config.paths(part)):
        # Of a folder whose files tell their format by their names, none that we write is read.
        if not is_remote(name) and (config.data.format or has_magic(name)) and _would_read(name, out / inside):
            raise ConfigError(
                "the output would be read as a part of the log the next time",
                where=out,
                expected=f"a folder that {name} does not stand for",
                fix=_ANOTHER,
            )
    for path in files_of(config):
        if not is_remote(path) and (_same(path, out) or _inside(Path(path), out)):
            raise ConfigError(
                "the folder holds the log, which could be lost with it",
                where=out,
                got=f"input {path}",
                fix="name a folder of its own",
            )


def files_of(config: Config) -> list[str]:
    """Return the files and folders of all parts of a configuration's log, and where a pattern begins."""
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
