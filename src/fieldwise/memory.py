"""How much memory there is, and a refusal where something cannot fit."""

from __future__ import annotations

from pathlib import Path

from fieldwise.errors import ResourceError

__all__ = ["available_bytes", "readable_bytes", "require_memory"]


def available_bytes() -> int | None:
    """Return the memory this process may still take: what the machine has free, within the limit of its control group.

    None where the system does not say.
    """
    limits = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        limits += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
        maximum = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if maximum != "max":
            limits.append(int(maximum) - int(Path("/sys/fs/cgroup/memory.current").read_text()))
    except (OSError, ValueError):
        pass
    return max(min(limits), 0) if limits else None


def readable_bytes(count: float) -> str:
    """Write a number of bytes for people.

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
    """Raise ResourceError, with the sizes, unless `num_bytes` can be had."""
    available = available_bytes()
    if available is not None and num_bytes > available:
        raise ResourceError(
            f"{what} does not fit in memory",
            expected=f"at most {readable_bytes(available)}, what is free",
            got=readable_bytes(num_bytes),
            fix=fix,
        )
