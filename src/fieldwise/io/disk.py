"""Free disk space, and an error if it is not enough."""

from __future__ import annotations

import os
from pathlib import Path

from fieldwise.errors import ResourceError
from fieldwise.io.memory import readable_bytes

__all__ = ["free_bytes", "require_disk"]


def free_bytes(folder: Path) -> int | None:
    """Return the free bytes on the disk of `folder`, which need not exist; None if unknown. Ignores quotas."""
    for place in (folder, *folder.absolute().parents):
        try:
            status = os.statvfs(place)
        except FileNotFoundError:
            continue
        except OSError:
            return None
        return status.f_bavail * status.f_frsize
    return None


def require_disk(num_bytes: int, folder: Path, what: str) -> None:
    """Raise ResourceError unless the disk of `folder` has `num_bytes` free; `what` names what needs them."""
    free = free_bytes(folder)
    if free is not None and num_bytes > free:
        raise ResourceError(
            f"{what} does not fit on the disk",
            where=folder,
            expected=f"{readable_bytes(num_bytes)} free",
            got=readable_bytes(free),
            fix="free some space or use another disk",
        )
