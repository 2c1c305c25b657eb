"""What this machine can do, and what that means for speed."""

from __future__ import annotations

import os
import platform
import tempfile
from contextlib import suppress
from pathlib import Path

import msgspec
from llvmlite import binding

from fieldwise.datasets.fetch import cache_folder
from fieldwise.io.disk import free_bytes
from fieldwise.io.memory import available_bytes

__all__ = ["Disk", "Gpu", "Hardware", "describe_hardware"]

_VECTORS = (("avx512f", "AVX-512", 16), ("avx2", "AVX2", 8), ("sve", "SVE", 4), ("neon", "NEON", 4))
_BFLOAT16 = (("amx-bf16", "AMX"), ("avx512bf16", "AVX-512 BF16"), ("bf16", "bf16 of Armv8.6"))
_USUAL_LANES = 4


class Disk(msgspec.Struct, frozen=True, kw_only=True):
    """A folder that fieldwise writes, and the bytes that are free there; None where unknown."""

    what: str
    path: str
    free_bytes: int | None


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU that PyTorch can use."""

    name: str
    memory_bytes: int


class Hardware(msgspec.Struct, frozen=True, kw_only=True):
    """What this machine can do.

    Attributes
    ----------
    vectors
        The widest vector instructions of the processor.
    lanes
        How many float32 numbers they take at once.
    bfloat16
        The instructions that multiply matrices in bfloat16; None where there are none.
    gpus
        Those that PyTorch can use.
    no_gpu
        Why there are none; None where there are.
    available_bytes
        Memory that a process can still take, within the limit of its container; None where unknown.
    disks
        The folders that are written, and what is free there.
    """

    vectors: str
    lanes: int
    bfloat16: str | None
    gpus: tuple[Gpu, ...]
    no_gpu: str | None
    available_bytes: int | None
    disks: tuple[Disk, ...]

    @property
    def meaning(self) -> list[str]:
        """What follows for speed, one sentence each."""
        said = [f"{self.vectors}: kernels take {self.lanes} numbers at once"]
        if self.bfloat16 is None:
            said.append('no bfloat16: train.precision = "auto" takes float32')
        else:
            said.append(f"bfloat16 by {self.bfloat16}: layers of 262,144 weights or more are multiplied in it")
        said.append(
            'a GPU can be used: train.device = "cuda"' if self.gpus else f"training on the processor: {self.no_gpu}"
        )
        return said


def describe_hardware() -> Hardware:
    """Return what this machine can do; PyTorch is asked about GPUs where it is installed."""
    has = binding.get_host_cpu_features()
    vectors = next(
        ((name, lanes) for flag, name, lanes in _VECTORS if has.get(flag)), (platform.machine(), _USUAL_LANES)
    )
    gpus, no_gpu = _gpus()
    folders = {"working folder, runs, prepared logs": Path.cwd(), "data sets": cache_folder("")}
    with suppress(FileNotFoundError):
        folders["temporary files"] = Path(tempfile.gettempdir())
    return Hardware(
        vectors=vectors[0],
        lanes=vectors[1],
        bfloat16=next((name for flag, name in _BFLOAT16 if has.get(flag)), None),
        gpus=gpus,
        no_gpu=no_gpu,
        available_bytes=available_bytes(),
        disks=tuple(Disk(what=what, path=str(at), free_bytes=free_bytes(at)) for what, at in folders.items()),
    )


def _gpus() -> tuple[tuple[Gpu, ...], str | None]:
    try:
        import torch

        from fieldwise.training.device import missing_for_cuda
    except (ImportError, OSError):
        return (), "PyTorch is not installed"
    missing = missing_for_cuda()
    if missing is not None:
        hint = f"; {missing.fix}" if os.path.exists("/dev/nvidia0") else ""
        return (), missing.what + hint
    count = range(torch.cuda.device_count())
    found = [torch.cuda.get_device_properties(number) for number in count]
    return tuple(Gpu(name=each.name, memory_bytes=each.total_memory) for each in found), None
