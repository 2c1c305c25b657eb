"""``compare --dry-run``: what the models of a comparison would take, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fieldwise.config import Config
from fieldwise.jobs.compare.models import DEFAULT_MODELS, FAST_MODELS, parse_model
from fieldwise.jobs.train.plan import TrainingPlan, plan
from fieldwise.outcome import Outcome

__all__ = ["ComparisonPlan", "plan_comparison"]


class ComparisonPlan(Outcome, msgspec.Struct, frozen=True, kw_only=True):
    """What `compare` would take.

    Attributes
    ----------
    models
        What each model would take, by its name.
    memory
        Bytes that cannot be dropped, at most: models are trained one after the other.
    disk
        Bytes of all runs of one seed, at most.
    """

    models: dict[str, TrainingPlan]
    memory: int
    disk: int


def plan_comparison(config: Config, models: Sequence[str] | None = None) -> ComparisonPlan:
    """Say what `compare` would take, without writing anything that stays.

    Raises
    ------
    ConfigError, DataError, ResourceError
        As `compare` does.
    """
    usual = FAST_MODELS if config.train.preset == "fast" else DEFAULT_MODELS
    plans = {
        name: plan(msgspec.structs.replace(config, model=parse_model(name, config.model))) for name in models or usual
    }
    return ComparisonPlan(
        models=plans,
        memory=max(each.memory for each in plans.values()),
        disk=sum(each.disk for each in plans.values()),
    )
