"""What a model begins with where there is more to it than logistic regression: the mean of a posterior."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from fieldwise.config import Config
from fieldwise.errors import Stopped
from fieldwise.events import Listener, Stage, Warned
from fieldwise.jobs.prepare.prepare import Prepared
from fieldwise.jobs.train.team import Team
from fieldwise.kernels.layout import Layout
from fieldwise.models.click import ClickModel
from fieldwise.models.config import ModelConfig, Start
from fieldwise.training.checkpoint import Checkpoints
from fieldwise.training.interrupt import Interrupt, Interrupted
from fieldwise.training.posterior import read_posterior, sample_posterior
from fieldwise.training.start import keep_posterior, starts_from_posterior
from fieldwise.training.step import Stepper

__all__ = ["sample", "start_for", "starts_from_lr", "with_start"]


def with_start(config: Config, prepared: Prepared) -> Config:
    """Return the configuration with ``model.start`` as it is for this log, where that is left to us.

    Raises
    ------
    ConfigError
        It says ``posterior``, and there can be none.
    """
    train, encoder = prepared.parts["train"], prepared.encoder
    return start_for(config, encoder.layout, train.num_examples, len(encoder.schema.classes))


def start_for(config: Config, layout: Layout, num_examples: int, num_classes: int) -> Config:
    """As `with_start`, for a training part of so many examples and classes."""
    samples = starts_from_posterior(
        config.model,
        config.train,
        config.pretrain,
        layout,
        num_examples,
        num_classes=num_classes,
        weighted=config.data.weight is not None,
    )
    start: Start = "posterior" if samples else "lr" if config.model.start == "auto" else config.model.start
    return msgspec.structs.replace(config, model=msgspec.structs.replace(config.model, start=start))


def starts_from_lr(model: ModelConfig) -> bool:
    """Whether logistic regression is trained before a model whose start is settled."""
    return model.locally_connected and model.start in ("lr", "posterior")


def sample(
    config: Config,
    folder: Path,
    model: ClickModel,
    stepper: Stepper,
    prepared: Prepared,
    interrupt: Interrupt,
    team: Team,
    listen: Listener,
) -> float:
    """Give the model the mean of a posterior, and return the seconds it took; `folder` keeps the chain, for all models
    that want the same.

    Of several workers the first samples, with the threads of all that are on its host, and the others wait; then each
    takes the rows that it owns from the folder. So what they begin with is one process's, to the bit.

    Raises
    ------
    Stopped
        On request; the chain is kept.
    """
    log, train = prepared.folder.name, prepared.parts["train"]
    listen(Stage("sample", config.model.kind))
    assert model.posterior is not None, "the model keeps no posterior"
    mask = model.posterior.pairs.mask.cpu().numpy()
    left_out = [(f, g) for f, g in zip(*np.nonzero(mask == 0), strict=True) if f < g]
    num_factors, settings, seed = model.num_posterior - 1, config.pretrain, config.train.seed
    name = f"posterior-{log[:12]}-{num_factors}-{settings.burn_in}-{settings.sweeps}-{seed}"
    chain = Checkpoints(folder / name, keep=1, warn=lambda text: listen(Warned(text)))

    def run() -> float:
        try:
            with team.all_threads():
                return sample_posterior(
                    train,
                    left_out,
                    num_factors,
                    settings,
                    seed,
                    chain,
                    minutes_between=config.train.checkpoint_minutes,
                    interrupt=interrupt,
                    listen=listen,
                )
        except Interrupted:
            raise Stopped("stopped while the posterior was sampled; the same command goes on from there") from None

    seconds = team.first(run, float)
    with team.together():
        keep_posterior(model, stepper.table_rows, read_posterior(chain))
    return seconds
