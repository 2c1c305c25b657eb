"""The training settings of a model: those of ``[train]``, or of logistic regression with those of ``[pretrain]``."""

from __future__ import annotations

import msgspec

from fieldwise.config import Config
from fieldwise.training.config import TrainConfig

__all__ = ["lr_settings", "settings_of"]


def settings_of(config: Config, kind: str) -> TrainConfig:
    """Return the training settings of a model of this kind."""
    return lr_settings(config) if kind == "lr" else config.train


def lr_settings(config: Config) -> TrainConfig:
    """Return the training settings of logistic regression: those of ``[train]``, with what ``[pretrain]`` replaces."""
    own = config.pretrain
    return msgspec.structs.replace(
        config.train,
        epochs=own.epochs,
        patience=own.patience,
        table=own.table,
        dense=own.dense,
        schedule="constant",
        warmup=0.0,
        average_epochs=0.0,
    )
