"""Available memory, and an error if it is not enough."""

from __future__ import annotations

import ctypes
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fieldwise.errors import ResourceError

__all__ = [
    "available_bytes", "freed_memory_kept", "held_bytes", "peak_bytes", "readable_bytes", "require_memory",
    "resident_bytes",
]  # fmt: skip

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_KEEP = 1 << 30
_GROUPS = (
    ("/sys/fs/cgroup", "memory.max", "memory.current"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
"""Of this process in a container, of control groups 2 and 1: where what they allow and use is told."""


def available_bytes() -> int | None:
    """Return the bytes that this process can still allocate, within the limit of its control group; None if unknown."""
    limits = [left for group in _GROUPS if (left := _left_in_group(*group)) is not None]
    with suppress(OSError, ValueError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        limits += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return max(min(limits), 0) if limits else None


def _left_in_group(folder: str, maximum: str, used: str) -> int | None:
    """Return what a control group still allows. Pages of files that were read count as used, but make room."""
    try:
        limit, in_use = (int(Path(folder, name).read_text()) for name in (maximum, used))
        stat = dict(line.split() for line in Path(folder, "memory.stat").read_text().strip().splitlines())
        return limit - in_use + sum(int(stat.get(name, 0)) for name in ("active_file", "inactive_file"))
    except (OSError, ValueError):  # none, or "max"
        return None


def resident_bytes() -> int | None:
    """Return the memory that this process holds now, what it has read of mapped files included; None if unknown."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return None


def held_bytes() -> int:
    """Return the anonymous memory of this process; where the system does not say, the most memory it has held."""
    return _of_status("RssAnon") or _largest()


def peak_bytes() -> int:
    """Return the most memory that this process has held, what it has read of mapped files included.

    ``ru_maxrss`` alone would not do on Linux: a process begins with its parent's where that is larger.
    """
    return _of_status("VmHWM") or _largest()


def _of_status(name: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:  # macOS
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), None)


def _largest() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def readable_bytes(count: float) -> str:
    """Format a number of bytes with a decimal unit.

    Examples
    --------
    >>> readable_bytes(4.5e9), readable_bytes(120)
    ('4.50 GB', '120 B')
    """
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count:.0f} B"


def require_memory(num_bytes: int, what: str, fix: str) -> None:
    """Raise ResourceError unless `num_bytes` are available; `what` names what needs them, `fix` says what to do."""
    available = available_bytes()
    if available is not None and num_bytes > available:
        raise ResourceError(
            f"{what} does not fit in memory",
            expected=f"at most {readable_bytes(available)} (available)",
            got=readable_bytes(num_bytes),
            fix=fix,
        )


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Make the C library reuse memory freed inside the block instead of returning it to the system.

    A training step allocates and frees the same tensors again and again. By default glibc returns large ones to the
    system each time and gets them back page by page, zeroed: 14,000 page faults and a tenth of the step of a
    [2048, 1024] network (docs/log/2026-11/dense.md#which-librarys-product-is-fastest). No effect without glibc.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is None or not hasattr(libc, "mallopt"):
        yield
        return
    libc.mallopt(_MMAP_THRESHOLD, _KEEP)
    libc.mallopt(_TRIM_THRESHOLD, _KEEP)
    try:
        yield
    finally:
        libc.mallopt(_TRIM_THRESHOLD, 1 << 17)  # what mallopt(3) says they are
        libc.mallopt(_MMAP_THRESHOLD, 1 << 17)
        libc.malloc_trim(0)
