"""Description of the machine, to accompany measurements."""

from __future__ import annotations

import os
import platform
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import msgspec

from fieldwise import __version__
from fieldwise.kernels.threads import num_threads

__all__ = ["Machine", "describe_machine"]


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Processor, cores, memory and versions, and the load before the measurement, which should be near zero."""

    date: str
    processor: str
    cores: int
    threads: int
    memory_bytes: int
    cache: str
    system: str
    versions: dict[str, str]
    load: float


def describe_machine() -> Machine:
    """Describe this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    names = ("numpy", "numba", "torch", "pyarrow")
    return Machine(
        date=date.today().isoformat(),
        processor=_processor(),
        cores=cores,
        threads=num_threads(),
        memory_bytes=_memory_bytes(),
        cache=_text(Path("/sys/devices/system/cpu/cpu0/cache/index3/size")),
        system=f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        versions={"fieldwise": __version__, **{name: version(name) for name in names if find_spec(name)}},
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
    )


def _processor() -> str:
    for line in _text(Path("/proc/cpuinfo")).splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _memory_bytes() -> int:
    for line in _text(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
