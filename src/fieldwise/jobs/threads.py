"""How many threads a job takes."""

from __future__ import annotations

from fieldwise.errors import EXTRAS
from fieldwise.kernels.threads import set_num_threads

__all__ = ["use_threads"]


def use_threads(count: int | None) -> None:
    """Use `count` threads for the kernels, and for torch where it is installed; None leaves both as they are."""
    if count is None:
        return
    set_num_threads(count)
    try:
        from fieldwise.nn.blocks import set_torch_threads
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
    else:
        set_torch_threads(count)
