"""The points at which a process can be made to die: named places inside the writing of checkpoints and bundles."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fieldwise.bundle import writing
from fieldwise.io import files
from fieldwise.training import checkpoint

CHECKPOINT_FILES = ("table.safetensors", "dense.safetensors", "manifest.json")
POINTS: dict[str, str] = {
    "checkpoint: nothing is written yet": "save",
    **{f"checkpoint: half of {name} is written": f"half {name}" for name in CHECKPOINT_FILES},
    **{f"checkpoint: {name} is written, under a temporary name": f"synced {name}" for name in CHECKPOINT_FILES},
    **{f"checkpoint: {name} has its name": f"named {name}" for name in CHECKPOINT_FILES},
    "checkpoint: its folder has its name, not synced": "folder named",
    "checkpoint: an old one has lost its name": "old renamed",
    "checkpoint: an old one is half removed": "old half removed",
    "bundle: the weights are written, the manifest is the old one": "bundle weights",
    "bundle: the manifest is new, the old weights are still there": "bundle manifest",
}
"""What has happened at each point; the values are for `die_at`."""


def die_at(point: str, arrival: int) -> None:
    """Let this process die of SIGKILL when it comes to a point for the `arrival`-th time, from 1."""
    what, _, name = POINTS[point].partition(" ")
    left = arrival

    def arrive() -> None:
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    def of_checkpoint(path: Any) -> bool:
        return "checkpoints" in Path(path).parts and Path(path).name == name

    def around(place: Any, attribute: str, before: Callable[..., Any] | None, after: Callable[..., Any] | None) -> None:
        function = getattr(place, attribute)

        def call(*arguments: Any, **options: Any) -> Any:
            if before is not None:
                before(*arguments)
            result = function(*arguments, **options)
            if after is not None:
                after(*arguments)
            return result

        setattr(place, attribute, call)

    if what == "save":
        around(checkpoint.Checkpoints, "save", lambda *_: arrive(), None)
    elif what == "half":

        def half(file: Any, data: Any) -> None:
            if of_checkpoint(file.path) and left == 1:
                os.write(file.fileno(), bytes(data)[: len(data) // 2])
            if of_checkpoint(file.path):
                arrive()

        around(files._NewFile, "write", half, None)
    elif what == "synced":
        around(Path, "replace", lambda _, path: arrive() if of_checkpoint(path) else None, None)
    elif what == "named":
        around(Path, "replace", None, lambda _, path: arrive() if of_checkpoint(path) else None)
    elif what == "folder":
        around(checkpoint, "sync_folder", lambda *_: arrive(), None)
    elif what == "old" and name == "renamed":
        around(files.shutil, "rmtree", lambda path, **_: arrive() if Path(path).name.startswith(".old") else None, None)
    elif what == "old":

        def half_removed(path: Any, **_: Any) -> None:
            old = Path(path).name.startswith(".old")
            inside = [entry for entry in sorted(Path(path).rglob("*")) if old and entry.is_file()]
            if inside and left == 1:
                for entry in inside[: len(inside) // 2 + 1]:
                    entry.unlink()
            if inside:
                arrive()

        around(files.shutil, "rmtree", half_removed, None)
    elif name == "weights":
        around(writing, "write_bundle_manifest", lambda *_: arrive(), None)
    else:
        around(writing, "write_bundle_manifest", None, lambda *_: arrive())
