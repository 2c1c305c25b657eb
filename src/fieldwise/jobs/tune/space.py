"""The search space of `fieldwise tune`: a table with one line for each key of the configuration.

The configured value of a key is always part of the space: it is added to a choice, and a range is extended to include
it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from fieldwise.config import Config
from fieldwise.errors import ConfigError, did_you_mean

__all__ = ["SPACE", "Choice", "Dimension", "Range", "changed", "space_of", "value_of"]


class Choice(NamedTuple):
    """One of several values."""

    values: tuple[Any, ...]


class Range(NamedTuple):
    """A number between two bounds, sampled uniformly, or log-uniformly if `log`."""

    low: float
    high: float
    log: bool = False


class Dimension(NamedTuple):
    """A key of the configuration, the values to try, and the models to which it applies."""

    key: str
    what: Choice | Range
    applies: Callable[[Config], bool]


def _local(config: Config) -> bool:
    return config.model.locally_connected


def _deep(config: Config) -> bool:
    """Whether something is trained by steps of a dense optimizer."""
    return any(kind not in ("lr", "bayesian-fm") for kind in config.model.members)


def _in_batches(config: Config) -> bool:
    return _deep(config) or (config.model.kind == "lr" and config.pretrain.solver == "ftrl")


def _is_sampled(config: Config) -> bool:
    return config.model.kind == "bayesian-fm"


def _chooses_deep(config: Config) -> bool:
    return _local(config) and "lc-resnet" not in config.model.members and config.model.deep != "none"


def _linear(config: Config) -> bool:
    """Whether there is a logistic regression: the model itself, or where it starts."""
    return config.model.kind == "lr" or _from_lr(config)


def _from_lr(config: Config) -> bool:
    return config.model.has_lr


SPACE = (
    Dimension("model.units", Choice((4, 8, 16, 32)), _local),
    Dimension("model.factors", Choice((6, 8, 12, 16, 24)), _is_sampled),
    Dimension("model.hidden", Choice(((128, 64), (256, 128), (400, 400), (256, 256, 256))), _deep),
    Dimension("model.dropout", Range(0.0, 0.5), _deep),
    Dimension("model.deep", Choice(("perceptron", "residual", "cross")), _chooses_deep),
    Dimension("model.fm_interactions", Choice((True, False)), _local),
    Dimension("model.unit_l2", Choice((0.001, 0.003, 0.01, 0.03, 0.1)), _local),
    Dimension("model.unit_dropout", Range(0.0, 0.4), _local),
    Dimension("model.initial_model", Choice(("lr", "random")), _local),
    Dimension("train.table.learning_rate", Range(5e-4, 2e-2, log=True), _deep),
    Dimension("train.table.l2", Choice((0.0, 1e-6, 1e-5, 1e-4)), _deep),
    Dimension("train.dense.learning_rate", Range(2e-4, 5e-3, log=True), _deep),
    Dimension("train.dense.weight_decay", Choice((0.0, 0.01, 0.1, 0.3)), _deep),
    Dimension("train.batch_size", Choice((1024, 2048, 4096, 8192)), _in_batches),
    Dimension("train.schedule", Choice(("constant", "linear")), _deep),
    Dimension("pretrain.table.l2", Range(2.0**-6, 500.0, log=True), _linear),
)
"""In the order in which they are printed."""


def space_of(config: Config, only: Sequence[str] | None = None, space: Sequence[Dimension] = SPACE) -> list[Dimension]:
    """Return the search space of a configuration: the dimensions that apply to its model, including its own values.

    Parameters
    ----------
    config
        The configuration to start from.
    only
        The keys to search; all by default.
    space
        The table of dimensions.

    Raises
    ------
    ConfigError
        A key of `only` is not in the table, or does not apply to the model.
    """
    chosen = [dimension for dimension in space if dimension.applies(config)]
    if only is not None:
        known = [dimension.key for dimension in chosen]
        for key in only:
            if key not in known:
                raise ConfigError(
                    "this key is not part of the search space of the model",
                    where="--only",
                    got=key,
                    fix=did_you_mean(key, known),
                )
        chosen = [dimension for dimension in chosen if dimension.key in only]
    plain = msgspec.to_builtins(config)
    return [dimension._replace(what=_with(dimension.what, value_of(plain, dimension.key))) for dimension in chosen]


def changed(config: Config, values: Mapping[str, Any]) -> Config:
    """Return a copy of a configuration with other values for some keys.

    Examples
    --------
    >>> from fieldwise.config import parse_config
    >>> config = parse_config('data = { train = "log.csv", label = "click" }')
    >>> other = changed(config, {"model.units": 4, "train.table.learning_rate": 0.01})
    >>> other.model.units, other.train.table.learning_rate, config.model.units
    (4, 0.01, 0)
    """
    plain = msgspec.to_builtins(config)
    for key, value in values.items():
        table, _, name = key.rpartition(".")
        value_of(plain, table)[name] = value
    return msgspec.convert(plain, Config)


def value_of(plain: Mapping[str, Any], key: str) -> Any:
    """Return what a key such as ``train.table.l2`` has in a configuration of plain values."""
    value: Any = plain
    for name in key.split("."):
        value = value[name]
    return value


def _with(what: Choice | Range, own: Any) -> Choice | Range:
    """Return the choice or range with the configuration's own value; one that is left to a rule (None) is not a value
    to draw from a range.
    """
    if isinstance(what, Range):
        if own is None:
            return what
        if what.log and own <= 0:
            return Choice((own, what.low, (what.low * what.high) ** 0.5, what.high))
        return what._replace(low=min(what.low, own), high=max(what.high, own))
    values = [json.dumps(value) for value in what.values]
    return what if json.dumps(own) in values else Choice((own, *what.values))
