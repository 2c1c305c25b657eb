"""A chain of Gibbs sampling from start to end (`training.gibbs`): when it ends, and how it goes on once stopped.

The mean over the sweeps gets better with every one of them, and less so: where a log has validation rows, their logloss
by the mean is looked at every ten sweeps, and sampling ends once forty more have brought it down by less than
`SamplerConfig.tolerance` of itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import numpy as np

from fieldwise.counted import counted
from fieldwise.data.cache import Cache
from fieldwise.errors import ArtefactError
from fieldwise.events import Listener, Noted, Sampling, ignore
from fieldwise.io.memory import require_memory
from fieldwise.training.checkpoint import Checkpoints
from fieldwise.training.config import SamplerConfig
from fieldwise.training.gibbs import FactorMeans, GibbsSampler, sampling_memory
from fieldwise.training.interrupt import Interrupt, Interrupted

__all__ = ["LOOKS", "SWEEPS_BETWEEN", "has_settled", "read_chain", "run_chain"]

SWEEPS_BETWEEN, LOOKS = 10, 4
"""Sweeps between two looks at the validation rows; and looks over which the loss has to fall."""
_ROWS = 1 << 16


def has_settled(losses: Sequence[float], tolerance: float) -> bool:
    """Whether the last `LOOKS` losses are lower than the one before them by less than a share of it.

    Examples
    --------
    >>> has_settled([0.33, 0.31, 0.305, 0.301, 0.30], 0.002), has_settled([0.3, 0.2999, 0.2998, 0.2997, 0.2996], 0.002)
    (False, True)
    """
    if not tolerance or len(losses) <= LOOKS:
        return False
    before, *_, now = losses[-LOOKS - 1 :]
    return before - now < tolerance * before


def run_chain(
    train: Cache,
    valid: Cache | None,
    left_out: Iterable[tuple[int, int]],
    num_factors: int,
    settings: SamplerConfig,
    seed: int,
    checkpoints: Checkpoints,
    *,
    minutes_between: float = 10.0,
    most_seconds: float | None = None,
    interrupt: Interrupt | None = None,
    listen: Listener = ignore,
) -> float:
    """Run a chain over the training examples to its end, and return the seconds that it took.

    It goes on from the newest of its checkpoints, and leaves one behind when it is done, for `read_chain`, and so
    that the same call later takes no time.

    Parameters
    ----------
    train
        Read into memory as a whole.
    valid
        The rows that say when enough was sampled; None: all sweeps are.
    left_out, num_factors, seed
        As in `GibbsSampler`.
    settings
        How many sweeps at most, how many of the first are left out of the mean, and when to stop.
    checkpoints
        Of this chain alone.
    minutes_between
        Two checkpoints, at most.
    most_seconds
        A budget: sampling ends when it is used up, once ten sweeps are kept.
    interrupt
        Looked at after every sweep.

    Raises
    ------
    Interrupted
        On request, after a checkpoint was saved.
    ResourceError
        The examples and their sums do not fit in memory.
    """
    interrupt = interrupt or Interrupt()
    needed = sampling_memory(train.num_examples, train.layout.num_features, train.layout.num_fields, num_factors)
    require_memory(
        needed, "sampling a factorisation machine", "leave bayesian-fm out of model.kind, or use fewer factors"
    )
    examples = train.gather(np.arange(train.num_examples))
    assert examples.labels is not None, "training needs labels"
    sampler = GibbsSampler(examples.batch, examples.labels, train.layout, left_out, num_factors, seed)
    seconds, losses = 0.0, []
    if (checkpoint := checkpoints.newest()) is not None:
        sampler.restore(checkpoint)
        losses = checkpoint.dense["losses"].tolist()
        seconds = float(checkpoint.state["seconds"])
    saved = started = time.monotonic()
    already = seconds
    first: tuple[int, float] | None = None

    def is_over() -> bool:
        """Whether enough was sampled, or the budget is used up."""
        done = sampler.num_sweeps >= settings.sweeps or has_settled(losses, settings.tolerance)
        spent = most_seconds is not None and seconds >= most_seconds and sampler.num_kept >= SWEEPS_BETWEEN
        return done or spent

    while not is_over():
        sampler.sweep(keep=sampler.num_sweeps >= settings.burn_in)
        if valid is not None and sampler.num_kept and not sampler.num_kept % SWEEPS_BETWEEN:
            losses.append(_held_out_loss(sampler, valid))
        now = time.monotonic()
        seconds = already + now - started
        left = settings.sweeps - sampler.num_sweeps
        pace = None if first is None else (now - first[1]) / (sampler.num_sweeps - first[0])
        first = first or (sampler.num_sweeps, now)
        seconds_left = None if pace is None else left * pace
        listen(Sampling(sampler.num_sweeps, settings.sweeps, seconds_left, losses[-1] if losses else None))
        ended = is_over()
        if ended or interrupt.requested or now - saved >= 60 * minutes_between:
            sampler.save(checkpoints, losses, seconds)
            saved = now
        if not ended and interrupt.requested:
            raise Interrupted
    if sampler.num_sweeps < settings.sweeps and not has_settled(losses, settings.tolerance):
        listen(Noted(f"sampling ended after {counted(sampler.num_sweeps, 'sweep')}, for train.minutes"))
    return seconds


def read_chain(checkpoints: Checkpoints) -> FactorMeans:
    """Return the posterior that `run_chain` or `variational.run_passes` has found, here or in another process.

    Raises
    ------
    ArtefactError
        What it left behind is damaged, or cannot be seen from here.
    """
    checkpoint = checkpoints.newest()
    if checkpoint is None:
        raise ArtefactError(
            "what the first worker has sampled is not there",
            where=checkpoints.folder,
            fix="put the run folder where all workers can see it",
        )
    _, bias, bias_variance = checkpoint.dense["bias"].tolist()
    means = FactorMeans(
        checkpoint.dense["mean"],
        bias,
        int(checkpoint.state["num_sweeps"]),
        checkpoint.dense["variance"],
        bias_variance,
    )
    return means._replace(scale=float(checkpoint.state["scale"])) if "scale" in checkpoint.state else means


def _held_out_loss(sampler: GibbsSampler, valid: Cache) -> float:
    """Return the mean logloss of the validation rows by the mean so far."""
    total = 0.0
    for first in range(0, valid.num_examples, _ROWS):
        some = valid.gather(np.arange(first, min(first + _ROWS, valid.num_examples)))
        assert some.labels is not None, "validation rows have labels"
        logits = sampler.predict(some.batch)
        total += float(np.logaddexp(0.0, np.where(some.labels == 1, -logits, logits)).sum())
    return total / valid.num_examples
