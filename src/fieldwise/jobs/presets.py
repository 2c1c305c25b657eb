"""Presets and budgets: how much of a machine's time a model is worth (``train.preset``, ``train.minutes``).

======== ======================== =========================================== =================
preset   ``model.kind = "auto"``  ``data.crosses``                            sampling ends
======== ======================== =========================================== =================
fast     LC-DNN                   as it is                                    there is none
default  a stack with a Bayesian  as it is                                    at ``tolerance``
         FM, where that takes no
         more than some minutes
best     that stack, wherever     ``auto`` unless a list names them           at a quarter of
         there can be one, with                                               that, after 500
         two LC-DNNs of different                                             sweeps at the
         random weights, and                                                  latest
         LC-ResNet; 14 factors
======== ======================== =========================================== =================

Trees, which cannot be served, are no member of any: of two classes ``best`` names the key that stacks them for
comparison (``train.trees``).

All start from logistic regression at its optimum, and end no lower (`training.noise`). What a configuration says itself
stands, and several labels have no crosses that are looked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from fieldwise.bundle import kind_of
from fieldwise.config import Config
from fieldwise.events import SecondsRange
from fieldwise.io.manifests import read_manifest, write_manifest
from fieldwise.jobs.outlook import measure_rates, sampling_seconds, training_seconds
from fieldwise.jobs.prepare.prepared import Prepared
from fieldwise.models.config import ModelConfig
from fieldwise.training.config import SamplerConfig

__all__ = ["MinutesBudget", "budget_of", "middle", "over_budget", "with_preset", "without"]

_NAME, _FORMAT, _VERSION = "left_out.json", "fieldwise-left-out", 1
_THOROUGH, _MOST_SWEEPS = 4.0, 500
_MORE_FACTORS = 14
"""The rows of the sampler (`kernels.factors.row_width`) have room for so many, in the time of the default's."""


class MinutesBudget(msgspec.Struct, forbid_unknown_fields=True):
    """What a budget of minutes decides before training, by the rates of the machine then.

    Attributes
    ----------
    members
        Those that are left out.
    sampling_seconds
        What finding the posterior of a Bayesian FM may take: its share of the budget by the estimates; None where there
        is none. What it leaves is for the epochs of the others.
    """

    members: list[str]
    sampling_seconds: float | None = None


def with_preset(config: Config) -> Config:
    """Return a configuration with what its preset says in place of what it leaves open.

    Examples
    --------
    >>> from fieldwise.config import parse_config
    >>> text = 'data = { train = "log.csv", label = "click" }'
    >>> fast, best = (with_preset(parse_config(text, overrides=[f"train.preset={name}"])) for name in ("fast", "best"))
    >>> fast.model.kind, best.data.crosses, best.train.sampler.tolerance, best.model.factors
    ('lc-dnn', 'auto', 0.0005, 14)
    """
    replace = msgspec.structs.replace
    if config.train.preset == "fast" and config.model.kind == "auto":
        return config.changed("model", kind="lc-dnn")
    if config.train.preset == "best":
        if config.data.crosses == "none" and not config.data.labels:
            config = config.changed("data", crosses="auto")
        if config.train.sampler == (usual := SamplerConfig()):
            thorough = replace(usual, sweeps=_MOST_SWEEPS, tolerance=usual.tolerance / _THOROUGH)
            config = config.changed("train", sampler=thorough)
        if config.model.factors == ModelConfig().factors:
            config = config.changed("model", factors=_MORE_FACTORS)
    return config


def over_budget(costs: Mapping[str, float], minutes: float) -> list[str]:
    """Return the names to leave out, the costliest first, until what is left takes no more than so many minutes.

    Parameters
    ----------
    costs
        Seconds by name.
    minutes
        The budget.

    Examples
    --------
    >>> over_budget({"lc-dnn": 50.0, "bayesian-fm": 200.0}, minutes=1)
    ['bayesian-fm']
    """
    left, dropped = dict(costs), []
    while left and sum(left.values()) > 60 * minutes:
        dropped.append(max(left, key=lambda name: left[name]))
        del left[dropped[-1]]
    return dropped


def budget_of(config: Config, prepared: Prepared, folder: Path) -> MinutesBudget:
    """Return what a budget of minutes leaves out, by the rates of this machine as it is now.

    What was decided is kept in the run's `folder`, so that a run that goes on has the same members.
    """
    path = folder / _NAME
    if path.exists():
        return read_manifest(path, MinutesBudget, format=_FORMAT, version=_VERSION)[0]
    assert config.train.minutes is not None, "there is a budget"
    rates, members, costs = measure_rates(), config.model.members, {}
    trained = [name for name in members if name not in ("lr", "bayesian-fm")]
    for name in trained:
        alone = config.changed("model", kind=kind_of(name))
        costs[name] = middle(training_seconds(alone, config.train, prepared, rates))
    if config.model.is_sampled:
        costs["bayesian-fm"] = middle(sampling_seconds(config, prepared, rates))
    found = MinutesBudget(over_budget(costs, config.train.minutes))
    kept = {name: cost for name, cost in costs.items() if name not in found.members}
    if "bayesian-fm" in kept:
        found.sampling_seconds = 60 * config.train.minutes * kept["bayesian-fm"] / sum(kept.values())
    write_manifest(path, found, format=_FORMAT, version=_VERSION)
    return found


def without(config: Config, members: Sequence[str]) -> Config:
    """Return a configuration whose model has some members less; logistic regression where none is left.

    Examples
    --------
    >>> from fieldwise.config import parse_config
    >>> stack = ["model.kind=lc-dnn+bayesian-fm"]
    >>> config = parse_config('data = { train = "log.csv", label = "click" }', overrides=stack)
    >>> [without(config, left).model.kind for left in (["bayesian-fm"], ["lc-dnn", "bayesian-fm"])]
    ['lc-dnn', 'lr']
    """
    kind = "+".join(kind_of(name) for name in config.model.members if name not in members)
    return config.changed("model", kind=kind or "lr")


def middle(seconds: SecondsRange) -> float:
    """Return what is likely: between the least and the most."""
    return 0.5 * (seconds.least + seconds.most)
