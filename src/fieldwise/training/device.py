"""Where a model is trained: on the processor, or with its table and its dense part on a GPU."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from fieldwise.errors import ConfigError

__all__ = ["choose_device", "missing_for_cuda", "own_gpu", "random_state", "set_random_state"]

_RANDOM = "random.{}"


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


def random_state(device: torch.device) -> dict[str, npt.NDArray[np.uint8]]:
    """Return the states of torch's generators that a model on a device draws from, as arrays for a checkpoint."""
    states = {_RANDOM.format("torch"): torch.get_rng_state().numpy()}
    if device.type == "cuda":
        states[_RANDOM.format("cuda")] = torch.cuda.get_rng_state(device).numpy()
    return states


def set_random_state(arrays: Mapping[str, npt.NDArray[Any]], device: torch.device) -> None:
    """Go on from `random_state`, as far as the same generators are used here."""
    torch.set_rng_state(torch.from_numpy(np.array(arrays[_RANDOM.format("torch")])))
    if device.type == "cuda" and _RANDOM.format("cuda") in arrays:
        torch.cuda.set_rng_state(torch.from_numpy(np.array(arrays[_RANDOM.format("cuda")])), device)
