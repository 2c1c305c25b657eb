"""What the checks compute and compare: logits, losses, weights after training; nothing is pickled on the way."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fieldwise.data.cache import Examples
from fieldwise.kernels.layout import Batch
from fieldwise.models.click import ClickModel
from fieldwise.testing.subject import CheckFailed, Subject
from fieldwise.training.guard import NotFinite
from fieldwise.training.loss import logloss
from fieldwise.training.step import Stepper

__all__ = ["arrays_of", "close", "learn", "logits_of", "loss_of", "same", "trained", "without_pickle"]


def logits_of(model: ClickModel, batch: Batch) -> npt.NDArray[np.floating]:
    """Return the logits of B examples, (B, O)."""
    with torch.no_grad():
        logits: npt.NDArray[np.floating] = model(batch).cpu().numpy()
    return logits


def loss_of(model: ClickModel, examples: Examples) -> Tensor:
    """Return the mean logloss, with its graph."""
    assert examples.labels is not None
    logits = model(examples.batch)
    return logloss(logits, torch.from_numpy(examples.labels).to(logits.device))


def learn(stepper: Stepper, examples: Examples, num_steps: int, what: str) -> tuple[float, float]:
    """Take some steps on the same examples, and return the first and the last loss."""
    try:
        with stepper.at_work():
            losses = [stepper.step(examples, 1.0) for _ in range(num_steps)]
    except NotFinite as error:
        raise CheckFailed(f"in learning {what}, {error.what} is not finite") from error
    return losses[0], losses[-1]


def trained(
    subject: Subject,
    seed: int,
    dtype: torch.dtype = torch.float32,
    *,
    num_steps: int = 4,
    examples: Examples | None = None,
) -> tuple[Stepper, dict[str, npt.NDArray[Any]]]:
    """Train as `fieldwise train` does, and return what moved the model, and all that a checkpoint would hold."""
    with torch.random.fork_rng(devices=[]):
        stepper = subject.stepper(seed, dtype)
        torch.manual_seed(seed)
        with stepper.at_work():
            for _ in range(num_steps):
                stepper.step(examples or subject.examples, 1.0)
        return stepper, arrays_of(stepper)


def arrays_of(stepper: Stepper) -> dict[str, npt.NDArray[Any]]:
    """Return all that a checkpoint would hold."""
    return {**stepper.arrays(), "rows": stepper.table.rows}


_TOLERANCE = 1e-9


def close(
    got: npt.NDArray[np.floating],
    expected: npt.NDArray[np.floating],
    what: str,
    fix: str | None = None,
    tolerance: float = _TOLERANCE,
) -> None:
    """Raise CheckFailed unless numbers agree within `tolerance`, relative and absolute."""
    difference = np.abs(got - expected)
    if not (difference <= tolerance * (1 + np.abs(expected))).all():
        place = tuple(int(i) for i in np.unravel_index(np.nanargmax(difference), difference.shape))
        raise CheckFailed(f"{what}, most at {place}", expected=expected[place], got=got[place], fix=fix)


def same(
    got: dict[str, npt.NDArray[Any]], expected: dict[str, npt.NDArray[Any]], what: str, fix: str | None = None
) -> None:
    """Raise CheckFailed unless all bits of all arrays agree."""
    differ = [name for name in expected if got[name].tobytes() != expected[name].tobytes()]
    if differ:
        raise CheckFailed(what, expected="the same bits", got=f"others in {', '.join(differ)}", fix=fix)


@contextmanager
def without_pickle() -> Iterator[None]:
    """Let every attempt to pickle something fail, but for compiled kernels, which are kept so."""

    def refusing(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if sys._getframe(1).f_globals["__name__"].startswith(("numba.", "fieldwise.kernels.")):
                return function(*arguments, **options)
            raise CheckFailed("something was pickled", fix="keep state in parameters and buffers")

        return call

    with ExitStack() as stack:
        for module, names in ((pickle, ("dump", "dumps", "load", "loads")), (torch, ("save", "load"))):
            for name in names:
                stack.enter_context(patch.object(module, name, refusing(getattr(module, name))))
        yield
