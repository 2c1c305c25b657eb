"""A process that dies at a change of the file system, without a process: nothing below a folder changes afterwards."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

__all__ = ["Died", "Effects", "dying_at", "everything"]

_CHANGES = "rename", "replace", "unlink", "remove", "rmdir", "mkdir", "link"


class Died(BaseException):
    """The process is dead; whoever catches exceptions does not catch this one, and what cleans up changes nothing."""


class Effects:
    """How many changes there were, and what each was."""

    def __init__(self) -> None:
        self.seen: list[str] = []


@contextmanager
def dying_at(number: int | None, folder: Path) -> Iterator[Effects]:
    """Die in place of the `number`-th change of a name below a folder, from 0; never where it is None.

    Changes are those of names: what a file has is written under a name that nobody reads before it is renamed.
    """
    found, root = Effects(), str(folder.resolve())

    def around(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *rest: Any, **options: Any) -> Any:
            place = os.fspath(path)
            if isinstance(place, bytes):
                place = place.decode()
            at = options.get("dir_fd")
            if not os.path.isabs(place):
                place = os.path.join(os.getcwd() if at is None else os.readlink(f"/proc/self/fd/{at}"), place)
            if place.startswith(root):
                if number is not None and len(found.seen) >= number:
                    raise Died
                found.seen.append(f"{name} {place.removeprefix(root)}")
            return function(path, *rest, **options)

        return call

    with patch.multiple(os, **{name: around(name, getattr(os, name)) for name in _CHANGES}):
        yield found


def everything(folder: Path, *without: str) -> dict[str, bytes | None]:
    """Return every byte of a folder, and its folders, but for files of some names."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if path.name not in without
    }
