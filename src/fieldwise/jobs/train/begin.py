"""What comes before the steps of a training: which model the log allows, and the sampling of a Bayesian FM."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch

from fieldwise.config import Config
from fieldwise.distributed.world import World
from fieldwise.errors import Stopped
from fieldwise.events import Listener, StageStart, Warned
from fieldwise.jobs.prepare.prepared import Prepared
from fieldwise.jobs.train.team import all_threads
from fieldwise.kernels.newton import LogisticSolution
from fieldwise.models.bayesian_fm import BayesianFM
from fieldwise.models.click import ClickModel
from fieldwise.models.lr import LogisticRegression
from fieldwise.training.chain import read_chain, run_chain
from fieldwise.training.checkpoint import Checkpoints
from fieldwise.training.gibbs import FactorMeans
from fieldwise.training.initial import LrWeights, posterior_method, set_sampled, settled
from fieldwise.training.interrupt import Interrupt, Interrupted, noting_signals
from fieldwise.training.optimum import read_initial, read_optimum, solve_initial, solve_path
from fieldwise.training.solvable import ids_in_bags, not_solved, solving_memory
from fieldwise.training.state import TrainingState
from fieldwise.training.variational import run_passes

__all__ = ["by_steps", "initial_weights", "sample", "solve", "with_kind"]


_SOLVED = "while logistic regression was solved"


@contextmanager
def _stopping(when: str) -> Iterator[None]:
    try:
        yield
    except Interrupted:
        raise Stopped(f"stopped {when}; run the same command again to resume") from None


def with_kind(config: Config, prepared: Prepared) -> Config:
    """Return the configuration with ``model.kind`` as it is for this log, where that is ``auto``.

    Raises
    ------
    ConfigError
        It has a Bayesian factorisation machine, and there can be none.
    """
    train, encoder = prepared.parts["train"], prepared.encoder
    model = settled(
        config.model,
        config.train,
        encoder.layout,
        train.num_examples,
        num_classes=len(encoder.schema.classes),
        weighted=config.weighted,
        has_inputs=encoder.schema.has_inputs,
    )
    return msgspec.structs.replace(config, model=model)


def sample(
    config: Config,
    folder: Path,
    model: ClickModel,
    prepared: Prepared,
    interrupt: Interrupt,
    world: World,
    listen: Listener,
    most_seconds: float | None = None,
) -> tuple[float, FactorMeans]:
    """Find the posterior of a model's Bayesian factorisation machine, by sampling or by passes over batches, and return
    it and the seconds that it took.

    `folder` keeps it, for all models that want the same. It ends early where `most_seconds` are over.

    Of several workers the first samples, with the threads of all that are on its host, and the others wait; then each
    takes the rows that it owns from the folder. So what they begin with is one process's, to the bit.

    Raises
    ------
    Stopped
        On request; the chain is kept.
    """
    [(name, member)] = model.sampled.items()
    assert isinstance(member, BayesianFM), "nothing else is sampled"
    listen(StageStart("sample", config.model.kind))
    mask = member.interactions.mask.cpu().numpy()
    left_out = [(f, g) for f, g in zip(*np.nonzero(mask == 0), strict=True) if f < g]
    factors, settings, seed = member.num_local - 1, config.train.sampler, config.train.seed
    train, valid, rate = prepared.parts["train"], prepared.parts.get("valid"), config.train.negative_rate
    method = posterior_method(config.model, config.train, train.layout, train.num_examples, config.weighted)
    if method == "gibbs":
        sampler = f"{settings.burn_in}-{settings.sweeps}-{settings.tolerance:g}"
    else:
        sampler = f"variational-{settings.passes}-{rate:g}"
    kept = f"{name}-{prepared.folder.name[:12]}-{factors}-{sampler}-{seed}"
    chain = Checkpoints(folder / kept, keep=1, warn=lambda text: listen(Warned(text)))
    by_turns: dict[str, Any] = {
        "minutes_between": config.train.checkpoint_minutes,
        "most_seconds": most_seconds,
        "interrupt": interrupt,
        "listen": listen,
    }

    def run() -> float:
        with _stopping("while sampling"), all_threads(world):
            if method == "gibbs":
                return run_chain(train, valid, left_out, factors, settings, seed, chain, **by_turns)
            return run_passes(train, valid, left_out, factors, settings.passes, seed, chain, rate, **by_turns)

    seconds = world.first(run, float)
    with world.together():
        means = read_chain(chain)
        set_sampled(model, name, means)
    return seconds, means


def by_steps(config: Config, prepared: Prepared) -> str | None:
    """Return why logistic regression is trained by steps; None where it is solved."""
    train = prepared.parts["train"]
    needed = solving_memory(train.layout, train.num_examples, ids_in_bags(train))
    schema = prepared.encoder.schema
    labels, rate = train.labels(), config.train.negative_rate
    one_class = bool(labels.min() == labels.max())
    return not_solved(config.pretrain, needed, len(schema.classes), rate, len(schema.labels), one_class=one_class)


def initial_weights(
    lr: LrWeights,
    penalties: npt.NDArray[np.float64],
    folder: Path,
    prepared: Prepared,
    world: World,
    listen: Listener,
) -> LrWeights:
    """Return what networks start from, given logistic regression at its optimum and its penalties (F,): the optimum for
    stronger ones, which is kept beside it in `folder`.

    Raises
    ------
    Stopped
        On request.
    """
    kept = Checkpoints(folder / "initial", keep=1, warn=lambda text: listen(Warned(text)))
    train, counts = prepared.parts["train"], prepared.encoder.vocabulary_counts
    optimum = LogisticSolution(lr.weights[:, 0].astype(np.float64), float(lr.bias[0]), 0.0, 0)

    def run() -> None:
        with _stopping(_SOLVED), noting_signals() as interrupt, all_threads(world):
            solve_initial(train, counts, optimum, penalties, kept, interrupt)

    world.first(run, type(None))
    with world.together():
        return LrWeights(*read_initial(kept))


def solve(
    config: Config,
    model: ClickModel,
    prepared: Prepared,
    checkpoints: Checkpoints,
    interrupt: Interrupt,
    world: World,
    listen: Listener,
) -> TrainingState:
    """Solve logistic regression to its optimum, and give it to the model, which is one; an epoch is a penalty.

    Of several workers the first solves, as in `sample`.

    Raises
    ------
    Stopped
        On request; a checkpoint is kept.
    """
    path = Checkpoints(checkpoints.folder, keep=1, warn=checkpoints.warn, run=checkpoints.run)
    encoder = prepared.encoder

    def run() -> None:
        with _stopping(_SOLVED), all_threads(world):
            solve_path(
                prepared.parts["train"],
                prepared.parts.get("valid"),
                encoder.vocabulary_counts,
                config.pretrain,
                path,
                minutes_between=config.train.checkpoint_minutes,
                interrupt=interrupt,
                listen=listen,
            )

    world.first(run, type(None))
    with world.together():
        optimum = read_optimum(path)
    [member] = model.members.values()
    assert isinstance(member, LogisticRegression), "nothing else is solved"
    model.table.start(0, optimum.weights)
    with torch.no_grad():
        member.bias.fill_(optimum.bias)
    return optimum.history
