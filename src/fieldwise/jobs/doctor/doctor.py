"""``fieldwise doctor``: a description of this machine, and ahead-of-time compilation of the kernels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from fieldwise.io.memory import readable_bytes
from fieldwise.jobs.doctor.extras import Extra, describe_extras, library_problems
from fieldwise.jobs.doctor.hardware import Hardware, describe_hardware
from fieldwise.jobs.machine import Machine, describe_machine
from fieldwise.kernels import kept

_LEAST_BYTES = 1 << 29
_NUM_DISKS = 3

__all__ = ["Compilation", "Diagnosis", "Folder", "compile_kernels", "diagnose"]


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    """A folder for compiled kernels."""

    path: str
    can_be_written: bool
    num_kernels: int


class Compilation(msgspec.Struct, frozen=True, kw_only=True):
    """The result of ``doctor --compile``.

    Attributes
    ----------
    processor
        The processor that the kernels are compiled for; ``generic`` for all of this architecture.
    num_kernels
        Number of kernels in the folder, counting every variant.
    seconds
        CPU seconds.
    generic_ratio
        For some kernels, the time with ``generic`` divided by the time when compiled for this processor.
    left_out
        The kernels that were not compiled, because what they serve is not installed.
    """

    processor: str
    num_kernels: int
    seconds: float
    generic_ratio: dict[str, float]
    left_out: str | None = None


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """A description of this machine.

    Attributes
    ----------
    compiled_for
        The processor that kernels are compiled for.
    folders
        The folders for compiled kernels, in the order in which they are searched.
    hardware
        What the machine can do, and what is free.
    extras
        The libraries that are needed, always and for each extra.
    problems
        Problems, each with a fix.
    """

    machine: Machine
    hardware: Hardware
    extras: tuple[Extra, ...]
    compiled_for: str
    folders: tuple[Folder, ...]
    problems: tuple[str, ...]
    compilation: Compilation | None = None


def diagnose(compilation: Compilation | None = None) -> Diagnosis:
    """Describe this machine.

    Parameters
    ----------
    compilation
        The result of `compile_kernels`, if it was called.
    """
    in_use = kept.folder_in_use()
    problems = []
    if in_use is None:
        problems.append(
            "there is no folder to keep compiled kernels in, so every process compiles them again: set "
            "NUMBA_CACHE_DIR to a folder that can be written"
        )
    elif kept.is_ignored(in_use):
        problems.append(
            f"NUMBA_CACHE_DIR ({os.environ.get('NUMBA_CACHE_DIR')}) cannot be written: set it to a folder that can be, "
            "or unset it"
        )
    hardware, extras = describe_hardware(), describe_extras()
    problems += [*library_problems(extras), *_lack_of_room(hardware), *_broken_torch()]
    return Diagnosis(
        machine=describe_machine(),
        hardware=hardware,
        extras=extras,
        compiled_for=_processor(),
        folders=tuple(
            Folder(path=str(folder), can_be_written=_can_be_written(folder), num_kernels=kept.count(folder))
            for folder in kept.folders()
        ),
        problems=tuple(problems),
        compilation=compilation,
    )


def _lack_of_room(hardware: Hardware) -> Iterator[str]:
    """Yield what is too little for the smallest log."""
    available = hardware.available_bytes
    if available is not None and available < _LEAST_BYTES:
        have = readable_bytes(available)
        yield f"only {have} of memory is available: end other programs, or raise the container's limit"
    for disk in hardware.disks:
        if disk.free_bytes is not None and disk.free_bytes < _LEAST_BYTES:
            have = readable_bytes(disk.free_bytes)
            yield f"only {have} are free at {disk.path} ({disk.what}): free some, or use another disk"
    if len(hardware.disks) < _NUM_DISKS:
        yield "no folder for temporary files can be written: set TMPDIR to one that can be"


def _broken_torch() -> Iterator[str]:
    """Yield why PyTorch cannot be loaded although it is installed."""
    if find_spec("torch") is not None:
        try:
            import torch  # noqa: F401
        except (ImportError, OSError) as error:
            yield f"PyTorch is installed but cannot be loaded ({error}): pip install --force-reinstall torch"


def compile_kernels(listen: Callable[[str], None]) -> Compilation:
    """Compile the kernels of all jobs that what is installed allows, in all variants, and store them in the kernel
    cache.

    With ``NUMBA_CPU_NAME=generic`` in the environment they run on all processors of this architecture, and are used by
    processes with the same setting.

    Parameters
    ----------
    listen
        Called with a description of each step before it begins.
    """
    from fieldwise.jobs.doctor.rehearsal import can_answer, can_train, rehearse

    folder = kept.folder_in_use(note=True)
    seconds = rehearse(listen)
    listen("speed for this processor and for all")
    own, generic = (_nanoseconds(name) for name in (None, "generic"))
    return Compilation(
        processor=_processor(),
        num_kernels=kept.count(folder) if folder is not None else 0,
        seconds=seconds,
        generic_ratio={name: generic[name] / own[name] for name in own},
        left_out=None if can_train() else "training" if can_answer() else "training and answers",
    )


def _nanoseconds(processor: str | None) -> dict[str, float]:
    """Measure some kernels in a process that compiles for a processor, this one unless given."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA_CPU_")}
    if processor is not None:
        environment["NUMBA_CPU_NAME"] = processor
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    command = [sys.executable, "-m", "fieldwise.kernels.speed"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _can_be_written(folder: Path) -> bool:
    """Whether a folder can be written, or be made; it is not made."""
    if folder.exists():
        return kept.can_be_written(folder)
    there = next((each for each in folder.parents if os.path.lexists(each)), None)
    return there is not None and there.is_dir() and os.access(there, os.W_OK)


def _processor() -> str:
    from numba.core.registry import cpu_target

    target: Any = cpu_target.target_context
    return str(target.codegen().magic_tuple()[1])
