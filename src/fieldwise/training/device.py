"""Where a model is trained: on the processor, or with its table and its dense part on a GPU."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import torch

from fieldwise.errors import ConfigError
from fieldwise.models.click import ClickModel
from fieldwise.nn.cuda.table import DeviceTable

__all__ = ["choose_device", "missing_for_cuda", "own_gpu", "place_model"]


class Missing(NamedTuple):
    """Why no GPU can be used, and what to do about it."""

    what: str
    fix: str


def choose_device(name: str) -> torch.device | None:
    """Return the device that ``train.device`` asks for; None for the processor and its kernels.

    Raises
    ------
    ConfigError
        A GPU is asked for and cannot be used: what is missing, and what to do.

    Examples
    --------
    >>> choose_device("cpu"), choose_device("torch")
    (None, device(type='cpu'))
    """
    if name in ("cpu", "torch"):
        return torch.device("cpu") if name == "torch" else None
    missing = missing_for_cuda()
    if missing is None:
        return torch.device("cuda")
    if name == "auto":
        return None
    raise ConfigError(
        "training on a GPU is not possible here",
        where="train.device",
        expected="an NVIDIA GPU, its driver, and PyTorch with CUDA",
        got=missing.what,
        fix=f"{missing.fix}; or set train.device = cpu",
    )


def own_gpu(worker: int, num_workers: int) -> None:
    """Let `worker` of the `num_workers` of this host use a GPU that no other one uses.

    Raises
    ------
    ConfigError
        There are fewer GPUs than workers.
    """
    if torch.cuda.device_count() < num_workers:
        raise ConfigError(
            "every worker needs a GPU of its own",
            where="train.device",
            expected=f"{num_workers} GPUs on this host",
            got=torch.cuda.device_count(),
            fix="start as many workers on a host as it has GPUs",
        )
    torch.cuda.set_device(worker)


def missing_for_cuda() -> Missing | None:
    """Return what keeps models from training on a GPU here; None where nothing does."""
    if torch.version.cuda is None and torch.version.hip is None:
        return Missing(
            f"PyTorch {torch.__version__}, built without CUDA",
            "install a build of PyTorch with CUDA (https://pytorch.org/get-started/locally says how)",
        )
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if not available:
        why = f": {said[-1].message}" if said else ""
        return Missing(f"no GPU that PyTorch {torch.__version__} can use{why}", "see nvidia-smi, CUDA_VISIBLE_DEVICES")
    return None


def place_model(model: ClickModel, device: torch.device) -> None:
    """Move a model whose table has no memory yet to a device; its table then takes its memory there."""
    model.table = DeviceTable(model.table, device)
    model.to(device)
